"""A kick-off that leaves again, on a real cluster with real streams, and what the simulator says of the same.

python -m loadtest.replay --streams 3200
"""

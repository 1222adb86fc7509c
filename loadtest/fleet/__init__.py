"""A fleet on a real cluster: it grows, rebalances, rolls out and shrinks under thousands of streams, and every event is counted.

python -m loadtest.fleet --streams 3000
"""

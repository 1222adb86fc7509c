"""The chaos test: `make chaos`. Thousands of EventSources, faults at random, and an oracle that says what each must see.

Everything listens on loopback only, is bounded in count and time, and is stopped at the end, also by Ctrl-C.
"""

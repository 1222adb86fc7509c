"""The fan-out benchmark: `make bench`. It prints and draws ratios measured side by side, and judges nothing.

Everything listens on loopback only, is bounded in count and time, and is stopped at the end, also by Ctrl-C.
"""

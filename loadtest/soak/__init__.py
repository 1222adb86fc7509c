"""The soak test: `make soak`. k6 with our extension against pods that come and go, and what those pods keep of it.

Everything listens on loopback only, is bounded in count and time, and is stopped at the end, also by Ctrl-C.
"""

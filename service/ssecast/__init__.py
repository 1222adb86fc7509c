"""ssecast: broadcasts what publishers push to NATS to any number of browsers over Server-Sent Events.

The law of this package: a room imports only what stands below it.

    __main__ > dev > server > app, admin > events > resume > source > jetstream
    > stream, handoff, metrics, tracing > pump, sockets > hub > drain > channel > log, subjects > frame > settings

frame, subjects, log, channel, drain and hub are pure: no clock, no loop, no network; time and effects are arguments.
"""

__version__ = "0.1.0"

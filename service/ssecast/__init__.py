"""ssecast: broadcasts what publishers push to NATS to any number of browsers over Server-Sent Events.

The law of this package: a room imports only what stands below it.

    __main__ > dev > server > app, admin > events, guard > resume > source > feed, dial > jetstream
    > handoff > stream, metrics, tracing, logs > pump, sockets > aio > histogram, settings > hub > drain, heartbeat > channel
    > log, subjects > frame, signature

frame, signature, subjects, log, channel, drain, heartbeat and hub are pure: no clock, no loop, no network; time and effects are
arguments.
"""

__version__ = "0.1.0"

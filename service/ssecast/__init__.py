"""ssecast: broadcasts what publishers push to NATS to any number of browsers over Server-Sent Events.

The law of this package: a room imports only what stands below it.

    __main__ > dev > server > app, admin > entrance, guard > events > limits, tokens, jwks > keys > resume > source
    > follower, core > feed, dial, intake > jetstream, address, natspy > refusals, door > handoff
    > stream, metrics, tracing, logs > pump, sockets, visitors, memory > aio > histogram, settings, access > hub
    > drain, heartbeat, expiry > channel > log, subjects, cors > frame, signature

frame, signature, subjects, cors, log, channel, drain, heartbeat, expiry and hub are pure: no clock, no loop, no network;
time and effects are arguments.
"""

__version__ = "0.1.0"

"""The dashboard NATS: whether pods get everything, and for how long it can be had again."""

from monitoring.panels import POD, Dashboard, Row, panel, stat
from monitoring.service import BY_POD, per_second

KEPT = f"time() - max(ssecast_nats_stream_first_timestamp_seconds{{{POD}}})"

GLANCE = Row(
    "At a glance",
    (
        stat(
            "Pods without NATS",
            "Pods that have no connection to NATS.",
            f"sum(ssecast_source_connected{{{POD}}} == bool 0)",
            bad_above=1,
        ),
        stat(
            "Pods with a problem",
            "Pods for which something is wrong with NATS; their /readyz says what.",
            f"sum(ssecast_source_problem{{{POD}}})",
            bad_above=1,
        ),
        stat(
            "Farthest behind",
            "How long the slowest pod has been behind NATS.",
            f"max(ssecast_source_lag_seconds{{{POD}}})",
            unit="s",
            bad_above=10,
        ),
        stat(
            "Breaks, last hour",
            "How often a pod missed events; every open stream was told by a gap.",
            f"sum(increase(ssecast_breaks_total{{{POD}}}[1h]))",
            bad_above=1,
        ),
        stat(
            "Stream, share of its byte limit",
            "At 100 % events are removed before their age. 0 without a limit.",
            f"max(ssecast_nats_stream_bytes{{{POD}}} / ssecast_nats_stream_max_bytes{{{POD}}})",
            unit="percentunit",
            bad_above=0.9,
        ),
        stat("Stream goes back", "Age of the oldest event that the stream keeps.", KEPT, unit="s"),
    ),
)

FOLLOWING = Row(
    "Following the stream",
    (
        panel(
            "Connected, and warm",
            "connected: 1 while a pod has a connection to NATS. warm: 1 once its memory was filled from the stream; until then it "
            "takes no streams.",
            (f"min by (pod) (ssecast_source_connected{{{POD}}})", f"connected {BY_POD}"),
            (f"min by (pod) (ssecast_source_ready{{{POD}}})", f"warm {BY_POD}"),
        ),
        panel(
            "Lag",
            "How long each pod has been behind the stream.",
            (f"max by (pod) (ssecast_source_lag_seconds{{{POD}}})", BY_POD),
            unit="s",
        ),
        panel(
            "Events that wait",
            "Events of the stream that a pod has not received.",
            (f"max by (pod) (ssecast_source_lag_events{{{POD}}})", BY_POD),
        ),
        panel(
            "Head, behind the farthest pod",
            "Events by which each pod is behind the one that is farthest. Pods are scraped one after the other, so a busy "
            "stream always shows some.",
            (
                f"max by (namespace, broadcaster) (ssecast_head_sequence{{{POD}}}) "
                f"- on (namespace, broadcaster) group_right () ssecast_head_sequence{{{POD}}}",
                BY_POD,
            ),
        ),
        panel(
            "Events received",
            "Per second and pod; all lines are one while all is well.",
            (per_second("ssecast_events_received_total", "pod"), BY_POD),
            unit="cps",
        ),
        panel(
            "Consumers made anew, by reason",
            "In five minutes. After any doubt about the order a pod goes on with a new consumer after its last event.",
            (f"sum by (reason) (increase(ssecast_source_restarts_total{{{POD}}}[5m]))", "{{reason}}"),
            stacked=True,
        ),
    ),
)

MISSING = Row(
    "What is missing",
    (
        panel(
            "Breaks, by reason",
            "In five minutes. expired: the stream's limits were faster than a pod. epoch, rewound: it is another stream now.",
            (f"sum by (reason) (increase(ssecast_breaks_total{{{POD}}}[5m]))", "{{reason}}"),
            stacked=True,
        ),
        panel(
            "Gaps announced, by reason",
            "In five minutes. expired: a client came back too late. unreadable: its id is another server's.",
            (f"sum by (reason) (increase(ssecast_gaps_total{{{POD}}}[5m]))", "{{reason}}"),
            stacked=True,
        ),
        panel(
            "Events dropped, by reason",
            "In five minutes, by one pod. Publishers sent what cannot be broadcast.",
            (f"max by (reason) (increase(ssecast_events_dropped_total{{{POD}}}[5m]))", "{{reason}}"),
            stacked=True,
        ),
    ),
)

STREAM = Row(
    "The NATS stream",
    (
        panel(
            "Bytes",
            "What the stream keeps, and may keep.",
            (f"max by (namespace, broadcaster) (ssecast_nats_stream_bytes{{{POD}}})", "kept {{broadcaster}}"),
            (f"max by (namespace, broadcaster) (ssecast_nats_stream_max_bytes{{{POD}}})", "limit {{broadcaster}}"),
            unit="bytes",
        ),
        panel(
            "Events kept",
            "Number of events in the stream.",
            (f"max by (namespace, broadcaster) (ssecast_nats_stream_messages{{{POD}}})", "{{broadcaster}}"),
        ),
        panel(
            "How far back it goes",
            "kept: age of the oldest event. needed: drain window and longest retry, so that nobody who comes back in time "
            "loses any. limit: its maximum age.",
            (KEPT, "kept"),
            (f"max(ssecast_retention_needed_seconds{{{POD}}})", "needed"),
            (f"max(ssecast_nats_stream_max_age_seconds{{{POD}}})", "limit"),
            unit="s",
        ),
        panel(
            "Sequences per second",
            "How fast the stream grows, and how fast pods follow. On a stream with subjects of others it grows faster than "
            "what a pod receives.",
            (f"max(deriv(ssecast_nats_stream_last_sequence{{{POD}}}[$__rate_interval]))", "stream"),
            (f"max by (pod) (deriv(ssecast_head_sequence{{{POD}}}[$__rate_interval]))", BY_POD),
            unit="cps",
            width=12,
        ),
        panel(
            "Since the last event",
            "Age of the newest event of the stream, as pods saw it a few seconds ago.",
            (f"time() - max(ssecast_nats_stream_last_timestamp_seconds{{{POD}}})", "newest event"),
            unit="s",
            width=12,
        ),
    ),
)

NATS = Dashboard(
    "nats",
    "ssecast / NATS",
    "Whether pods get every event, and for how long it can be had again.",
    (GLANCE, FOLLOWING, MISSING, STREAM),
)

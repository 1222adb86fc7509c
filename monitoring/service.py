"""The dashboard Service: what clients get, and what it takes."""

from monitoring.panels import POD, Dashboard, Row, panel, stat

BY_POD = "{{pod}}"
KEYS_READ = f"ssecast_access_keys_loaded_timestamp_seconds{{{POD}}}"


def per_second(metric: str, by: str) -> str:
    return f"sum by ({by}) (rate({metric}{{{POD}}}[$__rate_interval]))"


GLANCE = Row(
    "At a glance",
    (
        stat("Open streams", "Open streams of all chosen pods.", f"sum(ssecast_streams{{{POD}}})"),
        stat("Pods", "Pods that are scraped, draining ones included.", f"count(ssecast_streams{{{POD}}})"),
        stat(
            "Room in use",
            "Open streams as a share of what the chosen pods can hold. At 100 % clients are turned away.",
            f"sum(ssecast_streams{{{POD}}}) / sum(ssecast_capacity_streams{{{POD}}})",
            unit="percentunit",
            bad_above=0.9,
        ),
        stat(
            "Turned away",
            "Clients per second that were refused for any reason. Browsers come back by themselves.",
            f"sum(rate(ssecast_streams_refused_total{{{POD}}}[$__rate_interval]))",
            unit="reqps",
            bad_above=0.1,
        ),
        stat(
            "Fan-out, p99",
            "From an event received to the last socket written, for 99 of 100 flushes.",
            f"histogram_quantile(0.99, {per_second('ssecast_fanout_seconds_bucket', 'le')})",
            unit="s",
            bad_above=1,
        ),
        stat(
            "Farthest behind",
            "How long the slowest pod has been behind NATS.",
            f"max(ssecast_source_lag_seconds{{{POD}}})",
            unit="s",
            bad_above=10,
        ),
    ),
)

STREAMS = Row(
    "Streams",
    (
        panel("Streams", "Open streams by pod.", (f"sum by (pod) (ssecast_streams{{{POD}}})", BY_POD), stacked=True),
        panel(
            "Skew between pods",
            "The pod with most streams, the mean, and the pod with fewest. Pods that are new or drain have few.",
            (f"max(ssecast_streams{{{POD}}})", "most"),
            (f"avg(ssecast_streams{{{POD}}})", "mean"),
            (f"min(ssecast_streams{{{POD}}})", "fewest"),
        ),
        panel(
            "Room in use, by pod",
            "Streams as a share of what the pod can hold.",
            (f"sum by (pod) (ssecast_streams{{{POD}}} / ssecast_capacity_streams{{{POD}}})", BY_POD),
            unit="percentunit",
        ),
        panel(
            "Streams opened",
            "Per second and pod, new clients and those that reconnect.",
            (per_second("ssecast_streams_opened_total", "pod"), BY_POD),
            unit="reqps",
            stacked=True,
        ),
        panel(
            "Streams closed, by reason",
            "Per second. client: it left. dead: its network did. age, token: rotation. shed, drain, shutdown: by order. "
            "slow, stalled: it did not read. memory, garbage, error: something is wrong.",
            (per_second("ssecast_streams_closed_total", "reason"), "{{reason}}"),
            unit="reqps",
            stacked=True,
        ),
        panel(
            "Clients turned away, by reason",
            "Per second. full, memory, descriptors: no room. draining, starting: they find another pod. "
            "client: it has as many streams as one client may have.",
            (per_second("ssecast_streams_refused_total", "reason"), "{{reason}}"),
            unit="reqps",
            stacked=True,
        ),
        panel(
            "Where streams start",
            "Per second. live: at the head. memory, jetstream: they resume, and that is where what they missed came from. "
            "ahead: the pod is behind another one. gap: it cannot be had any more.",
            (per_second("ssecast_resumes_total", "result"), "{{result}}"),
            unit="reqps",
            stacked=True,
            width=12,
        ),
        panel(
            "Channels",
            "Different things that clients asked for: each is one more write per event.",
            (f"sum by (pod) (ssecast_channels{{{POD}}})", BY_POD),
            width=12,
        ),
    ),
)

CONNECTIONS = Row(
    "Connections",
    (
        panel(
            "Connections opened",
            "Per second and pod. Those that are more than streams opened and clients turned away ask for something else, or for "
            "nothing.",
            (per_second("ssecast_connections_opened_total", "pod"), BY_POD),
            unit="reqps",
            stacked=True,
        ),
        panel(
            "Connections without a stream",
            "Those that have yet to send a request, or ask for something else.",
            (f"sum by (pod) (ssecast_connections{{{POD}}})", BY_POD),
        ),
        panel(
            "Connections that ended early, by reason",
            "Per second, before their request was complete. client: it left. head_timeout, body_timeout: it was too slow. "
            "descriptors: no room. too_large, malformed, pipelined: it does not speak as clients do.",
            (per_second("ssecast_connections_closed_total", "reason"), "{{reason}}"),
            unit="reqps",
            stacked=True,
        ),
    ),
)

EVENTS = Row(
    "Events",
    (
        panel(
            "Events received",
            "Per second and pod. Each pod receives every event, so all lines are one.",
            (per_second("ssecast_events_received_total", "pod"), BY_POD),
            unit="cps",
        ),
        panel(
            "Events delivered",
            "Per second, one for each stream that an event goes to.",
            (per_second("ssecast_frames_sent_total", "pod"), BY_POD),
            unit="cps",
            stacked=True,
        ),
        panel(
            "Bytes delivered",
            "Bytes of events handed to sockets per second.",
            (per_second("ssecast_sent_bytes_total", "pod"), BY_POD),
            unit="Bps",
            stacked=True,
        ),
        panel(
            "Fan-out latency",
            "From an event received to the last socket written: how many flushes took how long.",
            (per_second("ssecast_fanout_seconds_bucket", "le"), "{{le}}"),
            unit="s",
            kind="heatmap",
            width=12,
        ),
        panel(
            "Fan-out latency, quantiles",
            "The same for half, 90 and 99 of 100 flushes.",
            *(
                (f"histogram_quantile({share}, {per_second('ssecast_fanout_seconds_bucket', 'le')})", name)
                for share, name in ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"))
            ),
            unit="s",
            width=12,
        ),
    ),
)

PUBLISHING = Row(
    "Publishing over HTTP",
    (
        panel(
            "Payloads on their way",
            "Bytes that pods hold of what is being published, until NATS has stored it. All together may be 16 MiB per pod.",
            (f"sum by (pod) (ssecast_publishing_bytes{{{POD}}})", BY_POD),
            unit="bytes",
            stacked=True,
            width=12,
        ),
        panel(
            "Payloads turned away, by reason",
            "Per second. bytes: as many are on their way as there is room for. memory: the pod is near its limit.",
            (per_second("ssecast_publishes_refused_total", "reason"), "{{reason}}"),
            unit="reqps",
            stacked=True,
            width=12,
        ),
    ),
)

DISTANCE = Row(
    "Distance from NATS",
    (
        panel(
            "Lag",
            "How long each pod has been behind NATS.",
            (f"max by (pod) (ssecast_source_lag_seconds{{{POD}}})", BY_POD),
            unit="s",
        ),
        panel(
            "Kept in memory",
            "Bytes of events from which clients can resume without asking NATS.",
            (f"sum by (pod) (ssecast_log_bytes{{{POD}}})", BY_POD),
            unit="bytes",
        ),
        panel(
            "Events kept in memory",
            "The same, in events. It stops growing at whichever of the two limits is reached first.",
            (f"sum by (pod) (ssecast_log_events{{{POD}}})", BY_POD),
        ),
    ),
)

RESOURCES = Row(
    "Resources",
    (
        panel(
            "Memory",
            "Resident memory of each pod's process.",
            (f"sum by (pod) (process_resident_memory_bytes{{{POD}}} and on (namespace, pod) ssecast_streams)", BY_POD),
            unit="bytes",
        ),
        panel(
            "Memory, share of the limit",
            "Of what the cgroup grants; 0 without a limit. From 85 % on no new streams are taken.",
            (f"max by (pod) (ssecast_memory_used_bytes{{{POD}}} / ssecast_memory_limit_bytes{{{POD}}})", BY_POD),
            unit="percentunit",
        ),
        panel(
            "Descriptors, share of the limit",
            "Each stream is one descriptor.",
            (
                f"max by (pod) (process_open_fds{{{POD}}} / process_max_fds{{{POD}}} and on (namespace, pod) ssecast_streams)",
                BY_POD,
            ),
            unit="percentunit",
        ),
        panel(
            "Cores in use",
            "CPU seconds per second of each pod's process.",
            (
                f"sum by (pod) (rate(process_cpu_seconds_total{{{POD}}}[$__rate_interval]) "
                "and on (namespace, pod) ssecast_streams)",
                BY_POD,
            ),
            unit="short",
        ),
        panel(
            "Loop lag",
            "How late the event loop ran its last tick: everything that a pod does waits as long.",
            (f"max by (pod) (ssecast_loop_lag_seconds{{{POD}}})", BY_POD),
            unit="s",
        ),
        panel(
            "Memory per stream",
            "Resident memory divided by streams; pods with few streams have more each.",
            (
                f"sum by (pod) (process_resident_memory_bytes{{{POD}}} and on (namespace, pod) ssecast_streams) "
                f"/ sum by (pod) (ssecast_streams{{{POD}}} > 0)",
                BY_POD,
            ),
            unit="bytes",
        ),
    ),
)

ACCESS = Row(
    "Access",
    (
        panel(
            "Requests denied, by reason",
            "Per second, for their token.",
            (per_second("ssecast_access_denied_total", "reason"), "{{reason}}"),
            unit="reqps",
            stacked=True,
            width=12,
        ),
        panel(
            "Keys",
            "Keys that tokens are verified with; 0 where everybody may read.",
            (f"max by (pod) (ssecast_access_keys{{{POD}}})", BY_POD),
            width=12,
        ),
        panel(
            "Attempts to read keys, by result",
            "In the last hour. While they fail, known keys stay good.",
            (f"sum by (result) (increase(ssecast_access_key_loads_total{{{POD}}}[1h]))", "{{result}}"),
            width=12,
        ),
        panel(
            "Since keys were read",
            "A file is read when it changes, an address again and again. 0 while none were read yet, and where everybody may read.",
            (f"max by (pod) ((time() - {KEYS_READ}) * ({KEYS_READ} > bool 0))", BY_POD),
            unit="s",
            width=12,
        ),
    ),
)

SERVICE = Dashboard(
    "service",
    "ssecast / Service",
    "Streams, events and what they take: whether clients get what they should.",
    (GLANCE, STREAMS, CONNECTIONS, EVENTS, PUBLISHING, DISTANCE, RESOURCES, ACCESS),
)

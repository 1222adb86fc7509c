"""The dashboard Autoscaler: how many pods the operator wants, and why."""

from monitoring.panels import OF, Dashboard, Row, panel, stat

EACH = "{{namespace}}/{{broadcaster}}"


def of(metric: str, *also_by: str, where: str = "") -> str:
    """A gauge of the operator; with two operators for a moment, that of the one that says more. where: one more selector."""
    by = ", ".join(("namespace", "broadcaster", *also_by))
    selected = f"{OF},{where}" if where else OF
    return f"max by ({by}) (ssecast_operator_{metric}{{{selected}}})"


DEMAND = "sum(" + of("demand_streams", "where", where='where!="unknown"') + ")"


GLANCE = Row(
    "At a glance",
    (
        stat("Desired", "Pods that were decided on.", f"sum({of('desired_pods')})"),
        stat("Current", "Pods that were meant to stay until then.", f"sum({of('current_pods')})"),
        stat(
            "Demand",
            "Streams that want a place: open ones, those of pods that leave, refused clients that wait, and the burst.",
            DEMAND,
        ),
        stat("Slots free", "Streams that the ready pods could still take.", f"sum({of('free_slots')})", bad_below=1),
        stat(
            "Enough data",
            "1 where enough pods say how many streams they have, 0 where the operator is blind.",
            f"min({of('decision_valid')})",
            bad_below=1,
        ),
        stat(
            "Leading",
            "Operators that hold their Lease; only such a one acts.",
            "sum(ssecast_operator_leading)",
            bad_below=1,
        ),
    ),
)

PODS = Row(
    "Pods and streams",
    (
        panel(
            "Pods",
            "Desired: decided on. Current: meant to stay until then. Running: pods that are scraped, draining ones included. "
            "Cordoned: ready, and get no new streams.",
            (of("desired_pods"), f"desired {EACH}"),
            (of("current_pods"), f"current {EACH}"),
            (of("cordoned_pods"), f"cordoned {EACH}"),
            (f"count by (namespace, broadcaster) (ssecast_streams{{{OF}}})", f"running {EACH}"),
            width=12,
        ),
        panel(
            "Demand, by where it is",
            "open: on pods that stay. leaving: on pods that drain. refused: clients that wait to come back. burst: kept free. "
            "unknown: assumed on pods without data, counts only against removing pods.",
            (f"sum by (where) ({of('demand_streams', 'where')})", "{{where}}"),
            stacked=True,
            width=12,
        ),
        panel(
            "Demand against capacity",
            "What the current pods are meant to hold (target) and can hold at most (capacity), and the demand.",
            (
                DEMAND,
                "demand",
            ),
            (f"sum({of('current_pods')} * {of('target_streams')})", "target"),
            (f"sum({of('current_pods')} * {of('capacity_streams')})", "capacity"),
            width=12,
        ),
        panel(
            "Free slots",
            "Streams that ready pods could still take, and how many are to be kept free. Below that no pod is removed.",
            (of("free_slots"), f"free {EACH}"),
            (of("demand_streams", "where", where='where="burst"'), f"burst {EACH}"),
            width=12,
        ),
    ),
)

DECISIONS = Row(
    "Decisions",
    (
        panel(
            "Decisions, by reason",
            "Per second, one per round. The reason is what had the last word: the demand, or what kept the number from it.",
            (
                f"sum by (direction, reason) (rate(ssecast_operator_decisions_total{{{OF}}}[$__rate_interval]))",
                "{{direction}} {{reason}}",
            ),
            unit="ops",
            stacked=True,
            width=12,
        ),
        panel(
            "Limited by",
            "What keeps the number of pods from what the demand asks for.",
            (of("limited", "by"), f"{EACH} {{{{by}}}}"),
            kind="state-timeline",
            unit="none",
            width=12,
        ),
        panel(
            "Reconnects against the budget",
            "budget: what may be planned, four fifths of maxReconnectsPerSecond. planned: drains and sheds under way. "
            "opened: what really came, new clients included.",
            (f"sum({of('reconnects_per_second_budget')})", "budget"),
            (f"sum({of('planned_reconnects_per_second')})", "planned"),
            (f"sum(rate(ssecast_streams_opened_total{{{OF}}}[$__rate_interval]))", "opened"),
            unit="reqps",
            width=12,
        ),
        panel(
            "What was done",
            "Actions per second, by kind.",
            (f"sum by (action) (rate(ssecast_operator_actions_total{{{OF}}}[$__rate_interval]))", "{{action}}"),
            unit="ops",
            stacked=True,
            width=12,
        ),
    ),
)

HEALTH = Row(
    "The operator itself",
    (
        panel(
            "Samples, by freshness",
            "Pods that stay. fresh: asked within 15 s. stale: the last answer still counts. missing: no data, which is not zero.",
            (f"sum by (freshness) ({of('samples', 'freshness')})", "{{freshness}}"),
            stacked=True,
        ),
        panel(
            "Round duration",
            "How long one round of one Broadcaster takes: half and 99 of 100 of them.",
            *(
                (
                    f"histogram_quantile({share}, "
                    "sum by (le) (rate(ssecast_operator_round_seconds_bucket[$__rate_interval])))",
                    name,
                )
                for share, name in ((0.5, "p50"), (0.99, "p99"))
            ),
            unit="s",
        ),
        panel(
            "Since the last round",
            "A round comes every five seconds.",
            (f"time() - {of('last_round_timestamp_seconds')}", EACH),
            unit="s",
        ),
        panel(
            "Rounds that ended early, by reason",
            "Per second. api: the API server did not answer. refused: it said no. defect: a mistake in the operator.",
            (
                f"sum by (reason) (rate(ssecast_operator_round_failures_total{{{OF}}}[$__rate_interval]))",
                "{{reason}}",
            ),
            unit="ops",
            width=12,
        ),
        panel(
            "Calls of the API server, by status code",
            "Per second; 0 where there was no answer.",
            ("sum by (code) (rate(ssecast_operator_api_calls_total[$__rate_interval]))", "{{code}}"),
            unit="reqps",
            stacked=True,
            width=12,
        ),
    ),
)

AUTOSCALER = Dashboard(
    "autoscaler",
    "ssecast / Autoscaler",
    "Why there are as many pods as there are.",
    (GLANCE, PODS, DECISIONS, HEALTH),
    by_pod=False,
)

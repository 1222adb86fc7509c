"""The dashboard Rollouts and drains: whether streams move gently from pods that go to pods that stay."""

from monitoring.autoscaler import EACH, of
from monitoring.panels import OF, POD, Dashboard, Row, panel, stat
from monitoring.service import BY_POD, per_second

GLANCE = Row(
    "At a glance",
    (
        stat(
            "Draining pods",
            "Pods that take no new streams, and close those they have, at once or after a while.",
            f"sum(ssecast_draining{{{POD}}})",
        ),
        stat(
            "Streams to move",
            "Streams on draining pods: those that do not end by themselves first reconnect within the window.",
            f"sum(ssecast_streams{{{POD}}} * ssecast_draining{{{POD}}})",
        ),
        stat("Yet to shed", "Streams that sheds have yet to close.", f"sum(ssecast_shedding_streams{{{POD}}})"),
        stat("Rollouts", "Broadcasters whose pods are being replaced.", f"sum({of('rolling_out')})"),
        stat(
            "Rollouts stuck",
            "Rollouts that do not go on, by the word of their Deployments.",
            f"sum({of('rollout_stuck')})",
            bad_above=1,
        ),
        stat(
            "Cut, last hour",
            "Streams that were closed without a farewell, because their sockets took no more.",
            f"sum(increase(ssecast_streams_cut_total{{{POD}}}[1h]))",
            bad_above=1,
        ),
    ),
)

STEPS = Row(
    "Steps",
    (
        panel(
            "Phase",
            "Where each fleet is on its way from one number of pods to another, and whether a rollout replaces them.",
            (of("phase", "phase"), f"{EACH} {{{{phase}}}}"),
            (of("rolling_out"), f"{EACH} rollout"),
            kind="state-timeline",
            unit="none",
            width=12,
        ),
        panel(
            "Pods, by version",
            "During a rollout there are two.",
            (f"count by (version) (ssecast_build_info{{{POD}}})", "{{version}}"),
            stacked=True,
            width=12,
        ),
        panel(
            "Draining",
            "1 while a pod drains.",
            (f"max by (pod) (ssecast_draining{{{POD}}})", BY_POD),
            width=8,
        ),
        panel(
            "Streams on draining pods",
            "They should go down in a straight line, to nothing at the end of the window.",
            (f"sum by (pod) (ssecast_streams{{{POD}}} and on (namespace, pod) ssecast_draining == 1)", BY_POD),
        ),
        panel(
            "Streams",
            "All pods: what leaves one must appear at others.",
            (f"sum by (pod) (ssecast_streams{{{POD}}})", BY_POD),
            stacked=True,
        ),
    ),
)

RECONNECTS = Row(
    "Reconnects",
    (
        panel(
            "Opened against the budget",
            "limit: maxReconnectsPerSecond. planned: drains and sheds under way. opened: what really came.",
            (f"1.25 * sum({of('reconnects_per_second_budget')})", "limit"),
            (f"sum({of('planned_reconnects_per_second')})", "planned"),
            (f"sum(rate(ssecast_streams_opened_total{{{POD}}}[$__rate_interval]))", "opened"),
            unit="reqps",
            width=12,
        ),
        panel(
            "Streams closed, by reason",
            "Per second. shed, drain, shutdown: by order. age: rotation, which goes on all the time.",
            (per_second("ssecast_streams_closed_total", "reason"), "{{reason}}"),
            unit="reqps",
            stacked=True,
            width=12,
        ),
        panel(
            "Shedding",
            "Streams that a shed has yet to close.",
            (f"sum by (pod) (ssecast_shedding_streams{{{POD}}})", BY_POD),
            stacked=True,
        ),
        panel(
            "Streams cut",
            "Per second. They take no farewell at the end of a drain, or five seconds after their age is over.",
            (per_second("ssecast_streams_cut_total", "pod"), BY_POD),
            unit="reqps",
            stacked=True,
        ),
        panel(
            "Where streams start",
            "Per second. memory, jetstream: they resume, and miss nothing. gap: they do.",
            (per_second("ssecast_resumes_total", "result"), "{{result}}"),
            unit="reqps",
            stacked=True,
        ),
    ),
)

ORDERS = Row(
    "Orders",
    (
        panel(
            "Orders to pods",
            "In five minutes, by kind. stop is a signal.",
            (f"sum by (order) (increase(ssecast_orders_total{{{POD}}}[5m]))", "{{order}}"),
            stacked=True,
        ),
        panel(
            "Orders refused, by reason",
            "In five minutes. unsigned, signature: somebody without the token tries.",
            (f"sum by (reason) (increase(ssecast_orders_refused_total{{{POD}}}[5m]))", "{{reason}}"),
            stacked=True,
        ),
        panel(
            "What the operator did",
            "Actions in five minutes, by kind.",
            (f"sum by (action) (increase(ssecast_operator_actions_total{{{OF}}}[5m]))", "{{action}}"),
            stacked=True,
        ),
    ),
)

ROLLOUTS = Dashboard(
    "rollouts",
    "ssecast / Rollouts and drains",
    "Whether streams move gently from pods that go to pods that stay.",
    (GLANCE, STEPS, RECONNECTS, ORDERS),
)

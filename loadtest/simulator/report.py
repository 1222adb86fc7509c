"""The page about the shipped policy: goals, every trace, where a rival is better, and what other policies would do."""

from collections.abc import Sequence

from loadtest.simulator.goals import GOALS, NOBODY, Goal, Totals, of
from loadtest.simulator.variants import section
from ssecast_operator.results import Figures

HEAD = """# The shipped policy in the simulator

Made by `make simulator`: a Broadcaster of which nothing is said, up to {clients:,} clients, seeds {seeds}, beside an HPA and
Knative's rule with the same target, of which it means pods to have 70 %, as it always does. What the model knows, and what
each figure means: [docs/simulate.md](../../../docs/simulate.md).
The figures are the same whenever it is made anew.

## Goals, over all traces

| goal | against | reached | |
| --- | --- | --- | --- |
"""

TRACES = """
## By trace

Totals over the seeds. Time to recover and peak are the worst of them; *over target* is the share of the pods' time that they
had more streams than `streamsPerPod.target`. *Drained, shed, ended*: streams that were closed on pods that drain, moved to other
pods, or on pods that were told to terminate. The rivals end pods without draining them first, and so does a rollout of ours.

| trace | who | pod-hours | refused | time to recover | forced disconnects per client-hour | drained / shed / ended | peak reconnects per second | oscillations | over target |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
"""

WORSE = """
## Where ours is worse

"""

PICTURES = """
## Pictures

Seed {seed}.

"""


def report(found: Sequence[Figures], clients: int) -> str:
    """The whole page."""
    names = list(dict.fromkeys(each.trace for each in found))
    seeds = sorted({each.seed for each in found})
    parts = [HEAD.format(clients=clients, seeds=", ".join(map(str, seeds)))]
    ran = {each.label for each in found}
    parts += [goal_line(goal, found) for goal in GOALS if goal.rival in ran]
    parts.append(TRACES)
    parts += [trace_line(name, who, of(found, who, name)) for name in names for who in ("operator", "hpa", "knative")]
    parts.append(WORSE)
    parts += [f"- {sentence}\n" for sentence in worse(found, names)] or ["Nowhere.\n"]
    parts += section(found)
    parts.append(PICTURES.format(seed=seeds[0]))
    parts += [f"![Clients, pods, reconnects and refusals over time: {name}]({name}.png)\n" for name in names]
    return "".join(parts)


def goal_line(goal: Goal, found: Sequence[Figures]) -> str:
    counted = [each for each in found if each.trace not in goal.without]
    ours, theirs = of(counted, "operator"), of(counted, goal.rival)
    verdict = "no goal" if goal.met is None else "met" if goal.met(ours, theirs) else "**missed**"
    return f"| {goal.words} | {goal.rival} | {goal.shown(ours, theirs)} | {verdict} |\n"


def trace_line(name: str, who: str, seen: Totals) -> str:
    cells = (
        name, who, f"{seen.pod_hours:,.1f}", f"{seen.refused:,.0f}", f"{seen.recover:,} s", f"{seen.forced_per_client_hour:.4f}",
        f"{seen.drained:,.0f} / {seen.shed:,.0f} / {seen.ended:,.0f}", f"{seen.peak:,.0f}", str(seen.oscillations), f"{100 * seen.over_target:.1f} %",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |\n"


def worse(found: Sequence[Figures], names: Sequence[str]) -> list[str]:
    """One sentence per trace and rival for each figure in which the rival does better."""
    sentences = []
    for name in names:
        ours = of(found, "operator", name)
        for who, called in (("hpa", "the HPA"), ("knative", "Knative's rule")):
            theirs = of(found, who, name)
            better = [
                f"{words} ({shown.format(mine)} against {shown.format(other)})"
                for words, shown, mine, other, slack in (
                    ("forced disconnects per client-hour", "{:.4f}", ours.forced_per_client_hour, theirs.forced_per_client_hour, 5e-5),
                    ("refused connections", "{:,.0f}", ours.refused, theirs.refused, NOBODY),
                    ("pod-hours", "{:,.1f}", ours.pod_hours, theirs.pod_hours, 0.05),
                    ("peak reconnects per second", "{:,.0f}", ours.peak, theirs.peak, 0.5),
                    ("time to recover, s", "{:,}", ours.recover, theirs.recover, 0.5),
                )
                if mine > other + slack
            ]  # fmt: skip
            if better:
                sentences.append(f"`{name}`, {called} has less: {'; '.join(better)}.")
    return sentences

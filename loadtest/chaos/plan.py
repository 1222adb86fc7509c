"""Which faults happen when: the same seed gives the same plan. Pure."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

CALM_SECONDS = 3.0
"""Before the first fault, and after the last one has ended."""

PODS_FAULTS = {
    "kill": 4.0, "stop": 9.0, "drain": 9.0, "freeze": 6.0, "behind": 9.0, "full": 14.0, "overflow": 4.0,
}  # fmt: skip
OTHER_FAULTS = {"shed": 4.0, "nats": 4.0, "reload": 4.0, "stall": 15.0, "reset": 3.0, "quiet": 16.0, "blackout": 6.0}
SECONDS = PODS_FAULTS | OTHER_FAULTS
"""How long each takes, about, until everything is in its place again."""

ENDING = frozenset({"kill", "stop", "quiet"})
"""Faults that end a pod. The oldest one, number 0, is spared: what it holds after a long life is weighed."""

ALONE = frozenset({"quiet"})
"""Kinds that need everything in its place before they begin, and nothing else while they last."""

MEASURED = ("blackout", "kill", "drain")
"""Kinds that happen alone once, in this order before all others, so that what they bring about is theirs: the peak of
reconnects. The blackout is the last that ends the oldest pod."""

FAREWELL_SECONDS = 2.0
"""After a drain, until everybody has come back: who is told to go is given a short `retry:`."""

PACE_LEAST, PACE_MOST, SLOWEST = 1.5, 7.0, 1.4
"""Seconds between two faults, and how many times as long it may be by chance."""

LASTS = {
    "kill": (0.6, 2.0), "freeze": (1.5, 5.0), "behind": (4.0, 8.0), "nats": (0.6, 2.0), "stall": (9.0, 15.0),
    "full": (3.0, 6.0), "blackout": (0.5, 1.5), "overflow": (0.3, 1.0),
}  # fmt: skip
"""Seconds, least and most. A stall is longer than the pods' patience, after the burst in its first quarter."""

WHAT = {
    "kill": "SIGKILL of a pod",
    "stop": "SIGTERM of a pod, which drains",
    "drain": "POST /drain, in the middle again with another window, then /undrain",
    "freeze": "SIGSTOP of a pod for seconds",
    "behind": "NATS sends one pod nothing for seconds; its neighbours, which are ahead, shed streams to it",
    "full": "a running pod is given room for only few more streams, and later as much as before; its neighbours shed",
    "overflow": "a burst behind a frozen pod whose NATS queue is small; streams of its neighbours come to it meanwhile",
    "shed": "POST /shed on all pods",
    "nats": "nats-server restarted with its data, by SIGTERM or SIGKILL",
    "reload": "reload of the proxy, which cuts every stream",
    "stall": "some clients read nothing for seconds, and a burst comes",
    "reset": "some clients' connections are reset",
    "quiet": "a quiet stream past its maximum age, while a pod is killed and clients are reset",
    "blackout": "SIGKILL of all pods at once, and after the first time of all but the oldest",
    "rollout": "all pods are told to limit no stream's age, while they run, and shed all streams",
    "expired": "NATS out of the pods' reach for longer than it keeps events",
    "recreated": "the stream deleted and created again, while clients move",
    "rewound": "nats-server restored from an older copy of its data",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. at: seconds after its part has begun. pod: which one, -1 for none. share: of the clients or streams.

    seconds: how long it lasts, where it does. hard: without a warning, where there is a choice. seed: for what the
    fault itself draws. alone: nothing else happens from its beginning until so many seconds after its end; 0: it overlaps.
    """

    at: float
    name: str
    pod: int = -1
    seconds: float = 0.0
    share: float = 0.0
    hard: bool = False
    seed: int = 0
    alone: float = 0.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a plan must fit into. kinds: that can happen. window: seconds of a drain. back: seconds after a sudden fault until
    everybody has come back."""

    seconds: float
    pods: int
    kinds: Sequence[str]
    window: float
    back: float

    def measured_seconds(self, name: str) -> tuple[float, float]:
        """How long one that happens alone takes, and the time after it."""
        if name == "blackout":  # and then streams are spread evenly, by a shed
            return 2.0, self.back + self.window + FAREWELL_SECONDS
        return (1.8 * self.window, FAREWELL_SECONDS) if name == "drain" else (2.0, self.back)

    @property
    def measured_until(self) -> float:
        return CALM_SECONDS + sum(sum(self.measured_seconds(name)) for name in MEASURED)

    def fits(self, name: str, at: float) -> bool:
        return at + SECONDS[name] + CALM_SECONDS <= self.seconds


def first_part(seed: int, bounds: Bounds) -> list[Fault]:
    """Faults after which nobody may have lost anything. Each kind comes once before any comes again."""
    rng = random.Random(seed)
    free = [0.0] * bounds.pods
    plan = list(_measured(rng, bounds))
    others = [name for name in bounds.kinds if name not in MEASURED]
    waiting = rng.sample(others, len(others))
    at = bounds.measured_until
    longest, alone = max(SECONDS.values()), sum(SECONDS[name] for name in ALONE)
    room = bounds.seconds - at - CALM_SECONDS - longest - alone
    pace = min(max(room / len(others) / SLOWEST, PACE_LEAST), PACE_MOST)
    while name := _next(waiting, at, pace, bounds):
        waiting.remove(name)
        waiting = waiting or rng.sample(bounds.kinds, len(bounds.kinds))
        fault = _fault(rng, round(at, 2), name, free)
        if fault.pod >= 0:
            free[fault.pod] = fault.at + SECONDS[name]
        plan.append(fault)
        at += SECONDS[name] if name in ALONE else pace * rng.uniform(2 - SLOWEST, SLOWEST)
    return plan


def _measured(rng: random.Random, bounds: Bounds) -> Iterator[Fault]:
    """Each on another pod: one that was just killed has few streams."""
    at, taken = CALM_SECONDS, [0.0] * bounds.pods
    for name in MEASURED:
        takes, after = bounds.measured_seconds(name)
        fault = _fault(rng, round(at, 2), name, taken)
        if fault.pod >= 0:
            taken[fault.pod] = bounds.seconds
        yield replace(fault, hard=name != "drain", alone=FAREWELL_SECONDS if name == "drain" else bounds.back)
        at += takes + after


def _next(waiting: Sequence[str], at: float, pace: float, bounds: Bounds) -> str:
    """The first one that leaves room for all others, or else the longest one that fits itself; empty where none does."""
    fitting = [name for name in waiting if bounds.fits(name, at)]
    for name in fitting:
        if _fit([other for other in waiting if other != name], at + _step(name, pace), pace, bounds):
            return name
    return max(fitting, key=SECONDS.__getitem__, default="")


def _fit(names: Sequence[str], at: float, pace: float, bounds: Bounds) -> bool:
    """Whether all of them have room from now on, the longest first, at the slowest pace."""
    for name in sorted(names, key=SECONDS.__getitem__, reverse=True):
        if not bounds.fits(name, at):
            return False
        at += _step(name, pace)
    return True


def _step(name: str, pace: float) -> float:
    return SECONDS[name] if name in ALONE else pace * SLOWEST


def second_part(seed: int, rounds: int) -> list[Fault]:
    """Faults that must give gaps, one after the other; `at` is their place in the row."""
    rng = random.Random(f"{seed} gaps")
    plan = [Fault(0, "rollout", share=1.0, seed=rng.randrange(2**31))]
    for _ in range(rounds):
        for name in rng.sample(("expired", "recreated", "rewound"), 3):
            seed_of_its_own = rng.randrange(2**31)
            plan.append(Fault(len(plan), name, share=rng.uniform(0.05, 0.15), seed=seed_of_its_own))
    return plan


def _fault(rng: random.Random, at: float, name: str, free: list[float]) -> Fault:
    """Draws the same number of times whatever it is, so that one kind more does not change all that follows."""
    can = range(1 if name in ENDING else 0, len(free))
    pods = [pod for pod in can if free[pod] <= at] or list(can)
    pod, span, share = pods[int(rng.random() * len(pods))], rng.random(), rng.uniform(0.05, 0.2)
    hard, seed = rng.random() < 0.5, rng.randrange(2**31)
    if name == "overflow":  # the last pod is the one whose queue is small
        pod = len(free) - 1
    least, most = LASTS.get(name, (0.0, 0.0))
    return Fault(
        at=at,
        name=name,
        pod=pod if name in PODS_FAULTS or name == "quiet" else -1,
        seconds=round(least + (most - least) * span, 2),
        share=round(share, 3),
        hard=hard and name != "blackout",
        seed=seed,
        alone=CALM_SECONDS if name in ALONE else 0.0,
    )

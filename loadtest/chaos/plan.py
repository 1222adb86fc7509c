"""Which faults happen when: the same seed gives the same plan. Pure."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

CALM_SECONDS = 3.0
"""Before the first fault, and after the last one has ended."""

PODS_FAULTS = {
    "kill": 4.0, "stop": 9.0, "drain": 9.0, "freeze": 6.0, "behind": 8.0, "full": 16.0, "overflow": 4.0,
}  # fmt: skip
OTHER_FAULTS = {"shed": 4.0, "nats": 4.0, "reload": 4.0, "stall": 15.0, "reset": 3.0, "quiet": 16.0, "blackout": 6.0}
SECONDS = PODS_FAULTS | OTHER_FAULTS
"""How long each takes, about, until everything is in its place again."""

WHAT = {
    "kill": "SIGKILL of a pod",
    "stop": "SIGTERM of a pod, which drains",
    "drain": "POST /drain, in the middle again with another window, then /undrain",
    "freeze": "SIGSTOP of a pod for seconds",
    "behind": "one pod's way to NATS stands still; its neighbours, which are ahead, shed streams to it",
    "full": "a pod comes back with room for few streams, and later as it was",
    "overflow": "a burst behind a frozen pod whose NATS queue is small; streams of its neighbours come to it meanwhile",
    "shed": "POST /shed on all pods",
    "nats": "nats-server restarted with its data, by SIGTERM or SIGKILL",
    "reload": "reload of the proxy, which cuts every stream",
    "stall": "some clients read nothing for seconds, and a burst comes",
    "reset": "some clients' connections are reset",
    "quiet": "a quiet stream past its maximum age, while a pod is killed and clients are reset",
    "blackout": "SIGKILL of all pods at once",
    "rollout": "all pods restarted one after the other",
    "expired": "NATS out of the pods' reach for longer than it keeps events",
    "recreated": "the stream deleted and created again, while clients move",
    "rewound": "nats-server restored from an older copy of its data",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. at: seconds after its part has begun. pod: which one, -1 for none. share: of the clients or streams.

    seconds: how long it lasts, where it does. hard: without a warning, where there is a choice. seed: for what the
    fault itself draws.
    """

    at: float
    name: str
    pod: int = -1
    seconds: float = 0.0
    share: float = 0.0
    hard: bool = False
    seed: int = 0


def first_part(seed: int, seconds: float, pods: int, *, proxy: bool) -> list[Fault]:
    """Faults after which nobody may have lost anything. Each kind comes once before any comes again."""
    rng = random.Random(seed)
    pace = min(max((seconds - 2 * CALM_SECONDS) / len(SECONDS), 1.5), 7.0)
    at, free = CALM_SECONDS, [0.0] * pods
    plan: list[Fault] = []
    for name in _decks(rng, proxy=proxy):
        fault = _fault(rng, round(at, 2), name, free)
        at += pace * rng.uniform(0.6, 1.4)
        if fault.at + SECONDS[name] + CALM_SECONDS > seconds:
            if at > seconds:
                return plan
            continue
        if fault.pod >= 0:
            free[fault.pod] = fault.at + SECONDS[name]
        plan.append(fault)
    return plan


def second_part(seed: int, rounds: int) -> list[Fault]:
    """Faults that must give gaps, one after the other; `at` is their place in the row."""
    rng = random.Random(f"{seed} gaps")
    plan = [Fault(0, "rollout", seed=rng.randrange(2**31))]
    for _ in range(rounds):
        for name in rng.sample(("expired", "recreated", "rewound"), 3):
            seed_of_its_own = rng.randrange(2**31)
            plan.append(Fault(len(plan), name, share=rng.uniform(0.05, 0.15), seed=seed_of_its_own))
    return plan


def _decks(rng: random.Random, *, proxy: bool) -> Iterator[str]:
    names = [name for name in SECONDS if proxy or name != "reload"]
    while True:
        yield from rng.sample(names, len(names))


def _fault(rng: random.Random, at: float, name: str, free: list[float]) -> Fault:
    """Draws the same number of times whatever it is, so that one kind more does not change all that follows."""
    pods = [pod for pod, since in enumerate(free) if since <= at] or list(range(len(free)))
    pod, span, share = pods[int(rng.random() * len(pods))], rng.random(), rng.uniform(0.05, 0.2)
    hard, seed = rng.random() < 0.5, rng.randrange(2**31)
    lasts = {
        "kill": 2.0, "freeze": 5.0, "behind": 6.0, "nats": 2.0, "stall": 15.0, "full": 6.0, "blackout": 1.5, "overflow": 1.0,
    }.get(name, 0.0)  # fmt: skip
    if name == "overflow":  # the last pod is the one whose queue is small
        pod = len(free) - 1
    return Fault(
        at=at,
        name=name,
        pod=pod if name in PODS_FAULTS or name == "quiet" else -1,
        seconds=round(lasts * (0.3 + 0.7 * span), 2),
        share=round(share, 3),
        hard=hard,
        seed=seed,
    )

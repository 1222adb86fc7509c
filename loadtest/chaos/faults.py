"""How each fault is carried out. Each leaves everything in its place, also when it is cancelled, and says what it did."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from signal import SIGTERM

from loadtest.chaos.effects import REPLACED
from loadtest.chaos.patience import all_back, crowded, empty, following, pause, peopled, settled
from loadtest.chaos.plan import FAREWELL_SECONDS, Fault
from loadtest.chaos.pods import Pod
from loadtest.chaos.publisher import now_ms
from loadtest.chaos.stage import KEPT_SECONDS, Stage, copy_store
from loadtest.chaos.truth import Era

ROOM_SHARE = 0.02
"""Of the clients: what a pod that is soon full has room for."""

FULL_SHARE = 0.4
"""Of the others' streams, that are to find it full."""

BURST_SECONDS, BURST_LEAST = 15, 300
"""A burst is what would be published in so long; with fewer events it would disappear in the sockets' buffers."""

SHORT_SECONDS = 1.0
"""How long the stream keeps events while it grows empty."""

GONE_MARGIN_SECONDS = 3.0
MOVES = 8


# Pods


async def kill(stage: Stage, fault: Fault) -> str:
    pod = stage.pods[fault.pod]
    async with pod.turn:
        await peopled(pod)
        streams = await pod.kill()
        await asyncio.sleep(fault.seconds)
        await pod.start(ready=False)
    return f"{streams} streams"


async def stop(stage: Stage, fault: Fault) -> str:
    pod = stage.pods[fault.pod]
    async with pod.turn:
        await peopled(pod)
        streams = pod.streams
        await pod.stop(SIGTERM)
        await pod.start(ready=False)
    return f"{streams} streams"


async def drain(stage: Stage, fault: Fault) -> str:
    """With a window of twice the length first, which is then cut short: asked again, a drain is that of the new window."""
    pod, window = stage.pods[fault.pod], stage.options.window_seconds
    async with pod.turn:
        await peopled(pod)
        streams = pod.streams
        await pod.ask("POST", "/drain", {"window_seconds": window * 2})
        try:
            await asyncio.sleep(window / 2)
            await pod.ask("POST", "/drain", {"window_seconds": window})
            await asyncio.sleep(window * (0.5 if fault.hard else 1.2))
        finally:
            await pod.ask("POST", "/undrain")
    return f"{streams} streams, taken back {'half way' if fault.hard else 'when all were gone'}"


async def freeze(stage: Stage, fault: Fault) -> str:
    pod = stage.pods[fault.pod]
    async with pod.turn:
        pod.freeze()
        try:
            await asyncio.sleep(fault.seconds)
            pod.note_frozen()
        finally:
            pod.thaw()
    return f"for {fault.seconds:.1f} s"


async def behind(stage: Stage, fault: Fault) -> str:
    """Streams of its neighbours come to a pod that has not seen yet what they have. It can ask NATS, and is told that they
    are right; or not even that, at the end."""
    pod, relay = stage.pods[fault.pod], stage.relays[fault.pod]
    async with pod.turn:
        await crowded(stage)
        paused = await pause(stage, fault.pod, fault.seconds)
        try:
            await asyncio.sleep(fault.seconds / 4)
            closed = await _shed_beside(stage, pod, fault.share)
            await asyncio.sleep(fault.seconds / 2)
            if fault.hard:
                relay.stand_still()
            await asyncio.sleep(fault.seconds / 4)
        finally:
            relay.flow()
        await stage.pause(fault.pod, 0)
    way = ", at the end without an answer from NATS" if fault.hard else ""
    return f"{paused} consumers paused for {fault.seconds:.1f} s{way}, {closed} streams shed by the others"


async def full(stage: Stage, fault: Fault) -> str:
    """By settings that it takes while it runs. Those who have a stream keep it; whoever comes beyond that is sent away."""
    pod, room = stage.pods[fault.pod], stage.part_of(ROOM_SHARE)
    before = pod.settings["max_streams"]
    async with pod.turn:
        await crowded(stage)
        await pod.sample()
        try:
            await pod.change(max_streams=pod.streams + room)
            closed = await _shed_beside(stage, pod, FULL_SHARE)
            await asyncio.sleep(fault.seconds)
        finally:
            await pod.change(max_streams=before)
    return f"room for {room} more streams, {closed} streams shed by the others"


async def overflow(stage: Stage, fault: Fault) -> str:
    """While it takes the burst in many small pieces, streams come to it that have seen all of it."""
    pod, count = stage.pods[fault.pod], _burst(stage)
    async with pod.turn:
        await crowded(stage)
        pod.freeze()
        try:
            stage.publisher.burst(count)
            await asyncio.sleep(fault.seconds)
            closed = await _shed_beside(stage, pod, fault.share)
        finally:
            pod.thaw()
    return f"{count} events at once, {closed} streams shed by the others"


# All pods, NATS, the proxy, clients


async def shed(stage: Stage, fault: Fault) -> str:
    await crowded(stage)
    return f"{await _shed(stage, stage.pods, fault.share)} streams"


async def nats(stage: Stage, fault: Fault) -> str:
    async with stage.nats_turn:
        await asyncio.to_thread(stage.nats.stop, kill=fault.hard)
        await asyncio.sleep(fault.seconds)
        await asyncio.to_thread(stage.nats.start)
    return f"{'SIGKILL' if fault.hard else 'SIGTERM'}, away for {fault.seconds:.1f} s"


async def reload(stage: Stage, fault: Fault) -> str:
    """Not while clients stall: it would cut their streams before any pod could lose patience with them."""
    assert stage.proxy is not None
    async with stage.stall_turn, stage.reload_turn:
        replaced = await stage.proxy.reload()
    stage.note(REPLACED, replaced)
    return f"{replaced} workers replaced"


async def stall(stage: Stage, fault: Fault) -> str:
    """A burst fills their sockets, and those of the proxy."""
    burst = _burst(stage) * 3 // 2
    async with stage.stall_turn:
        await crowded(stage)
        count = await stage.clients.stall(stage.part_of(fault.share), fault.seconds, fault.seed)
        await asyncio.sleep(fault.seconds / 4)
        stage.publisher.burst(burst)
        await asyncio.sleep(fault.seconds * 3 / 4)
    return f"{count} clients for {fault.seconds:.0f} s, and {burst} events at once"


async def reset(stage: Stage, fault: Fault) -> str:
    await crowded(stage)
    return f"{await stage.clients.reset(stage.part_of(fault.share), fault.seed)} clients"


async def blackout(stage: Stage, fault: Fault) -> str:
    pods = stage.pods if fault.hard else stage.pods[1:]
    for pod in pods:
        await pod.turn.acquire()
    try:
        streams = sum(await asyncio.gather(*(pod.kill() for pod in pods)))
        await asyncio.sleep(fault.seconds)
        await asyncio.gather(*(pod.start(ready=False) for pod in pods))
    finally:
        for pod in pods:
            pod.turn.release()
    return f"{len(pods)} pods with {streams} streams, away for {fault.seconds:.1f} s"


async def quiet(stage: Stage, fault: Fault) -> str:
    """Nobody is owed anything that the stream then drops: whoever comes back to the empty stream goes on in silence."""
    await stage.publisher.rest()
    await settled(stage)
    await stage.keep(SHORT_SECONDS)
    try:
        await empty(stage)
        pod = stage.pods[fault.pod]
        async with pod.turn:
            await pod.kill()
            count = await stage.clients.reset(stage.part_of(fault.share), fault.seed)
            await pod.start()
        await settled(stage)
    finally:
        await stage.keep(KEPT_SECONDS)
        stage.publisher.go_on()
    return f"pod {fault.pod} killed and {count} clients reset meanwhile"


# What must give gaps


async def rollout(stage: Stage, fault: Fault) -> str:
    """From here on no stream ends by age, whoever moves does so because of a fault; and no pod is restarted for that, so
    that what they hold at the end is what they hold after a long life."""
    await asyncio.gather(*(pod.change(max_age_seconds=0) for pod in stage.pods))
    closed = await _shed(stage, stage.pods, fault.share)
    await asyncio.sleep(stage.options.window_seconds + FAREWELL_SECONDS)
    return f"{closed} streams"


async def expired(stage: Stage, fault: Fault) -> str:
    """The publisher goes on, and the stream drops what no pod has seen yet."""
    seconds = max(4.0, min(10.0, stage.options.minutes * 4))
    await stage.publisher.rest()
    await settled(stage)
    stage.publisher.go_on()
    for relay in stage.relays:
        relay.go_down()
    try:
        await stage.keep(seconds)
        count = await stage.clients.reset(stage.part_of(fault.share), fault.seed)
        await asyncio.sleep(seconds + GONE_MARGIN_SECONDS)
    finally:
        for relay in stage.relays:
            relay.come_up()
    await following(stage)
    await stage.publisher.rest()
    await settled(stage)
    await stage.keep(KEPT_SECONDS)
    stage.publisher.go_on()
    return f"{seconds + GONE_MARGIN_SECONDS:.0f} s of {seconds:.0f} s kept, {count} clients reset meanwhile"


async def recreated(stage: Stage, fault: Fault) -> str:
    """Clients move between pods while some pods know of the new stream and others do not."""
    await stage.publisher.rest()
    await stage.delete_stream()
    await stage.create_stream("recreated")
    stage.truth.retention.append((now_ms(), KEPT_SECONDS))
    stage.publisher.go_on()
    draw, moved = random.Random(fault.seed), 0
    for _ in range(MOVES):
        moved += await _shed(stage, stage.pods, fault.share)
        moved += await stage.clients.reset(stage.part_of(fault.share / 3), draw.randrange(2**31))
        await asyncio.sleep(draw.uniform(0.3, 0.7))
    await following(stage)
    await stage.publisher.rest()
    await settled(stage)
    stage.publisher.go_on()
    return f"{moved} clients moved meanwhile"


async def rewound(stage: Stage, fault: Fault) -> str:
    """Nothing is published until every client was told: positions that are given out again cannot be told apart."""
    copy = stage.folder / "jetstream-copy"
    await stage.publisher.rest()
    await settled(stage)
    epoch, kept, _ = await stage.head()
    await asyncio.to_thread(stage.nats.stop)
    await asyncio.to_thread(copy_store, stage.store, copy)
    await asyncio.to_thread(stage.nats.start)
    await following(stage)
    stage.publisher.go_on()
    await asyncio.sleep(2.0)
    await stage.publisher.rest()
    await settled(stage)
    _, last, _ = await stage.head()
    await asyncio.to_thread(stage.nats.stop)
    await asyncio.to_thread(copy_store, copy, stage.store)
    stage.truth.eras.append(Era(epoch, now_ms(), "rewound"))
    await asyncio.to_thread(stage.nats.start)
    await following(stage)
    await settled(stage, exactly=True)
    stage.publisher.go_on()
    return f"{last - kept} events lost"


CARRY_OUT: dict[str, Callable[[Stage, Fault], Awaitable[str]]] = {
    each.__name__: each
    for each in (
        *(kill, stop, drain, freeze, behind, full, overflow, shed, nats, reload, stall, reset, blackout, quiet),
        *(rollout, expired, recreated, rewound),
    )
}

ORDERLY = frozenset({"stop", "drain", "shed", "rollout", "full"})
SUDDEN = frozenset({"kill", "blackout", "reload"})


async def _shed_beside(stage: Stage, pod: Pod, share: float) -> int:
    """All others close some of their streams."""
    return await _shed(stage, [each for each in stage.pods if each is not pod], share)


async def _shed(stage: Stage, pods: Sequence[Pod], share: float) -> int:
    """Some pods close a share of their streams, as fast as the budget allows; returns how many, as far as they answer."""
    window = stage.options.window_seconds * share
    return sum(await asyncio.gather(*(_shed_one(pod, share, window) for pod in pods)))


async def _shed_one(pod: Pod, share: float, window: float) -> int:
    try:
        count = round(int((await pod.ask("GET", "/load"))["streams"]) * share)
        await pod.ask("POST", "/shed", {"count": count, "window_seconds": window})
    except OSError:
        return 0
    return count


def _burst(stage: Stage) -> int:
    """How many events."""
    return max(int(stage.options.rate * BURST_SECONDS), BURST_LEAST)


async def even_out(stage: Stage) -> None:
    """Of pods that start together, the first one that is ready gets nearly all streams: the others get some of them."""
    await all_back(stage)
    await asyncio.gather(*(pod.sample() for pod in stage.pods))
    fair = stage.options.clients / len(stage.pods)
    shares = [max(pod.streams - fair, 0) / max(pod.streams, 1) for pod in stage.pods]
    window = stage.options.window_seconds
    await asyncio.gather(
        *(_shed_one(pod, share, window) for pod, share in zip(stage.pods, shares, strict=True) if share)
    )
    await asyncio.sleep(window + FAREWELL_SECONDS)
    await all_back(stage)

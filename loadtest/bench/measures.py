"""How it is measured: each function takes a peer and a number of streams through one run, and returns its metrics.

Times are milliseconds unless the name says otherwise, memory is in bytes.
"""

import statistics
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loadtest.bench.machine import listen_drops
from loadtest.bench.peers import Peer
from loadtest.bench.processes import Driver
from loadtest.bench.rig import Rig, finish, rig, served

Metrics = dict[str, float]
PAUSE_SECONDS = 0.1
BURSTS = (10, 50)
RATE = 20
BACKLOG_EVENTS = 1000
CHANNELS = 1000
STALLED_EVERY = 10
STALLED_BUFFER = 4096
STALLED_EVENT_BYTES = 2048
STALLED_EVENTS = 40
HEARTBEAT_SECONDS = 15


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure within one run."""

    events: int = 15
    """Single events."""
    bursts: int = 5
    seconds: float = 5.0
    """Of a sustained rate."""
    idle_seconds: float = 2.0 * HEARTBEAT_SECONDS
    pods: int = 3


QUICK = Effort(events=9, bursts=2, seconds=2.0, idle_seconds=6.0, pods=2)


def one_event(peer: Peer, streams: int, effort: Effort) -> Metrics:
    """(1) One event at a time, until the last stream has it; what a stream costs to open and to keep."""
    with served(peer) as (bench, client):
        metrics = opening(bench, client, streams)
        before = bench.usage()
        reports = []
        for _ in range(effort.events):
            reports.append(bench.deliver(client, streams, 1))
            time.sleep(PAUSE_SECONDS)
        after = bench.usage()
    metrics |= {
        "last_ms": statistics.median(last_ms(report) for report in reports),
        "cpu_us_per_delivery": (after.cpu - before.cpu) * 1e6 / (streams * effort.events),
    }
    return metrics | middle(reports) | counted(reports)


def burst(peer: Peer, streams: int, effort: Effort) -> Metrics:
    """(2) Bursts of 10 and 50 events, and a sustained rate."""
    metrics: Metrics = {}
    every = []
    with served(peer) as (bench, client):
        bench.open(client, streams)
        for size in BURSTS:
            reports = []
            for _ in range(effort.bursts):
                reports.append(bench.deliver(client, streams, size))
                time.sleep(PAUSE_SECONDS)
            every += reports
            metrics |= {f"burst{size}_{name}": value for name, value in middle(reports).items()}
            metrics[f"burst{size}_per_s"] = statistics.median(per_second(report) for report in reports)
        before = bench.usage()
        events = int(RATE * effort.seconds)
        report = bench.deliver(client, streams, events, rate=RATE, seconds=effort.seconds + 60)
        after = bench.usage()
    metrics |= {f"rate_{name}": value for name, value in middle([report]).items()}
    metrics["rate_cpu_us_per_delivery"] = (after.cpu - before.cpu) * 1e6 / (streams * events)
    return metrics | counted([*every, report])


def at_once(peer: Peer, streams: int, effort: Effort) -> Metrics:
    """(3) All streams at once, as after a crash: until the last one has its head."""
    with served(peer) as (bench, client):
        metrics = opening(bench, client, streams, inflight=0)
        return metrics | counted([bench.deliver(client, streams - int(metrics["failed"]), 1)])


def resume_storm(peer: Peer, streams: int, effort: Effort) -> Metrics:
    """(4) Streams come back at once, 1,000 events behind, while others are served live."""
    live_streams = max(streams // 10, 1)
    with served(peer) as (bench, live):
        bench.open(live, live_streams)
        bench.deliver(live, live_streams, 1)
        behind = live.ask("report", "report")["last_id"]
        first = bench.published + 1
        bench.deliver(live, live_streams, BACKLOG_EVENTS, rate=2000)
        before = bench.usage()
        calm = bench.deliver(live, live_streams, int(RATE * effort.seconds), rate=RATE, seconds=effort.seconds + 60)
        missed = bench.published + 1 - first
        storm_events = int(RATE * effort.seconds * 2)
        storm = bench.add_client(bench.ports[0])
        each = missed + storm_events
        order = {"first": first, "count": each, "deliveries": streams * each, "mark": first + missed - 1}
        storm.ask("expect", "expecting", values=order)
        bench.expect(live, live_streams, storm_events)
        publishing = threading.Thread(
            target=bench.publish, args=(storm_events,), kwargs={"rate": RATE, "seconds": effort.seconds * 2 + 60}
        )
        publishing.start()
        opened = bench.storm(storm, streams, inflight=0, id=behind)
        peak = bench.usage()
        caught_up = finish(storm, 60)
        publishing.join()
        during = finish(live)
        bench.expect(storm, streams, len(calm["events"]))
        after = bench.deliver(live, live_streams, len(calm["events"]), rate=RATE, seconds=effort.seconds + 60)
        beside = finish(storm)
    return {
        **_live(calm, during, after, caught_up["marked_ms"]),
        "heads_ms": opened["elapsed_ms"],
        "failed": opened["failed"],
        "memory_bytes": peak.rss - before.rss,
        "memory_per_stream": (peak.rss - before.rss) / streams,
        "waited_ms": max(0.0, caught_up["marked_ms"] - opened["elapsed_ms"]),
        "caught_up_ms": caught_up["marked_ms"],
        "replayed_per_s": streams * missed / max(caught_up["marked_ms"], 1e-3) * 1e3,
    } | counted([calm, during, after, caught_up, beside])


def _live(calm: dict[str, Any], during: dict[str, Any], after: dict[str, Any], storm_ms: float) -> Metrics:
    """When the last live stream had an event before, within and after a storm: p99 over events.

    Only events that were sent while the storm lasted: those after it would hide what it did. Before it, few streams are
    open; after it, all are, and an event takes as long as one to all of them takes.
    """
    within = during["events"][: max(int(storm_ms * RATE / 1e3) + 1, 1)]
    few, stormy, many = (
        _p99([float(event["last_ms"]) for event in events]) for events in (calm["events"], within, after["events"])
    )
    return {
        "calm_p99_ms": few,
        "storm_p99_ms": stormy,
        "after_p99_ms": many,
        "storm_ratio": stormy / many,
        "storm_growth": stormy / few,
        "storm_events": len(within),
    }


def _p99(values: list[float]) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * 0.99), len(ordered) - 1)] if ordered else float("nan")


def selective(peer: Peer, streams: int, effort: Effort) -> Metrics:
    """(5) Every stream on a subject of its own and an event to one of them; and one event that 1,000 channels want."""
    with served(peer) as (bench, client):
        query = peer.subject_query.format(subject="bench.s.%d")
        bench.open(client, streams, path=f"{peer.path}?{query}", modulo=streams)
        reports = []
        for place in range(effort.events):
            subject = f"bench.s.{place * streams // effort.events}"
            reports.append(directed(bench, client, subject, 1))
            time.sleep(PAUSE_SECONDS)
        client.ask("close", "closed")
        channels = channel_times(bench, client, streams, effort)
    return {"last_ms": statistics.median(map(last_ms, reports))} | channels | counted(reports)


def channel_times(bench: Rig, client: Driver, streams: int, effort: Effort) -> Metrics:
    """The same streams spread over many channels, all of which want the same event."""
    both = "&".join(bench.peer.subject_query.format(subject=subject) for subject in ("bench.c", "bench.s.%d"))
    bench.open(client, streams, path=f"{bench.peer.path}?{both}", modulo=min(CHANNELS, streams))
    reports = []
    for _ in range(effort.events):
        reports.append(directed(bench, client, "bench.c", streams))
        time.sleep(PAUSE_SECONDS)
    return {"channels_last_ms": statistics.median(map(last_ms, reports)), "channels_lost": counted(reports)["lost"]}


def directed(bench: Rig, client: Driver, subject: str, wanted: int) -> dict[str, Any]:
    bench.expect(client, wanted, 1, sparse=1)
    bench.publish(1, subject=subject)
    return finish(client, 5)


def idle(peer: Peer, streams: int, effort: Effort) -> Metrics:
    """(6) CPU and memory of streams on which nothing happens but heartbeats, where the peer sends any."""
    with served(peer) as (bench, client):
        metrics = opening(bench, client, streams)
        time.sleep(2)
        before, began = bench.usage(), time.monotonic()
        time.sleep(effort.idle_seconds)
        after, ended = bench.usage(), time.monotonic()
        report = client.ask("report", "report")
    return {
        "cpu_percent": (after.cpu - before.cpu) / (ended - began) * 100,
        "memory_per_stream": metrics["memory_per_stream"],
        "rss_bytes": after.rss,
        "closed": report["closed"],
    }


def stalled(peer: Peer, streams: int, effort: Effort) -> Metrics:
    """(7) The same streams of interest without and with one in ten beside them that reads nothing."""
    reading = streams - streams // STALLED_EVERY
    with served(peer) as (bench, client):
        bench.open(client, reading)
        calm = [_large(bench, client, reading) for _ in range(effort.bursts)]
        others = bench.add_client(bench.ports[0])
        bench.open(others, streams - reading, rcvbuf=STALLED_BUFFER)
        others.ask("stall", "stalled", values={"every": 1})
        beside = [_large(bench, client, reading) for _ in range(effort.bursts)]
        after = bench.usage()
    return {
        "calm_p99_ms": statistics.median(report["p99_ms"] for report in calm),
        "stalled_p99_ms": statistics.median(report["p99_ms"] for report in beside),
        "stalled_ratio": statistics.median(report["p99_ms"] for report in beside)
        / statistics.median(report["p99_ms"] for report in calm),
        "calm_ms": statistics.median(report["elapsed_ms"] for report in calm),
        "stalled_ms": statistics.median(report["elapsed_ms"] for report in beside),
        "rss_bytes": after.rss,
    } | counted([*calm, *beside])


def _large(bench: Rig, client: Driver, reading: int) -> dict[str, Any]:
    """Some large events one after the other: enough to fill the sockets of whoever reads nothing."""
    report = bench.deliver(client, reading, STALLED_EVENTS, size=STALLED_EVENT_BYTES, rate=RATE)
    time.sleep(PAUSE_SECONDS)
    return report


def fleet(peer: Peer, streams: int, effort: Effort) -> Metrics:
    """(8) Several pods on one machine, each with its share of the streams and a client of its own; one event to all."""
    shares = [streams // effort.pods + (pod < streams % effort.pods) for pod in range(effort.pods)]
    with rig(peer) as bench:
        clients = [bench.add_client(bench.add_server()) for _ in range(effort.pods)]
        before = bench.usage()
        for client, share in zip(clients, shares, strict=True):
            bench.open(client, share)
        after = bench.usage()
        rounds = []
        for _ in range(effort.events):
            for client, share in zip(clients, shares, strict=True):
                bench.expect(client, share, 1)
            bench.publish(1)
            rounds.append([finish(client) for client in clients])
            time.sleep(PAUSE_SECONDS)
    return {
        "last_ms": statistics.median(max(map(last_ms, reports)) for reports in rounds),
        "memory_per_stream": (after.rss - before.rss) / streams,
    } | counted([report for reports in rounds for report in reports])


def opening(bench: Rig, client: Driver, streams: int, **options: object) -> Metrics:
    """Opens the streams; what one costs."""
    before, dropped = bench.usage(), listen_drops()
    opened = bench.storm(client, streams, **options)
    dropped = listen_drops() - dropped
    time.sleep(PAUSE_SECONDS)
    after = bench.usage()
    return {
        "heads_ms": opened["elapsed_ms"],
        "failed": opened["failed"],
        "issued_ms": opened["issued_ms"],
        "listen_drops": dropped,
        "head_p50_ms": opened["p50_ms"],
        "head_p99_ms": opened["p99_ms"],
        "open_cpu_us": (after.cpu - before.cpu) * 1e6 / streams,
        "memory_per_stream": (after.rss - before.rss) / streams,
    }


def last_ms(report: Mapping[str, Any]) -> float:
    """When the last stream had the event that was the slowest."""
    return max((float(event["last_ms"]) for event in report["events"]), default=float("nan"))


def per_second(report: Mapping[str, Any]) -> float:
    return float(report["deliveries"] / max(report["elapsed_ms"], 1e-3) * 1e3)


def middle(reports: list[dict[str, Any]]) -> Metrics:
    return {
        name: statistics.median(float(report[name]) for report in reports) for name in ("p50_ms", "p99_ms", "max_ms")
    }


def counted(reports: list[dict[str, Any]]) -> Metrics:
    """What must be right in every run; a peer that skips whoever is slow loses events here."""
    names = ("deliveries", "lost", "duplicates", "out_of_order", "gaps")
    return {name: float(sum(report[name] for report in reports)) for name in names}

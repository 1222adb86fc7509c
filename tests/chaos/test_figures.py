"""A run's figures: each thing that must be zero is counted where it is planted, and nothing where all is well."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from loadtest.chaos.effects import KILLED, Look
from loadtest.chaos.figures import LEAKED_BYTES, MUST_BE_ZERO, Figures, figures
from loadtest.chaos.plan import Fault
from loadtest.chaos.pods import Sample
from loadtest.chaos.report import page, verdict
from loadtest.chaos.session import OLDEST, Happened, Outcome, PodWeight
from loadtest.chaos.stage import Options
from loadtest.chaos.traffic import subject_of
from loadtest.chaos.treadmill import STREAMS
from loadtest.chaos.truth import Era, Span, Stored, Truth

EVENTS, STEP_MS = 100, 1000
UNIX_MS = 1_764_000_000_000
KILL = Happened(1, Fault(20, "kill", 1, alone=5.0), 20_000, 22_000, "")
OPTIONS = Options(minutes=1, clients=50, pods=2, budget=10)
MIB = 2**20


@dataclass
class Run:
    """A good one: one client that had everything, one that had the JSON form, a kill that cut some streams."""

    client: list[str] = field(
        default_factory=lambda: [
            "c 0 1 -",
            "h 1",
            "p 2 e 0",
            f"r 1010 {EVENTS}010 e 1 1 1 1 {EVENTS}",
            "q 9000 1000",
            "q 50000 41000",
            "s 10 5000",
        ]
    )
    stored: int = 0
    happened: list[Happened] = field(default_factory=lambda: [KILL])
    killed: int = 7
    reconnects: list[int] = field(default_factory=list)
    kept: int = 20
    """Bytes of each stream on the treadmill."""
    trouble: str = ""
    files: int = 20

    def found(self, folder: Path) -> Figures:
        return figures(self.outcome(folder))

    def outcome(self, folder: Path) -> Outcome:
        file = folder / "ledger"
        others = [f"{1 + place} {line}" for place, at in enumerate(self.reconnects) for line in comes_back(at)]
        lines = ["G plain 0 1 /events", *(f"0 {line}" for line in self.client)]
        lines += [f"G quiet 1 {len(self.reconnects)} /events?subject=events.quiet", *others]
        lines += [f"T {number} {(UNIX_MS + number * STEP_MS + self.stored) * 1000 + 1500}" for number in (1, 2, 50)]
        file.write_text("\n".join(lines) + "\n")
        weights = [PodWeight(pod, 0, 20, 80 * MIB) for pod in range(2)]
        after = [PodWeight(pod, 0, self.files, 80 * MIB) for pod in range(2)]
        samples = [Sample(at * 1000, 1, 10, 80 * MIB, 30) for at in range(120)]
        history = [Look(0, Counter()), Look(21_000, Counter({KILLED: self.killed})), Look(60_000, Counter())]
        return Outcome(
            OPTIONS,
            file,
            truth(),
            ([], []),
            proxy=True,
            ended=120_000,
            happened=self.happened,
            weights={"before": weights, "between": weights, "after": after},
            samples=[samples, samples],
            histories=[[], history[:2]],
            trodden=[80 * MIB + self.kept * STREAMS * at for at in range(18)],
            trouble=self.trouble,
        )


def comes_back(at: int) -> list[str]:
    """A client that is owed nothing, whose stream is cut shortly before it comes back."""
    return ["c 0 1 -", "h 1", "p 2 e 0", f"e {at - 5} cut", f"c {at} 1 e-0", f"p {at + 1} e {EVENTS}", "s 0 0"]


def truth() -> Truth:
    found = Truth(eras=[Era("e", 0, "")], retention=[(0, 3600.0)], clocks=[UNIX_MS], rests=[Span(1500, 8500)])
    for number in range(1, EVENTS + 1):
        at = number * STEP_MS
        found.store(Stored(number, subject_of(number), 0, number, at, at + 5))
    return found


def wrong(run: Run, folder: Path) -> dict[str, int]:
    found = run.found(folder)
    return {name: found.counts[name] for name in MUST_BE_ZERO if found.counts[name]}


def test_a_good_run_has_nothing_that_must_be_zero(tmp_path: Path) -> None:
    run = Run(reconnects=[23_000] * 10)
    found = run.found(tmp_path)
    assert not found.wrong
    assert found.counts["made"] == found.counts["expected"] == EVENTS
    assert found.counts["times_compared"] == 3
    assert found.deliveries["plain"].pauses == [9000], "the other one was the publisher's rest, but for a second"
    assert found.deliveries["plain"].delays == [10]
    assert found.peak(frozenset({"kill"}), alone=True) == 10
    assert found.growth is not None
    assert "none lost, duplicated or out of order" in verdict(found)


def test_a_peak_above_the_budget_is_wrong_after_a_fault_that_happened_alone_and_reported_after_another(
    tmp_path: Path,
) -> None:
    many = [23_000 + place * 50 for place in range(11)]
    assert wrong(Run(reconnects=many), tmp_path) == {"over_budget": 1}
    overlapping = Happened(1, Fault(20, "kill", 1), 20_000, 22_000, "")
    found = Run(reconnects=many, happened=[overlapping]).found(tmp_path)
    assert not found.wrong
    assert found.peak(frozenset({"kill"}), alone=False) == 11
    assert found.peak(frozenset({"kill"}), alone=True) is None


def test_a_kind_of_fault_without_effect_is_wrong_and_named(tmp_path: Path) -> None:
    run = Run(killed=0)
    assert wrong(run, tmp_path) == {"without_effect": 1}
    assert any("kill had no effect" in finding for finding in run.found(tmp_path).findings)
    twice = [KILL, Happened(1, Fault(50, "kill", 0), 50_000, 51_000, "")]
    assert not wrong(Run(happened=twice), tmp_path), "one of two is enough"


def test_deliveries_that_are_not_those_of_the_publishers_log_are_wrong(tmp_path: Path) -> None:
    run = Run()
    run.client[3] = f"r 1010 {EVENTS}010 e 1 1 1 1 {EVENTS - 3}"
    assert wrong(run, tmp_path) == {"lost": 3, "not_as_expected": 3}
    assert run.found(tmp_path).counts["expected"] == EVENTS


def test_a_time_that_is_not_that_of_the_storage_is_wrong(tmp_path: Path) -> None:
    """That of delivery, say."""
    assert wrong(Run(stored=40), tmp_path) == {"wrong_times": 3}


def test_a_pod_that_keeps_memory_or_files_is_wrong(tmp_path: Path) -> None:
    assert wrong(Run(kept=LEAKED_BYTES), tmp_path) == {"pods_leaked": 1}
    assert wrong(Run(trouble="it took no stream"), tmp_path) == {"not_carried_out": 1}
    assert wrong(Run(files=21), tmp_path) == {"files_leaked": 2}


def test_streams_that_end_by_age_must_come_back_within_the_budget(tmp_path: Path) -> None:
    """All at once, because nobody drew their age: each of them is in good order, and all together are too many."""
    run = Run()
    age = round(OPTIONS.max_age_seconds * 1000)
    ended = [f"e {age} end", f"c {age + 300} 1 e-0"]
    outcome = run.outcome(tmp_path)
    with outcome.ledger.open("a") as file:
        file.write("G quiet 1 11 /events?subject=events.quiet\n")
        for client in range(1, 12):
            lines = ["c 0 1 -", "h 1", "p 2 e 0", *ended, f"p {age + 400} e {EVENTS}"]
            file.writelines(f"{client} {line}\n" for line in lines)
    found = figures(outcome)
    assert found.peak_aged == 11
    assert found.counts["over_budget"] == 1


def test_the_page_has_every_figure(tmp_path: Path) -> None:
    run = Run(reconnects=[23_000] * 3)
    outcome = run.outcome(tmp_path)
    text = "\n".join(page(outcome, figures(outcome), {"cores": "2"}))
    for what in (
        *MUST_BE_ZERO.values(),
        "events published and acknowledged",
        "deliveries expected | 100",
        "deliveries made | 100",
        "true gaps",
        "budget of reconnects per second | 10",
        "of an orderly fault alone",
        "of a sudden fault alone (kill) | 3",
        "longest pause: median | p99 | most",
        "| plain | 1 | everything | 9.0 s",
        "Longest waited client 0 (plain), 0.0 s for an event of second\n5.0.",
        f"Pod {OLDEST} was not ended",
        "open files | memory",
    ):
        assert what in text

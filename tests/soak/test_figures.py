"""What fails a run: thresholds that k6 found crossed, a k6 that could not run, pods that leak or end; and what does not."""

from dataclasses import replace

import pytest

from loadtest.chaos.pods import Sample
from loadtest.soak.figures import FILES, MEMORY_BYTES, figures, growth
from loadtest.soak.k6 import Result, Threshold
from loadtest.soak.report import verdict
from loadtest.soak.session import Change, Outcome
from loadtest.soak.stage import Life, Options

MIB = 2**20
SECONDS = 120
LIFE = Life(0, 1, 0, SECONDS * 1000)


def samples(memory: float = 0.0, files: float = 0.0, kept: float = 0.0) -> list[Sample]:
    """One each second; memory and kept: MiB, and files, by which it grows in a second."""
    return [
        Sample(at * 1000, 1, 200, round((80 + memory * at) * MIB), 220 + round(files * at), round(kept * at * MIB))
        for at in range(SECONDS)
    ]


def outcome(found: list[Sample] | None = None, result: Result | None = None, **changed: object) -> Outcome:
    made = Outcome(Options(), result or Result(0, "", SECONDS, [], {}))
    made.samples, made.lives = [samples() if found is None else found], [LIFE]
    return replace(made, **changed)  # type: ignore[arg-type]


def test_a_run_in_which_nothing_happened_is_good() -> None:
    assert figures(outcome()).wrong == []
    assert "no pod leaks" in verdict(outcome(), figures(outcome()))


def test_memory_that_grows_fails_the_run() -> None:
    (said,) = figures(outcome(samples(memory=0.2))).wrong
    assert said.startswith("pod 0's memory grew by ")
    assert said.endswith(f" s, and may by {MEMORY_BYTES // MIB} MiB")


def test_what_the_log_is_there_to_keep_is_no_leak() -> None:
    assert figures(outcome(samples(memory=0.2, kept=0.2))).wrong == []


def test_files_that_stay_open_fail_the_run() -> None:
    (said,) = figures(outcome(samples(files=0.2))).wrong
    assert said.startswith("pod 0's open files grew by ")
    assert figures(outcome(samples(files=FILES / SECONDS))).wrong == []


def test_what_a_pod_takes_while_it_starts_is_no_growth() -> None:
    found = growth(LIFE, [replace(each, rss=each.rss // 2) if each.at < 20_000 else each for each in samples()])
    assert found is not None
    assert abs(found.memory.grown) < 1


def test_a_life_counts_from_its_beginning_to_the_word_to_end() -> None:
    """While it drains it does other things; and before it had been started again it was another process."""
    before = [Sample(each.at - SECONDS * 1000, 1, 200, each.rss * 3, 900) for each in samples()]
    during = [Sample(each.at, 2, 200, each.rss, each.files) for each in samples()]
    draining = [Sample(SECONDS * 1000 + each.at + 1, 2, 3, each.rss * 2, 900) for each in samples()]
    found = growth(Life(0, 2, 0, SECONDS * 1000), [*before, *during, *draining])
    assert found is not None
    assert abs(found.memory.grown) < 1
    assert abs(found.files.grown) < 0.01


def test_a_run_that_can_tell_nothing_of_any_pod_is_no_good_one() -> None:
    silent = [replace(each, streams=-1) for each in samples()]
    assert figures(outcome(silent)).wrong == ["no pod lived long enough to tell whether it leaks"]
    assert figures(outcome(silent)).unwatched == 1


def test_thresholds_that_were_crossed_are_named_with_their_values() -> None:
    crossed = [Threshold("sse_lost", "count==0", False, "12"), Threshold("sse_gaps", "count==0", True, "0")]
    result = Result(99, 'thresholds on metrics "sse_lost" have been crossed', 60, crossed, {})
    assert figures(outcome(result=result)).wrong == ["thresholds were crossed: sse_lost count==0 (12)"]


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        (Result(108, "test aborted: it is down", 0, [], {}), "k6 ended with 108: test aborted: it is down"),
        (Result(99, "", 0, [], {}), "k6 ended with 99: it said nothing"),
        (Result(-9, "", 0, [], {}), "k6 ended with -9: it said nothing"),
    ],
)
def test_a_k6_that_could_not_run_fails_the_run(result: Result, sentence: str) -> None:
    assert figures(outcome(result=result)).wrong == [sentence]


def test_a_pod_that_ended_or_could_not_be_exchanged_fails_the_run() -> None:
    found = figures(
        outcome(
            died=["it ended with 1"], tracebacks=["pod 1: ValueError"], changes=[Change(0, 1, "", "it did not start")]
        )
    )
    assert found.wrong == [
        "it ended with 1",
        "1 tracebacks in the pods' logs, the first: pod 1: ValueError",
        "a pod could not be exchanged: it did not start",
    ]
    assert verdict(outcome(), found).count(";") == 2


def test_pods_come_and_go_where_that_is_the_point() -> None:
    assert Options(minutes=0.5).changes == [15.0]
    assert Options(minutes=2).changes == [40.0, 80.0]
    assert len(Options(minutes=60).changes) == 6
    assert len(Options(minutes=6000).changes) == 48
    assert Options(scenario="polling").changes == Options(pods=1).changes == []


def test_a_ramp_has_less_room_than_streams() -> None:
    assert Options(scenario="ramp", streams=900, pods=3).capacity == 200
    assert Options(streams=900, pods=3).capacity > 900

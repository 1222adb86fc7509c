"""history.py: answers of Prometheus become a trace and a measured run, and what cannot be used gets one sentence."""

import json
from typing import Any

import numpy as np
import pytest

from ssecast_operator.history import (
    QUERIES,
    STREAMS,
    History,
    Points,
    Subject,
    history_of,
    measured,
    points_of,
    query_of,
    read_range,
    trace_of,
)
from ssecast_operator.results import figures_of
from ssecast_operator.traces import Incident, Kind, TraceError
from tests.fleets import NOW, spec_of


def points(*values: float, step: float = 60.0) -> Points:
    return {NOW + step * at: value for at, value in enumerate(values)}


def past(**answers: Points) -> History:
    return history_of("shop-news", {STREAMS: points(100, 100, 200, 200), **answers})


def matrix(*series: dict[str, Any]) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": "matrix", "result": list(series)}}


def series(*values: object, since: int = 0) -> dict[str, Any]:
    return {"metric": {}, "values": [[since + 60 * at, str(value)] for at, value in enumerate(values)]}


def test_a_query_names_the_broadcaster_and_no_other() -> None:
    subject = Subject("news", "shop")
    assert query_of("pods", subject, 6000, 15) == 'count(ssecast_streams{broadcaster="news",namespace="shop"})'
    assert query_of("over", Subject("news"), 6000, 15) == 'count(ssecast_streams{broadcaster="news"} > 6000)'


@pytest.mark.parametrize(("step", "window"), [(15, "[60s]"), (75, "[75s]")])
def test_a_rate_is_taken_over_a_whole_step_and_several_scrapes(step: float, window: str) -> None:
    """Or what happened between two points would be in none of them."""
    assert window in query_of("refused", Subject("news"), 1, step)


def test_series_are_added_up_and_what_is_no_number_is_left_out() -> None:
    assert points_of([series(1, "NaN", 3), series(10, 20, "+Inf")]) == {0.0: 11.0, 60.0: 20.0, 120.0: 3.0}


def test_clients_are_those_with_a_stream_and_those_who_wait_for_one() -> None:
    trace = trace_of(past(waiting=points(0, 50, 0)))
    assert trace.times == (0, 60, 120, 180)
    assert trace.clients == (100, 150, 200, 200)
    assert trace.name == "shop-news"


def test_a_rollout_is_repeated_when_it_began() -> None:
    assert trace_of(past(rolling_out=points(0, 1, 1, 0))).incidents == (Incident(Kind.ROLLOUT, 60),)
    assert trace_of(past(rolling_out=points(1, 1, 0, 1))).incidents == (Incident(Kind.ROLLOUT, 180),)


def test_what_was_measured_has_the_figures_of_a_run() -> None:
    shown = past(
        pods=points(2, 2, 3, 3), ready=points(2, 2, 2, 2), refused=points(0, 5, 0, 0), drained=points(0, 0, 0.5, 0),
        shed=points(0, 0, 0.25, 0), ended=points(1, 0, 0, 0), hottest=points(60, 60, 110, 110), over=points(0, 0, 1, 1),
        desired=points(2, 3, 3, 3),
    )  # fmt: skip
    run = measured(shown, spec_of())
    found = figures_of(run, "measured")
    assert found.pod_hours == pytest.approx((2 * 120 + 3 * 60) / 3600)
    assert found.refused == pytest.approx(300)
    assert (found.drained, found.shed, found.ended) == pytest.approx((30, 15, 60))
    assert found.over_target == pytest.approx(60 / (2 * 180))
    assert run.series.connected[90] == pytest.approx(150)
    assert run.series.mean[150] == pytest.approx(100)
    assert np.array_equal(run.series.returned, run.series.forced)


def test_what_prometheus_does_not_know_of_is_nothing() -> None:
    run = measured(past(), spec_of())
    assert not run.series.refused.any()
    assert not run.series.mean.any()
    assert set(past().columns) == set(QUERIES)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ({}, "shop-news, line 1: there are too few times; expected are at least two"),
        (points(1), "shop-news, 2027-01-15 08:00:00 UTC: there are too few times; expected are at least two"),
        (
            points(1, 2, 3) | {NOW + 7320: 4.0},
            "shop-news, 2027-01-15 10:02:00 UTC: 7200 s lie between this row and the one before, a gap; expected are steps of about 60 s",
        ),
    ],
)
def test_a_history_with_a_gap_is_none(answer: Points, sentence: str) -> None:
    with pytest.raises(TraceError) as wrong:
        history_of("shop-news", {STREAMS: answer})
    assert str(wrong.value) == sentence


def test_times_can_be_told_to_people() -> None:
    assert past().at(60) == "2027-01-15 08:01 UTC"


# From a file


def test_a_saved_answer_is_a_trace() -> None:
    trace = read_range(json.dumps(matrix(series(10, 20, since=600), series(1, 2, 3, since=600))), "past.json")
    assert trace.times == (0, 60, 120)
    assert trace.clients == (11, 22, 3)


WANTED = "expected is an answer of Prometheus' query_range, with resultType matrix"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("", "past.json, line 1: Expecting value; expected is JSON"),
        ('{\n"a": }', "past.json, line 2: Expecting value; expected is JSON"),
        ("[" * 100_000, f"past.json, line 1: brackets stand in brackets without end; {WANTED}"),
        ("[]", f"past.json, line 1: there are no data; {WANTED}"),
        ({"status": "error", "error": "bad_data"}, f"past.json, line 1: Prometheus says 'bad_data'; {WANTED}"),
        ({"data": {"resultType": "vector", "result": []}}, f"past.json, line 1: resultType is 'vector'; {WANTED}"),
        ({"data": {"resultType": "matrix", "result": 7}}, f"past.json, line 1: resultType is 'matrix'; {WANTED}"),
        (matrix(), "past.json, line 1: there are too few times; expected are at least two"),
        (matrix({"metric": {}}), "past.json, line 1: series 0 has no values; expected is a list of [time, value]"),
        (matrix(series(1, "many")), 'past.json, line 1: [60, "many"] is no point of series 0; expected is [time, value]'),
        (matrix({"values": [[1]]}), "past.json, line 1: [1] is no point of series 0; expected is [time, value]"),
        (matrix({"values": [7]}), "past.json, line 1: 7 is no point of series 0; expected is [time, value]"),
        (matrix(series(1, -5)), "past.json, line 1: a value is -5; expected are clients, from 0 to 1,000,000,000"),
        (matrix(series(1, 2e9)), "past.json, line 1: a value is 2e+09; expected are clients, from 0 to 1,000,000,000"),
        (matrix({"values": [[float("nan"), "1"]]}), 'past.json, line 1: [NaN, "1"] is no point of series 0; expected is [time, value]'),
        (matrix({"values": [["1", "1"]]}), 'past.json, line 1: ["1", "1"] is no point of series 0; expected is [time, value]'),
        (
            matrix(series(1, 2, 3), series(4, since=9000)),
            "past.json, line 1: 8880 s lie between this row and the one before, a gap; expected are steps of about 60 s",
        ),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_gets_one_sentence(body: Any, sentence: str) -> None:
    with pytest.raises(TraceError) as wrong:
        read_range(body if isinstance(body, str) else json.dumps(body), "past.json")
    assert str(wrong.value) == sentence


def test_where_the_file_has_lines_the_line_is_told() -> None:
    text = json.dumps(matrix({"metric": {}, "values": [[0, "1"], [60, "2"], [120.5, "-1"]]}), indent=1)
    with pytest.raises(TraceError) as wrong:
        read_range(text, "past.json")
    line = next(number for number, each in enumerate(text.splitlines(), 1) if "120.5" in each)
    assert str(wrong.value).startswith(f"past.json, line {line}: a value is -1")

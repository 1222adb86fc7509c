"""results.py: a run in a few figures."""

from dataclasses import fields

import numpy as np
import pytest

from ssecast_operator.results import ROWS, as_json, figures_of, longest, oscillations
from ssecast_operator.simulation import Run, Scaler, Series
from ssecast_operator.traces import Trace
from tests.fleets import spec_of


def run_of(seconds: int = 3600, **columns: object) -> Run:
    usual = {each.name: np.zeros(seconds) for each in fields(Series)} | {"clients": np.full(seconds, 100.0)}
    given = {
        name: np.full(seconds, value) if isinstance(value, int | float) else value for name, value in columns.items()
    }
    series = Series(**usual | given)
    return Run(Trace("drawn", (0, seconds), (100, 100)), Scaler.OPERATOR, spec_of(), 7, series)


def test_hours_are_of_all_pods_and_of_connected_clients() -> None:
    found = figures_of(run_of(connected=100, pods=3, forced=0.5, ready=3, over=1.5))
    assert (found.client_hours, found.pod_hours, found.most_pods) == (100, 3, 3)
    assert found.forced_per_client_hour == pytest.approx(18)
    assert found.over_target == pytest.approx(0.5)
    assert found.label == "operator"


def test_the_budget_is_held_against_the_worst_second() -> None:
    returned = np.zeros(3600)
    returned[5] = 501
    found = figures_of(run_of(returned=returned), "mine")
    assert (found.peak_reconnects, found.budget, found.within_budget) == (501, 500, False)
    assert found.label == "mine"


def test_a_run_without_pods_and_clients_has_figures_too() -> None:
    found = figures_of(run_of(clients=0))
    assert (found.forced_per_client_hour, found.over_target, found.skew) == (0, 0, 1)


def test_skew_is_the_fullest_pod_by_the_mean() -> None:
    assert figures_of(run_of(hottest=30, mean=20)).skew == pytest.approx(1.5)


def test_the_time_to_recover_is_the_longest_with_clients_without_a_stream() -> None:
    waiting = np.zeros(3600)
    waiting[10:20] = waiting[40:90] = 2
    assert figures_of(run_of(waiting=waiting)).seconds_to_recover == 50
    assert longest(np.array([True, True, False, True])) == 2
    assert longest(np.array([False])) == 0


def test_turning_round_and_back_soon_is_an_oscillation_and_one_turn_is_none() -> None:
    assert oscillations(np.array([2, 2, 5, 5, 3, 3, 4, 9])) == 1
    assert oscillations(np.array([2, 5, 3, 4, 3])) == 2
    assert oscillations(np.array([2, 5, 9, 3, 2])) == 0
    assert oscillations(np.array([2, 2])) == 0
    assert oscillations(np.concatenate((np.full(9, 2.0), np.full(700, 5.0), np.full(9, 2.0), np.full(9, 5.0)))) == 0


def test_every_figure_has_words_and_json_is_rounded() -> None:
    found = figures_of(run_of(connected=100, pods=1 / 3))
    assert all(row.shown(found) for row in ROWS)
    (written,) = as_json([found])
    assert written["pod_hours"] == 0.333333
    assert written["seed"] == 7

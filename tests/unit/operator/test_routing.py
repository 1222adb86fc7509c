"""routing.py: everybody is taken or refused, and no pod takes more than it can."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssecast_operator.routing import Routing, placed

LIMIT = 100.0

fleets = st.lists(st.floats(0, LIMIT), min_size=1, max_size=20).map(np.array)


def test_round_robin_does_not_know_that_a_pod_is_full() -> None:
    taken, refused = placed(20, np.array([100.0, 0.0]), np.array([0.0, 100.0]), Routing.ROUND_ROBIN)
    assert list(taken) == [0, 10]
    assert list(refused) == [10, 0]


def test_least_connections_fills_the_emptiest_first() -> None:
    taken, refused = placed(40, np.array([50.0, 20.0, 0.0]), np.array([50.0, 80.0, 100.0]), Routing.LEAST_CONNECTIONS)
    assert list(taken) == pytest.approx([0, 10, 30])
    assert not refused.any()


def test_least_connections_goes_on_where_the_emptiest_is_full() -> None:
    taken, _ = placed(40, np.array([50.0, 20.0, 0.0]), np.array([50.0, 80.0, 10.0]), Routing.LEAST_CONNECTIONS)
    assert list(taken) == pytest.approx([0, 30, 10])


def test_of_two_choices_the_emptier_pod_gets_more() -> None:
    taken, refused = placed(4, np.array([50.0, 0.0]), np.array([50.0, 100.0]), Routing.POWER_OF_TWO)
    assert list(taken) == pytest.approx([1, 3])
    assert not refused.any()


@given(fleets, st.floats(0, 3000), st.sampled_from(Routing))
def test_everybody_is_taken_or_refused_and_no_pod_overflows(
    streams: np.ndarray[tuple[int], np.dtype[np.float64]], count: float, routing: Routing
) -> None:
    room = LIMIT - streams
    taken, refused = placed(count, streams, room, routing)
    assert taken.sum() + refused.sum() == pytest.approx(count, abs=1e-6)
    assert (taken <= room + 1e-6).all()
    assert (taken >= 0).all()
    assert (refused >= -1e-9).all()

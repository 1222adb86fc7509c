"""instants.py: points in time in the cluster and here."""

import pytest

from ssecast_operator.instants import instant, rfc3339


def test_a_point_in_time_survives_the_cluster() -> None:
    assert rfc3339(1_800_000_000.25) == "2027-01-15T08:00:00.250Z"
    assert instant("2027-01-15T08:00:00.250Z") == 1_800_000_000.25


def test_kubernetes_own_form_is_read() -> None:
    assert instant("2027-01-15T08:00:00Z") == instant("2027-01-15T09:00:00+01:00") == 1_800_000_000.0


@pytest.mark.parametrize("text", [None, 5, "", "soon", "2027-01-15T08:00:00", "2027-13-15T08:00:00Z"])
def test_what_is_no_point_in_time_is_none(text: object) -> None:
    """Annotations can be edited by anybody. One without a zone could mean anything."""
    assert instant(text) is None

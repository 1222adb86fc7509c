"""quantities.py: durations and sizes as people write them."""

import pytest

from ssecast_operator.quantities import range_seconds, seconds, size


@pytest.mark.parametrize(
    ("text", "value"),
    [("10m", 600.0), ("1h30m", 5400.0), ("90s", 90.0), ("250ms", 0.25), ("1.5h", 5400.0), ("0s", 0.0)],
)
def test_durations_are_read_as_go_reads_them(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "10", "m", "10 m", "10d", "-1s", "1.s", "10m\n", "１s", "1e3s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration such as 10m"):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "value"), [("1Gi", 2**30), ("64Mi", 2**26), ("1G", 10**9), ("1048576", 2**20), ("1.5Ki", 1536), ("0.1", 1)]
)
def test_sizes_are_read_as_kubernetes_reads_quantities(text: str, value: int) -> None:
    assert size(text) == value


@pytest.mark.parametrize("text", ["", "1GB", "Gi", "-1", "1 Gi", "1gi", "1Gi\n", "1e9"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size such as 1Gi"):
        size(text)


@pytest.mark.parametrize(
    ("text", "value"), [("10m", 600), ("36h", 129_600), ("7d", 604_800), ("1w", 604_800), ("90d", 7_776_000)]
)
def test_a_range_is_written_as_prometheus_writes_it(text: str, value: float) -> None:
    assert range_seconds(text) == value


@pytest.mark.parametrize("text", ["", "7", "7y", "9m", "599s", "91d", "1h30m", "-7d", "7d\n", "٧d"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected is a time from 10m to 90d"):
        range_seconds(text)


def test_what_is_no_text_is_left_to_the_type() -> None:
    """A size may be a number in the cluster."""
    assert (seconds(5), size(1024), size(None)) == (5, 1024, None)

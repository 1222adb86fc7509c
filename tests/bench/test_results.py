"""What measurements say together: medians, ratios by round, tables, figures."""

from loadtest.bench.figures import verdicts
from loadtest.bench.results import Measurement, Results, Spread, cell, heading, table


def results(scenario: str, metric: str, **values: list[float]) -> Results:
    """Peers (`_` for `-`) and their values, one for each round, at 5,000 streams."""
    return Results(
        tuple(
            Measurement(scenario, peer.replace("_", "-"), 5000, number, {metric: value})
            for peer, each in values.items()
            for number, value in enumerate(each, 1)
        )
    )


def test_a_spread_is_median_least_and_most() -> None:
    assert results("one", "last_ms", ssecast=[3, 9, 4]).spread("one", "ssecast", 5000, "last_ms") == Spread(4, 3, 9)


def test_a_ratio_is_taken_round_by_round_so_that_drift_hits_both() -> None:
    found = results("one", "last_ms", ssecast=[1, 10, 100], go_hub=[2, 20, 200])
    assert found.ratio("one", 5000, "last_ms", "ssecast", "go-hub") == Spread(0.5, 0.5, 0.5)


def test_a_round_that_a_rival_missed_has_no_ratio() -> None:
    found = results("one", "last_ms", ssecast=[1, 10], go_hub=[float("nan"), 5])
    assert found.ratio("one", 5000, "last_ms", "ssecast", "go-hub") == Spread(2, 2, 2)
    assert found.ratio("one", 5000, "last_ms", "ssecast", "nobody") is None


def test_a_table_has_a_row_for_each_peer_with_units() -> None:
    rows = list(table(results("one", "last_ms", ssecast=[1, 3, 2], go_hub=[1234.5]), "one", ["last_ms"]))
    assert rows == [
        "| streams | peer | last, ms |",
        "| ---: | --- | ---: |",
        "| 5,000 | ssecast | 2 (1-3) |",
        "| 5,000 | go-hub | 1,234 |",
    ]


def test_units_are_those_of_people() -> None:
    assert heading("memory_per_stream") == "memory, KB per stream"
    assert heading("rate_cpu_us_per_delivery") == "rate cpu, µs per delivery"
    assert cell(Spread(2048, 2048, 2048), "memory_per_stream") == "2.05"
    assert heading("lost") == "lost"


def test_a_figure_says_whether_the_aim_the_least_or_neither_is_reached() -> None:
    for mine, mark in ((0.5, "✓✓"), (0.8, "✓"), (0.9, "✗")):
        found = results("one", "last_ms", ssecast=[mine], go_hub=[1.0])
        assert [row[2].split()[-1] for row in verdicts(found)] == [mark]


def test_more_deliveries_are_better() -> None:
    found = results("burst", "burst50_per_s", ssecast=[90.0], go_hub=[10.0])
    assert [row[2] for row in verdicts(found)] == ["9x ✓"]


def test_growth_compares_the_time_per_stream() -> None:
    found = Results(
        (
            Measurement("one", "ssecast", 1000, 1, {"last_ms": 10.0}),
            Measurement("one", "ssecast", 18_000, 1, {"last_ms": 198.0}),
        )
    )
    (row,) = verdicts(found)
    assert row[1:3] == ("1,000 - 18,000", "1.1x ✓")

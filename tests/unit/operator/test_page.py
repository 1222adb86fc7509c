"""page.py: names are escaped, and a broken budget stands out."""

from dataclasses import replace

from ssecast_operator.page import Chapter, page
from ssecast_operator.results import figures_of
from tests.unit.operator.test_results import run_of


def test_names_are_text_and_a_peak_above_the_budget_stands_out() -> None:
    calm = figures_of(run_of(connected=100, pods=3), "<b>")
    wild = replace(calm, label="wild", peak_reconnects=900)
    text = page([Chapter("a & b", [calm, wild], "<?xml?><svg/>")])
    assert "<th>&lt;b&gt;</th>" in text
    assert "<h2>a &amp; b</h2>" in text
    assert text.count('class="over"') == 1
    assert "<?xml" not in text

"""plots.py: a picture shows every peak, and the same run makes the same picture."""

import numpy as np

from ssecast_operator.plots import POINTS_MAX, as_svg, draw
from tests.unit.operator.test_results import run_of


def test_a_peak_of_one_second_is_drawn_and_the_picture_is_made_alike() -> None:
    returned = np.zeros(10 * POINTS_MAX + 7)
    returned[12_345] = 900
    run = run_of(len(returned), returned=returned, connected=1.0, pods=1.0, clients=np.ones(len(returned)))
    figure = draw({"operator": run})
    line = figure.axes[2].lines[0]
    assert len(np.asarray(line.get_ydata())) <= POINTS_MAX
    assert float(np.max(np.asarray(line.get_ydata()))) == 900
    assert as_svg(draw({"operator": run})) == as_svg(draw({"operator": run}))

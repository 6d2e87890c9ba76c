"""Charts: what is drawn is what was measured."""

import math
import re
from xml.etree import ElementTree

import pytest

from fullrank.report.charts import Mark, Series, line_chart, nice_ticks, thin

NAN = float("nan")


def _svg(html: str) -> ElementTree.Element:
    return ElementTree.fromstring(html[html.index("<svg") : html.index("</svg>") + 6])


def test_points_are_placed_in_proportion() -> None:
    chart = _svg(line_chart([Series(label="a", points=[(0, 0.0), (50, 5.0), (100, 10.0)])], title="t", floor=0))
    xy = [tuple(map(float, spot.split(","))) for spot in chart.find("polyline").attrib["points"].split()]
    assert xy[1][0] == pytest.approx((xy[0][0] + xy[2][0]) / 2, abs=0.1)
    assert xy[1][1] == pytest.approx((xy[0][1] + xy[2][1]) / 2, abs=0.1)
    assert xy[2][1] < xy[0][1], "larger values stand higher"


def test_a_value_that_is_not_finite_is_a_gap_and_not_a_line() -> None:
    points = [(0, 1.0), (1, 2.0), (2, NAN), (3, 1.5), (4, 1.0)]
    chart = _svg(line_chart([Series(label="a", points=points)], title="t"))
    assert [len(line.attrib["points"].split()) for line in chart.findall("polyline")] == [2, 2]


def test_nothing_finite_gives_a_sentence() -> None:
    html = line_chart([Series(label="a", points=[(0, NAN), (1, float("inf"))])], title="t")
    assert "<svg" not in html
    assert "No finite value" in html


def test_thinning_keeps_the_spike_the_gap_and_the_ends() -> None:
    points = [(float(i), 1.0 + 1e-6 * i) for i in range(10_000)]
    points[5_432] = (5432.0, 99.0)
    points[7_777] = (7777.0, NAN)
    kept = thin(points)
    assert len(kept) < 400
    assert (5432.0, 99.0) in kept
    assert any(math.isnan(y) for _, y in kept)
    assert kept[0][0] == 0.0
    assert kept[-1][0] == 9999.0
    assert [x for x, _ in kept] == sorted(x for x, _ in kept)


def test_an_alarm_is_drawn_at_its_step_with_its_sentence() -> None:
    points = [(float(i), float(i)) for i in range(101)]
    html = line_chart(
        [Series(label="a", points=points)], title="t", marks=[Mark(x=50, label="gone <flat>"), Mark(x=999, label="outside")]
    )
    assert html.count('class="alarm"') == 1
    assert "step 50: gone &lt;flat&gt;" in html
    line = re.search(r'class="alarm">.*?<line x1="([\d.]+)"', html)
    assert line is not None
    assert float(line[1]) == pytest.approx((46 + 348) / 2, abs=0.2)


def test_wide_ranges_get_a_logarithmic_axis_that_says_so() -> None:
    html = line_chart([Series(label="a", points=[(0, 1e-4), (1, 1.0), (2, 1e2)])], title="std")
    assert "std (log scale)" in html
    assert "log scale" not in line_chart([Series(label="a", points=[(0, 0.0), (1, 1e2)])], title="std")


def test_the_text_alternative_has_first_last_lowest_highest() -> None:
    html = line_chart([Series(label="rank", points=[(0, 3.0), (1, 9.0), (2, 5.0)])], title="t")
    assert "rank: from 3 to 5, lowest 3, highest 9" in html


def test_one_point_is_visible() -> None:
    chart = _svg(line_chart([Series(label="a", points=[(7, 3.0)])], title="t"))
    assert chart.find("polyline") is None
    assert chart.find("circle").attrib["class"].startswith("dot")


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.013, 0.0171), (-3, 812), (5, 5), (0, 0), (1e-9, 3e-9), (1e7, 1.2e7)])
def test_ticks_cover_the_range_and_are_few(low: float, high: float) -> None:
    ticks = nice_ticks(low, high)
    assert ticks[0] <= low
    assert ticks[-1] >= high
    assert 2 <= len(ticks) <= 7

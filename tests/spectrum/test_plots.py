"""Figures hold the curves they should, as PDF, SVG and PNG, and leave matplotlib as it was."""

from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest

from fullrank.errors import SettingError
from fullrank.spectrum.covariance import spectrum_of
from fullrank.spectrum.plots import OKABE_ITO, figure_2x2, figure_2x2_svg

H = np.random.default_rng(0).normal(size=(80, 12))
Z = np.random.default_rng(1).normal(size=(80, 3)) @ np.random.default_rng(2).normal(size=(3, 8))


def curves(svg: str, colour: str) -> list[str]:
    """The data of each path drawn in ``colour`` inside axes (keys of a legend are not clipped)."""
    paths = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}path")
    return [p.get("d", "") for p in paths if f"stroke: {colour.lower()}" in p.get("style", "") and p.get("clip-path")]


def test_the_2x2_figure_has_a_curve_a_panel_and_a_table() -> None:
    svg = figure_2x2_svg([("A", H, Z), ("B", H[:, ::-1] * np.arange(1, 13), Z + 0.1)])
    assert len(curves(svg, OKABE_ITO[0])) == 4
    assert len(curves(svg, OKABE_ITO[1])) == 4


def test_a_table_without_embedding_is_absent_in_the_second_row() -> None:
    svg = figure_2x2_svg([("A", H, Z), ("supervised", H, None)])
    assert len(curves(svg, OKABE_ITO[0])) == 4
    assert len(curves(svg, OKABE_ITO[1])) == 2
    one_row = figure_2x2_svg([("supervised", H, None)])
    assert len(curves(one_row, OKABE_ITO[0])) == 2


def height(svg: str) -> float:
    return float(ElementTree.fromstring(svg).get("viewBox", "").split()[3])


def test_without_any_embedding_there_is_one_row() -> None:
    assert height(figure_2x2_svg([("A", H, None)])) < 0.6 * height(figure_2x2_svg([("A", H, Z)]))


def test_axes_labels_and_areas(monkeypatch: pytest.MonkeyPatch) -> None:
    from fullrank.spectrum import plots

    figure = plots._draw_2x2(plots._rows([("A", H, Z)]), ink="#000000")
    left, right, left_z, _ = figure.axes
    assert left.get_ylim() == (-25.0, 0.0)
    assert left.lines[0].get_xdata()[0] == 0
    unit = H / np.linalg.norm(H, axis=1, keepdims=True)
    np.testing.assert_allclose(left.lines[0].get_ydata(), np.log(np.linalg.svd(np.cov(unit.T))[1]), atol=1e-9)
    assert (left_z.lines[0].get_ydata()[3:] < -25).all(), "a rank of 3 must show as a cliff"
    sigma = np.linalg.svd(unit - unit.mean(axis=0), compute_uv=False)
    curve = np.cumsum(sigma) / sigma.sum()
    np.testing.assert_allclose(right.lines[0].get_ydata(), curve, atol=1e-9)
    assert right.get_legend().get_texts()[0].get_text() == f"A (AUC={curve.mean():.2f})"


def test_few_rows_are_no_cliff() -> None:
    from fullrank.spectrum import plots

    left = plots._draw_2x2(plots._rows([("A", H[:6], None)]), ink="#000000").axes[0]
    logs = left.lines[0].get_ydata()
    assert len(logs) == 5, "six rows span five directions, whatever the encoder"
    assert (logs > -25).all()


@pytest.mark.parametrize(("suffix", "start"), [(".pdf", b"%PDF"), (".svg", b"<?xml"), (".png", b"\x89PNG")])
def test_files_of_each_kind(tmp_path: Path, suffix: str, start: bytes) -> None:
    before = dict(matplotlib.rcParams)
    out = tmp_path / "new" / f"figure{suffix}"
    svg = figure_2x2([("A", H, Z)], out)
    assert out.read_bytes().startswith(start)
    assert [p.name for p in out.parent.iterdir()] == [out.name]
    assert svg.startswith("<svg")
    assert dict(matplotlib.rcParams) == before


def test_a_spectrum_may_stand_for_its_features() -> None:
    spectrum = spectrum_of(H, normalized=True)
    assert curves(figure_2x2_svg([("A", spectrum, None)]), OKABE_ITO[0]) == curves(
        figure_2x2_svg([("A", H, None)]), OKABE_ITO[0]
    )
    with pytest.raises(SettingError, match="normalized=True"):
        figure_2x2_svg([("A", spectrum_of(H), None)])


def test_equal_rows_can_be_drawn() -> None:
    assert "<svg" in figure_2x2_svg([("A", np.ones((9, 4)), None)])


def test_other_suffixes_and_no_tables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"\.pdf, \.svg, \.png"):
        figure_2x2([("A", H, Z)], tmp_path / "figure.jpg")
    with pytest.raises(SettingError, match="none"):
        figure_2x2_svg([])

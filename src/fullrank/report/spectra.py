"""The figure of two rows (representation, embedding) and two columns (log spectrum, explained variance), drawn for the page.

`fullrank spectrum --out` draws the same for print. Here each panel is a chart of its own, so that a phone stacks them.
"""

from collections.abc import Mapping, Sequence

from fullrank.report.charts import Series, legend, line_chart
from fullrank.report.markup import Html, join, sentence
from fullrank.types import Spectrum

LOWEST_LOG = -25.0
"""smaller values are drawn at the bottom of the axis"""
USUAL_LOG = -10.0
"""the axis reaches at least this far down, so that a gentle slope does not look like a cliff"""
NOTE = (
    "Log of singular values: of the covariance of the L2-normalised features, in descending order; a cliff is collapse (n rows "
    "span n - 1 directions, and a curve ends there). "
    "Cumulative explained variance: the share of their sum that the first directions hold; a straight line (area 0.5) is flat, "
    "a step (area 1) a single direction."
)


def figure(spectra: Sequence[tuple[str, Mapping[str, Spectrum]]]) -> Html:
    """The figure of several encoders, (name, {space: spectrum of its L2-normalised rows}) each."""
    if not any(len(one.eigenvalues) for _, spaces in spectra for one in spaces.values()):
        return sentence("There is no spectrum to draw: no features, and none was measured while training.", "missing")
    panels = []
    for space in ("representation", "embedding"):
        curves = [(i, name, spaces[space]) for i, (name, spaces) in enumerate(spectra) if space in spaces]
        curves = [curve for curve in curves if len(curve[2].eigenvalues)]
        if curves:
            panels += [_log_panel(space, curves), _variance_panel(space, curves)]
    keys = legend([name for name, _ in spectra]) if len(spectra) > 1 else Html("")
    return join([keys, Html(f'<div class="grid two">{join(panels)}</div>')])


def _log_panel(space: str, curves: Sequence[tuple[int, str, Spectrum]]) -> Html:
    from fullrank.spectrum.decay import drawn_log_singular_values

    series = []
    for colour, name, spectrum in curves:
        logs = drawn_log_singular_values(spectrum, LOWEST_LOG)
        series.append(Series(label=name, points=[(float(k), float(v)) for k, v in enumerate(logs)], colour=colour))
    return line_chart(series, title=f"{space}: log of singular values", floor=USUAL_LOG, ceiling=0.0, unit_x="rank index")


def _variance_panel(space: str, curves: Sequence[tuple[int, str, Spectrum]]) -> Html:
    from fullrank.spectrum.measures import cev_auc, cumulative_explained_variance

    series, areas = [], []
    for colour, name, spectrum in curves:
        if len(spectrum.eigenvalues) < min(spectrum.n - 1, spectrum.d):
            continue  # the log of a run keeps the first eigenvalues only, and the share needs their sum
        points = [(float(k), float(v)) for k, v in enumerate(cumulative_explained_variance(spectrum))]
        series.append(Series(label=name, points=points, colour=colour))
        areas.append(f"{name} {cev_auc(spectrum):.2f}" if len(curves) > 1 else f"{cev_auc(spectrum):.2f}")
    title = f"{space}: cumulative explained variance"
    said = f"area: {', '.join(areas)}" if areas else ""
    if not series:
        return Html("")
    return line_chart(series, title=title, floor=0.0, ceiling=1.0, unit_x="rank index", under=said)

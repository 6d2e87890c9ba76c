"""Each picture holds what it should, in a paper's column, in grey too, and comes out the same each time."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest

from fullrank.errors import DataError, SettingError
from fullrank.spectrum.covariance import spectrum_of
from fullrank.spectrum.measures import measure_all
from fullrank.spectrum.pictures import against_accuracy, gap, losses, maps, over_time, sides, stages, style
from fullrank.spectrum.scored_runs import ScoredRun

RNG = np.random.default_rng(0)
H = RNG.normal(size=(80, 12))
Z = RNG.normal(size=(80, 3)) @ RNG.normal(size=(3, 8))


def spectra_lines(steps: tuple[int, ...] = (1, 10, 30)) -> list[dict[str, Any]]:
    full = measure_all(H, eigenvalues=256)
    few = measure_all(H[:6], eigenvalues=256)
    return [
        {"step": step, "kind": "full", "spaces": {"representation": few if step == 1 else full, "embedding": measure_all(Z)}}
        for step in steps
    ]


def loss_lines() -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = [{"step": s, "losses": {"variance": 1.0 / s, "covariance": 0.0}} for s in range(1, 900)]
    lines[99]["held_out_losses"] = {"variance": 2.0}
    return lines


def runs() -> list[ScoredRun]:
    return [
        ScoredRun(
            group=f"method {i // 2}",
            accuracies={"knn": 0.1 * i},
            measures={"embedding nesum": float(i * i), "embedding pseudo_condition_number": 0.01 * i},
        )
        for i in range(8)
    ]


def pictures(width: float) -> dict[str, Any]:
    unit = spectrum_of(H, normalized=True)
    relations = [
        against_accuracy.relation(runs(), name, "knn", by="method")
        for name in ("embedding nesum", "embedding pseudo_condition_number")
    ]
    both = [gap.gap("VICReg", measure_all(H), measure_all(Z)), gap.gap("SimCLR", measure_all(H), measure_all(H))]
    networks = [("a", {"layer1": spectrum_of(H[:, :3]), "representation": spectrum_of(H)}), ("b", {"blocks.0": unit})]
    one = maps.Map(title="a very long name of an encoder", note="effective rank 3", placed=H[:, :2])
    named = maps.Map(
        title="VICReg", note="effective rank 3", placed=H[:, :2], axes=("component 1\nlabel", "component 2\nlabel")
    )
    return {
        "over_time": lambda: over_time.figure(
            [over_time.history(spectra_lines(), "representation", "run")], width_inches=width
        ),
        "losses": lambda: losses.figure(losses.curves(loss_lines(), "run"), width_inches=width),
        "stages": lambda: stages.figure(networks, width_inches=width),
        "gap": lambda: gap.figure(both, width_inches=width),
        "sides": lambda: sides.figure([("h", unit, unit)], width_inches=width),
        "against_accuracy": lambda: against_accuracy.figure(relations, width_inches=width),
        "map": lambda: maps.figure([named], np.zeros(80, int), [], width_inches=width),
        "maps": lambda: maps.figure([one, one], np.repeat([0, 1], 40), ["dog", "cat"], width_inches=width),
    }


@pytest.mark.parametrize("name", list(pictures(3.3)))
def test_files_are_the_same_each_time_and_nothing_global_changes(name: str, tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    suffixes = style.SUFFIXES if name == "gap" else [".svg"]
    for suffix in suffixes:
        first, again = (style.save(pictures(3.3)[name](), tmp_path / f"{i}{suffix}").read_bytes() for i in (1, 2))
        assert first == again, suffix
    assert dict(matplotlib.rcParams) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(f"{i}{s}" for i in (1, 2) for s in suffixes)


@pytest.mark.parametrize("width", [3.3, 6.9])
def test_everything_that_is_written_lies_inside_and_can_be_read(width: float) -> None:
    for name, draw in pictures(width).items():
        figure = draw()
        figure.draw_without_rendering()
        assert figure.get_figwidth() == width
        for text in figure.findobj(matplotlib.text.Text):
            if not text.get_text().strip() or not text.get_visible():
                continue
            assert text.get_fontsize() >= 6, (name, text)
            box = text.get_window_extent()
            if width < 4 and text.get_text() == "a very long name of an encoder":
                pytest.fail(f"{name}: a title that is too long must be folded")
            inside = box.x0 > -3 and box.y0 > -3 and box.x1 < figure.bbox.x1 + 3 and box.y1 < figure.bbox.y1 + 3
            tick = box.width == 0 or text.get_text().replace("−", "-").lstrip("-").replace(".", "").isdigit()
            assert inside or tick, (name, width, text)


def test_curves_differ_by_more_than_colour() -> None:
    looks = [style.line_style(i) for i in range(42)]
    assert len({(look["color"], str(look["linestyle"])) for look in looks}) == 42
    assert len({str(look["linestyle"]) for look in looks[:6]}) == 6, "six curves can be told apart in grey"
    assert len(set(style.MARKERS)) == 10


def test_a_heat_map_has_a_column_a_spectrum_that_ends_at_its_step() -> None:
    found = over_time.history(spectra_lines(), "representation", "run")
    np.testing.assert_array_equal(found.steps, [1, 10, 30])
    np.testing.assert_array_equal(found.bounds, [5, 12, 12])
    unit = H / np.linalg.norm(H, axis=1, keepdims=True)
    np.testing.assert_allclose(found.logs[1], np.log(np.linalg.eigvalsh(np.cov(unit.T))[::-1]), atol=1e-9)
    assert (found.logs[0, 5:] == over_time.LOWEST_LOG).all(), "six rows have five directions"
    panel = over_time.figure([found]).axes[0]
    assert panel.get_xlim()[1] == 30
    (mesh,) = panel.collections
    np.testing.assert_allclose(np.asarray(mesh.get_array()).reshape(12, 3), found.logs.T)


def test_a_single_spectrum_has_no_half_steps() -> None:
    panel = over_time.figure([over_time.history(spectra_lines((30,)), "representation", "run")]).axes[0]
    assert set(panel.get_xticks()) <= {29, 30}


def test_a_space_that_was_not_watched_is_named() -> None:
    with pytest.raises(DataError, match="Got 'teacher'; its spectrum.jsonl has representation."):
        over_time.history(spectra_lines(), "teacher", "run")


def test_losses_of_both_sides_and_of_long_runs() -> None:
    found = losses.curves(loss_lines(), "run")
    assert [(one.term, one.side, len(one.steps)) for one in found] == [
        ("variance", "training", 899),
        ("covariance", "training", 899),
        ("variance", "held out", 1),
    ]
    first, second = losses.figure(found).axes
    assert (first.get_yscale(), second.get_yscale()) == ("log", "linear")
    assert len(first.lines[0].get_xdata()) == losses.POINTS
    with pytest.raises(DataError, match="must have loss terms"):
        losses.curves([], "run")


def test_the_gap_is_representation_less_embedding() -> None:
    one = gap.gap("VICReg", measure_all(H), measure_all(Z))
    assert one.embedding["eff. rank / bound"] < 0.4 < one.representation["eff. rank / bound"]
    written = [t.get_text() for t in gap.figure([one]).axes[2].texts]
    assert written == [f"{one.representation['CEV AUC'] - one.embedding['CEV AUC']:+.2f}"]


def test_stairs_have_a_step_a_stage() -> None:
    networks = [("a", {"layer1": spectrum_of(H[:, :3]), "representation": spectrum_of(H)})]
    upper, lower = stages.figure(networks).axes
    ranks = upper.patches[1].get_data().values
    bounds = upper.patches[0].get_data().values
    np.testing.assert_array_equal(bounds, [3, 12])
    np.testing.assert_allclose(lower.patches[0].get_data().values, ranks / bounds)
    assert [label.get_text() for label in lower.get_xticklabels()] == ["layer1", "h"]


def test_measures_against_accuracy_say_tau() -> None:
    found = against_accuracy.relation(runs(), "embedding nesum", "knn", by="run")
    assert found.tau.value == pytest.approx(1.0)
    assert "= 1.00 (1.00 to 1.00)" in against_accuracy.figure([found]).axes[0].get_title()
    long = against_accuracy.relation(runs(), "embedding pseudo_condition_number", "knn", by="run")
    assert against_accuracy.figure([found, long]).axes[1].get_xlabel() == "pseudo condition\nnumber of z"
    with pytest.raises(SettingError, match="Did you mean 'embedding nesum'"):
        against_accuracy.relation(runs(), "embedding nesun", "knn", by="run")


def test_classes_have_the_same_colour_and_mark_in_every_map() -> None:
    one = maps.Map(title="a", note="", placed=H[:, :2])
    first, second = maps.figure([one, one], np.repeat([0, 1], 40), ["dog", "cat"], width_inches=3.3).axes
    for mine, other in zip(first.collections, second.collections, strict=True):
        np.testing.assert_array_equal(mine.get_facecolor(), other.get_facecolor())
        np.testing.assert_array_equal(mine.get_paths()[0].vertices, other.get_paths()[0].vertices)
    assert len({tuple(c.get_facecolor()[0]) for c in first.collections}) == 2

"""The table and the figure of all methods, from rows as runs give them."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("methods_benchmark", BENCHMARKS / "methods.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    for name in ("_features", "_methods_figure", "_result"):
        sys.modules.pop(name, None)


def row(method: str, seed: int, accuracy: float) -> dict:
    measures = {"n": 1200, "d": 64, "effective_rank": 30.0 + seed, "cev_auc": 0.8}
    accuracies = {f"{label} {kind}": accuracy for label in ("digit", "motion") for kind in ("knn", "linear")}
    ranks = {"representation": measures}
    return {"method": method, "seed": seed, "videos": 400, "steps": 5, "seconds": 2.0, "ranks": ranks, **accuracies}


def test_a_line_has_mean_and_range_over_seeds_and_marks_labels(script: ModuleType) -> None:
    rows = [row(name, seed, 0.2 + 0.1 * seed) for seed in (0, 1) for name in ("random weights", "simclr", "supervised")]
    found = script.table(rows, weizmann=False)
    assert [line[0] for line in found["rows"]] == ["random weights", "simclr", "supervised (with labels)"]
    assert found["rows"][1][1:] == ["25 (20 to 30)"] * 4 + ["30 (30 to 31) of 64", "0.80 (0.80 to 0.80)", "-", "-"]
    assert len(found["header"]) == len(found["rows"][0])


def test_random_weights_come_first_one_row_a_kind_of_network(script: ModuleType) -> None:
    names = [name for name, _ in script.subjects(["vicreg", "mae", "byol"])]
    assert names == ["random weights", "random weights, vit", "byol", "mae", "vicreg"]


def test_what_was_run_is_not_run_again_and_other_settings_are(script: ModuleType, tmp_path: Path) -> None:
    bench, count = script.Bench(tmp_path, None, None), []

    def run(config, out, random):
        out.mkdir()
        count.append(random)
        return {"digit knn": 0.5}

    config = script.recipe("simclr.tiny")
    for settings in (config, config, config.model_copy(update={"seed": 1})):
        assert bench._once("world", "simclr", settings, run)["digit knn"] == 0.5
    assert count == [False, False]
    bench._once("world", "random weights", config, run)
    assert count == [False, False, True]


def test_names_keep_their_distance_and_the_figure_is_the_same_every_time(script: ModuleType, tmp_path: Path) -> None:
    from _methods_figure import draw, spread

    heights = spread(np.array([0.9, 0.9, 0.1, 0.9]), 0.2)
    assert np.diff(np.sort(heights)).min() >= 0.2 - 1e-9
    assert heights.max() <= 1.0
    assert heights[2] == pytest.approx(0.1)
    rows = [row(name, 0, accuracy) for name, accuracy in (("random weights", 0.2), ("simclr", 0.4))]
    for name in ("a.svg", "b.svg"):
        draw(rows, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()

"""The subset of CIFAR-10: which methods, what stays of their recipes, and the table."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

from fullrank.recipes import recipe

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)
    yield importlib.import_module("images")
    for name in set(sys.modules) - before:
        if str(BENCHMARKS) in str(getattr(sys.modules[name], "__file__", "")):
            sys.modules.pop(name)


def row(method: str, seed: int, accuracy: float, steps: int = 400) -> dict:
    measures = {"representation": {"effective_rank": 30.0 + seed, "cev_auc": 0.8}}
    own = {"images knn": accuracy, "images linear": accuracy + 0.1, "bounds": {"representation": 128}}
    return {"method": method, "seed": seed, "steps": steps, "measures": measures, "seconds": 9.0, "hardware": "x", **own}


def test_methods_are_those_with_a_residual_network(script: ModuleType) -> None:
    names = script.methods()
    assert {"simclr", "vicreg", "byol", "swav", "dino", "supervised"} <= set(names)
    assert not {"mae", "svt", "dpc"} & set(names), "transformers are too slow, and DPC has no recipe for images"


def test_a_recipe_keeps_its_views_and_heads_and_gets_a_small_network(script: ModuleType, tmp_path: Path) -> None:
    for name in script.methods():
        config = script.config_of((name, name, 3), tmp_path, tmp_path, 400, 10_000)
        own = recipe(f"{name}.cifar10")
        assert config.method.augmentation == own.method.augmentation, name
        assert (config.backbone.width, config.backbone.stem, config.seed, config.max_steps) == (0.25, "imagenet", 3, 400)
        assert config.optimizer.name == "adamw"


def test_a_line_has_mean_and_range_over_seeds_and_who_was_slow_is_named(script: ModuleType) -> None:
    rows = [row(name, seed, 0.2 + 0.1 * seed) for seed in (0, 1) for name in ("simclr", "supervised")]
    rows += [row("random weights", seed, 0.2, 0) for seed in (0, 1)] + [row("brave", 0, 0.3, 150)]
    found = script.accuracies(rows, 10_000)
    lines = {line[0]: line[1:] for line in found["rows"]}
    assert lines["simclr"] == ["25 (20 to 30)", "35 (30 to 40)", "30 (30 to 31) of 128", "0.80 (0.80 to 0.80)", "-", "-"]
    assert "supervised (with labels)" in lines
    assert len(found["header"]) == len(found["rows"][0])
    assert "fewer steps, in 90 s: brave 150" in found["note"]

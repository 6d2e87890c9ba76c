"""What is advised exists: every flag is a setting of the method, and the guard that is off comes first."""

import re

import pytest

from fullrank.config import RunConfig
from fullrank.methods._method import available, load_method
from fullrank.recipes import recipe
from fullrank.spectrum.levers import COLLAPSED, LEVERS, levers

RECIPES = {name: recipe(f"{name}.tiny") for name in available()}


def exists(config: RunConfig, flag: str) -> bool:
    part = config
    for name in flag.removeprefix("--").replace("-", "_").split("."):
        if not hasattr(part, name):
            return False
        part = getattr(part, name)
    return True


@pytest.mark.parametrize("method", RECIPES)
def test_every_flag_is_a_setting_of_the_method(method: str) -> None:
    for kind in (*COLLAPSED, "temporal"):
        said = levers(kind, method, RECIPES[method].model_dump(mode="json"))
        for flag in re.findall(r"--[a-z.-]+", " ".join(said)):
            assert exists(RECIPES[method], flag), f"{flag} of {method}"
        if kind in COLLAPSED:
            assert any("--optimizer.base-learning-rate" in line for line in said)


@pytest.mark.parametrize(
    ("method", "guard", "kind"),
    [("byol", "predictor", "complete"), ("vicreg", "variance term", "complete"), ("swav", "sinkhorn", "cluster")],
)
def test_a_guard_that_is_off_comes_first_and_one_that_is_on_is_not_named(method: str, guard: str, kind: str) -> None:
    settings = RECIPES[method]
    assert not any("which is off" in line for line in levers(kind, method, settings.model_dump(mode="json")))  # type: ignore[arg-type]
    off = load_method(method).guards[guard].off
    without = settings.model_copy(update={"method": settings.method.model_copy(update=off)})
    first = levers(kind, method, without.model_dump(mode="json"))[0]  # type: ignore[arg-type]
    assert first.startswith(f"bring back the {guard}, which is off: --method.")


def test_values_of_today_are_named() -> None:
    said = levers("complete", "vicreg", RECIPES["vicreg"].model_dump(mode="json"))
    assert said[0].startswith("raise --method.variance-weight (now 25.0): ")


def test_without_a_method_only_what_holds_for_all() -> None:
    assert not any("--method." in line for line in levers("complete"))
    assert not any("--method." in line for line in levers("complete", "a third party's"))


def test_a_mean_shift_needs_no_training_and_health_no_advice() -> None:
    assert "subtract the mean" in levers("mean_shift", "simclr")[0]
    assert levers("healthy", "simclr") == levers("untrained", "simclr") == ()


def test_every_lever_belongs_to_some_method() -> None:
    for lever in LEVERS:
        assert any(exists(config, f"--{lever.setting}") for config in RECIPES.values()), lever.setting

import pytest
from pydantic import ValidationError

from fullrank.config import Augmentation, DataConfig, OptimizerConfig, RunConfig, Settings, settings_hash
from fullrank.errors import SettingError


class Own(Settings):
    rho: int = 1
    augmentation: Augmentation = Augmentation()


def test_an_unknown_key_names_the_nearest():
    with pytest.raises(SettingError, match="unknown setting 'pth'. Did you mean 'path'?"):
        DataConfig(pth="x")


def test_a_nested_unknown_key_names_the_nearest():
    with pytest.raises(SettingError, match="'flip_probs'. Did you mean 'flip_prob'?"):
        RunConfig[Own].model_validate({"method": {"augmentation": {"flip_probs": [0.1]}}})


def test_a_value_out_of_range_says_what_it_got():
    with pytest.raises(SettingError, match=r"min_scale is wrong: input should be less than or equal to 1. Got 4"):
        Augmentation(min_scale=4)


def test_impossible_ranges_are_refused():
    with pytest.raises(SettingError, match="min_scale must be at most max_scale. Got 0.9 and 0.5"):
        Augmentation(min_scale=0.9, max_scale=0.5)


@pytest.mark.parametrize(
    ("name", "extra"), [("sgd", {"betas": (0.9, 0.99)}), ("adamw", {"momentum": 0.9}), ("sgd", {"trust_coefficient": 0.1})]
)
def test_an_optimizer_rejects_settings_it_does_not_use(name, extra):
    with pytest.raises(SettingError, match=f"{next(iter(extra))} is a setting of"):
        OptimizerConfig(name=name, **extra)


def test_settings_survive_json_with_the_methods_own_fields():
    before = RunConfig[Own](method=Own(rho=3), data=DataConfig(path="x"))
    after = RunConfig[Own].model_validate_json(before.model_dump_json())
    assert after == before
    assert after.method.rho == 3


def test_the_hash_changes_with_any_setting():
    a = RunConfig[Own](method=Own())
    b = RunConfig[Own](method=Own(augmentation=Augmentation(flip_prob=(0.4,))))
    assert settings_hash(a) == settings_hash(RunConfig[Own](method=Own())) != settings_hash(b)


def test_a_changed_copy_is_checked():
    assert Own().model_copy(update={"rho": 3}).rho == 3
    with pytest.raises(SettingError, match="Did you mean 'rho'"):
        Own().model_copy(update={"rh": 3})
    with pytest.raises(SettingError, match="min_scale is wrong"):
        Augmentation().model_copy(update={"min_scale": 3.0})


def test_settings_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        Own().rho = 2

"""The named policies have the numbers of their sources."""

import inspect

import pytest

from fullrank.config import Augmentation
from fullrank.views import policies

NAMED = {name: f for name, f in vars(policies).items() if inspect.isfunction(f)}


@pytest.mark.parametrize("name", NAMED)
def test_every_policy_is_valid_takes_a_size_and_names_its_source(name):
    aug = NAMED[name](48)
    assert Augmentation(**aug.model_dump()) == aug
    assert aug.size_pixels == 48
    assert NAMED[name].__doc__


def jitter(aug):
    return (aug.brightness, aug.contrast, aug.saturation, aug.hue, *aug.jitter_prob, *aug.grayscale_prob)


@pytest.mark.parametrize(
    ("aug", "scale", "colours", "blur", "solarize"),
    [
        (policies.simclr(), (0.08, 1.0), (0.8, 0.8, 0.8, 0.2), (0.5,), (0.0,)),
        (policies.simclr(strength=0.5), (0.08, 1.0), (0.4, 0.4, 0.4, 0.1), (0.5,), (0.0,)),
        (policies.moco_v2(), (0.2, 1.0), (0.4, 0.4, 0.4, 0.1), (0.5,), (0.0,)),
        (policies.byol(), (0.08, 1.0), (0.4, 0.4, 0.2, 0.1), (1.0, 0.1), (0.0, 0.2)),
        (policies.vicreg(), (0.08, 1.0), (0.4, 0.4, 0.2, 0.1), (0.5,), (0.1,)),
        (policies.swav(), (0.14, 1.0), (0.8, 0.8, 0.8, 0.2), (0.5,), (0.0,)),
        (policies.swav_local(), (0.05, 0.14), (0.8, 0.8, 0.8, 0.2), (0.5,), (0.0,)),
        (policies.slowfast(), (0.2, 0.766), (0.6, 0.6, 0.6, 0.15), (0.5,), (0.0,)),
        (policies.cifar_simclr(), (0.08, 1.0), (0.4, 0.4, 0.4, 0.1), (0.0,), (0.0,)),
        (policies.cifar_swav(), (0.14, 1.0), (0.4, 0.4, 0.4, 0.1), (0.0,), (0.0,)),
        (policies.cifar_simsiam(), (0.2, 1.0), (0.4, 0.4, 0.4, 0.1), (0.0,), (0.0,)),
        (policies.cifar_symmetric(), (0.08, 1.0), (0.8, 0.8, 0.8, 0.2), (0.5,), (0.0,)),
        (policies.cifar_symmetric_weak(), (0.08, 1.0), (0.4, 0.4, 0.4, 0.1), (0.5,), (0.0,)),
        (policies.cifar_asymmetric(), (0.08, 1.0), (0.4, 0.4, 0.2, 0.1), (0.0,), (0.0, 0.2)),
        (policies.cifar_vicreg(), (0.2, 1.0), (0.4, 0.4, 0.2, 0.1), (0.0,), (0.1,)),
    ],
)
def test_published_numbers(aug, scale, colours, blur, solarize):
    assert (aug.min_scale, aug.max_scale) == scale
    assert jitter(aug) == pytest.approx((*colours, 0.8, 0.2))
    assert aug.blur_prob == blur
    assert aug.solarize_prob == solarize
    assert aug.flip_prob == (0.5,)
    assert (aug.blur_min_sigma, aug.blur_max_sigma) == (0.1, 2.0)


def test_digits_keep_the_motion_and_plain_is_not_random():
    assert policies.digits().flip_prob == (0.0,)
    assert policies.digits().rotate_prob == (0.0,)
    assert policies.digits().min_scale >= 0.5
    aug = policies.plain()
    assert all(set(v) == {0.0} for k, v in aug.model_dump().items() if k.endswith("_prob"))

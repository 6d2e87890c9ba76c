"""Recipes of PIRL."""

from fullrank.config import RunConfig
from fullrank.methods.pirl import PIRL
from fullrank.recipes import _targets
from fullrank.views import policies


def tiny() -> RunConfig[PIRL.Config]:
    """Conformance: some seconds on one CPU core, on the embedded world.

    Settings: ours; four tiles.
    Command: `fullrank train pirl.tiny`. Not measured.
    """
    method = PIRL.Config(
        rho=2,
        augmentation=policies.digits(_targets.TINY_PIXELS),
        transformed_augmentation=policies.digits(28),
        grid=2,
        permutations=24,
        embedding=32,
        num_negatives=64,
        temperature=0.2,
    )
    return RunConfig[PIRL.Config](method=method, **_targets.TINY)


def moving_digits() -> RunConfig[PIRL.Config]:
    """The embedded world: two clips and their tiles, drawn to the video's one vector; a small Slow ResNet-18.

    Settings: ours.
    Command: `fullrank train pirl.moving_digits`. Not measured.
    """
    digits = policies.digits(_targets.MOVING_DIGITS_PIXELS)
    method = PIRL.Config(
        rho=2, augmentation=digits, transformed_augmentation=digits, grid=2, permutations=24, num_negatives=512
    )
    return RunConfig[PIRL.Config](method=method, **_targets.MOVING_DIGITS)


def video() -> RunConfig[PIRL.Config]:
    """Any folder of videos, on one machine.

    Settings: ours.
    Command: `fullrank train pirl.video --data.path my_videos/`. Not measured.
    """
    method = PIRL.Config(
        rho=2,
        augmentation=policies.slowfast(_targets.VIDEO_PIXELS),
        transformed_augmentation=policies.weak(_targets.VIDEO_PIXELS),
        grid=2,
        permutations=24,
        num_negatives=1024,
    )
    return RunConfig[PIRL.Config](method=method, **_targets.VIDEO)


def images() -> RunConfig[PIRL.Config]:
    """Any folder of images, on one machine.

    Settings: ours, with the paper's nine tiles.
    Command: `fullrank train pirl.images --data.path my_images/`. Not measured.
    """
    method = PIRL.Config(
        augmentation=policies.simclr(_targets.IMAGES_PIXELS),
        transformed_augmentation=policies.weak(_targets.IMAGES_PIXELS),
        num_negatives=4096,
    )
    return RunConfig[PIRL.Config](method=method, **_targets.IMAGES)


def cifar10() -> RunConfig[PIRL.Config]:
    """CIFAR-10: four tiles of 14 pixels.

    Settings: ours; lightly's optimizer and batch.
    Command: `fullrank train pirl.cifar10 --data.path cifar10/`. Not measured.
    """
    method = PIRL.Config(
        augmentation=policies.cifar_simclr(32),
        transformed_augmentation=policies.weak(32),
        grid=2,
        permutations=24,
        num_negatives=4096,
    )
    return RunConfig[PIRL.Config](method=method, **_targets.LIGHTLY)

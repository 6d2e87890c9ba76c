"""Recipes of the triplet siamese network."""

from fullrank.config import RunConfig
from fullrank.methods.triplet import Triplet
from fullrank.recipes import _targets
from fullrank.views import policies


def tiny() -> RunConfig[Triplet.Config]:
    """Conformance: some seconds on one CPU core, on the embedded world.

    Settings: ours.
    Command: `fullrank train triplet.tiny`. Not measured.
    """
    method = Triplet.Config(rho=2, augmentation=policies.digits(_targets.TINY_PIXELS), projector=(64, 32))
    return RunConfig[Triplet.Config](method=method, **_targets.TINY)


def moving_digits() -> RunConfig[Triplet.Config]:
    """The embedded world: two clips of each video, a small Slow ResNet-18.

    Settings: ours.
    Command: `fullrank train triplet.moving_digits`. Not measured.
    """
    method = Triplet.Config(rho=2, augmentation=policies.digits(_targets.MOVING_DIGITS_PIXELS), projector=(256, 128))
    return RunConfig[Triplet.Config](method=method, **_targets.MOVING_DIGITS)


def video() -> RunConfig[Triplet.Config]:
    """Any folder of videos, on one machine.

    Settings: ours.
    Command: `fullrank train triplet.video --data.path my_videos/`. Not measured.
    """
    method = Triplet.Config(rho=2, augmentation=policies.slowfast(_targets.VIDEO_PIXELS), projector=(512, 128))
    return RunConfig[Triplet.Config](method=method, **_targets.VIDEO)


def images() -> RunConfig[Triplet.Config]:
    """Any folder of images, on one machine.

    Settings: ours.
    Command: `fullrank train triplet.images --data.path my_images/`. Not measured.
    """
    method = Triplet.Config(augmentation=policies.simclr(_targets.IMAGES_PIXELS), projector=(512, 128))
    return RunConfig[Triplet.Config](method=method, **_targets.IMAGES)


def cifar10() -> RunConfig[Triplet.Config]:
    """CIFAR-10 with SimCLR's views.

    Settings: ours; lightly's optimizer, batch and head.
    Command: `fullrank train triplet.cifar10 --data.path cifar10/`. Not measured.
    """
    method = Triplet.Config(augmentation=policies.cifar_simclr(32), projector=(512, 128))
    return RunConfig[Triplet.Config](method=method, **_targets.LIGHTLY)

"""Recipes of Jigsaw."""

from fullrank.config import RunConfig
from fullrank.methods.jigsaw import Jigsaw
from fullrank.recipes import _targets
from fullrank.views import policies


def tiny() -> RunConfig[Jigsaw.Config]:
    """Conformance: some seconds on one CPU core, on the embedded world.

    Settings: ours; four tiles in eight orders.
    Command: `fullrank train jigsaw.tiny`. Not measured.
    """
    method = Jigsaw.Config(augmentation=policies.digits(28), grid=2, permutations=8, tile_features=32, hidden=64)
    return RunConfig[Jigsaw.Config](method=method, **_targets.TINY)


def moving_digits() -> RunConfig[Jigsaw.Config]:
    """The embedded world: four tiles of a clip, all frames cut alike, a small Slow ResNet-18.

    Settings: ours.
    Command: `fullrank train jigsaw.moving_digits`. Not measured.
    """
    method = Jigsaw.Config(
        augmentation=policies.digits(_targets.MOVING_DIGITS_PIXELS), grid=2, permutations=24, tile_features=128, hidden=512
    )
    return RunConfig[Jigsaw.Config](method=method, **_targets.MOVING_DIGITS)


def video() -> RunConfig[Jigsaw.Config]:
    """Any folder of videos, on one machine.

    Settings: ours.
    Command: `fullrank train jigsaw.video --data.path my_videos/`. Not measured.
    """
    method = Jigsaw.Config(
        augmentation=policies.weak(_targets.VIDEO_PIXELS), grid=2, permutations=24, tile_features=256, hidden=1024
    )
    return RunConfig[Jigsaw.Config](method=method, **_targets.VIDEO)


def images() -> RunConfig[Jigsaw.Config]:
    """Any folder of images, on one machine.

    Settings: ours, with the paper's nine tiles and 100 orders.
    Command: `fullrank train jigsaw.images --data.path my_images/`. Not measured.
    """
    method = Jigsaw.Config(
        augmentation=policies.weak(_targets.IMAGES_PIXELS).model_copy(update={"grayscale_prob": (0.3,)}),
        tile_features=256,
        hidden=1024,
    )
    return RunConfig[Jigsaw.Config](method=method, **_targets.IMAGES)


def cifar10() -> RunConfig[Jigsaw.Config]:
    """CIFAR-10: four tiles of 14 pixels.

    Settings: ours; lightly's optimizer and batch.
    Command: `fullrank train jigsaw.cifar10 --data.path cifar10/`. Not measured.
    """
    method = Jigsaw.Config(augmentation=policies.weak(32), grid=2, permutations=24, tile_features=256, hidden=1024)
    return RunConfig[Jigsaw.Config](method=method, **_targets.LIGHTLY)

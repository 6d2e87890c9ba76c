"""Recipes of TiCo."""

from fullrank.config import OptimizerConfig, RunConfig
from fullrank.methods.tico import TiCo
from fullrank.recipes import _targets
from fullrank.views import policies


def tiny() -> RunConfig[TiCo.Config]:
    """Conformance: some seconds on one CPU core, on the embedded world.

    Settings: ours.
    Command: `fullrank train tico.tiny`. Not measured.
    """
    method = TiCo.Config(rho=2, augmentation=policies.digits(_targets.TINY_PIXELS), projector=(64, 32), momentum=0.9)
    return RunConfig[TiCo.Config](method=method, **_targets.TINY)


def moving_digits() -> RunConfig[TiCo.Config]:
    """The embedded world: two clips of each video, a small Slow ResNet-18.

    Settings: ours; a short run needs a teacher that follows quickly.
    Command: `fullrank train tico.moving_digits`. Not measured.
    """
    method = TiCo.Config(
        rho=2, augmentation=policies.digits(_targets.MOVING_DIGITS_PIXELS), projector=(512, 128), momentum=0.97
    )
    return RunConfig[TiCo.Config](method=method, **_targets.MOVING_DIGITS)


def video() -> RunConfig[TiCo.Config]:
    """Any folder of videos, on one machine.

    Settings: ours.
    Command: `fullrank train tico.video --data.path my_videos/`. Not measured.
    """
    method = TiCo.Config(rho=2, augmentation=policies.slowfast(_targets.VIDEO_PIXELS), projector=(1024, 256), momentum=0.99)
    return RunConfig[TiCo.Config](method=method, **_targets.VIDEO)


def images() -> RunConfig[TiCo.Config]:
    """Any folder of images, on one machine.

    Settings: ours, with the paper's augmentation, which is BYOL's.
    Command: `fullrank train tico.images --data.path my_images/`. Not measured.
    """
    method = TiCo.Config(augmentation=policies.byol(_targets.IMAGES_PIXELS), projector=(2048, 256), momentum=0.99)
    return RunConfig[TiCo.Config](method=method, **_targets.IMAGES)


def cifar10() -> RunConfig[TiCo.Config]:
    """CIFAR-10 with the schedule of lightly's benchmark: 200 epochs, batch 512.

    Settings: ours (nobody has published TiCo on CIFAR-10): lightly's SGD, its example's projector 1024-256, BYOL's
    views without blur.
    Command: `fullrank train tico.cifar10 --data.path cifar10/`. Not measured.
    """
    return RunConfig[TiCo.Config](
        method=TiCo.Config(augmentation=policies.byol(32).model_copy(update={"blur_prob": (0.0,)}), projector=(1024, 256)),
        **_targets.LIGHTLY,
    )


def imagenet() -> RunConfig[TiCo.Config]:
    """ImageNet-1k as the paper: ResNet-50, 1000 epochs, batch 4096.

    Settings: Zhu et al., 2022 (LARS 0.2 for a batch of 256, weight decay 1.5e-6, warm-up 10 epochs, projector 4096-256, rho 8,
    beta 0.9, momentum 0.99 to 1, BYOL's views); they report 73.4 % (linear).
    Command: `fullrank train tico.imagenet --data.path imagenet/train`. Not measured.
    """
    return RunConfig[TiCo.Config](
        method=TiCo.Config(augmentation=policies.byol(_targets.IMAGENET_PIXELS)),
        optimizer=OptimizerConfig(name="lars", base_learning_rate=0.2, weight_decay=1.5e-6, warmup_epochs=10.0),
        epochs=1000.0,
        **_targets.imagenet(4096),
    )

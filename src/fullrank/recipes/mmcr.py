"""Recipes of MMCR."""

from fullrank.config import OptimizerConfig, RunConfig
from fullrank.methods.mmcr import MMCR
from fullrank.recipes import _targets
from fullrank.views import policies


def tiny() -> RunConfig[MMCR.Config]:
    """Conformance: some seconds on one CPU core, on the embedded world.

    Settings: ours.
    Command: `fullrank train mmcr.tiny`. Not measured.
    """
    method = MMCR.Config(rho=2, augmentation=policies.digits(_targets.TINY_PIXELS), projector=(64, 32))
    return RunConfig[MMCR.Config](method=method, **_targets.TINY)


def moving_digits() -> RunConfig[MMCR.Config]:
    """The embedded world: two clips of each video, a small Slow ResNet-18.

    Settings: ours.
    Command: `fullrank train mmcr.moving_digits`. Not measured.
    """
    method = MMCR.Config(rho=2, augmentation=policies.digits(_targets.MOVING_DIGITS_PIXELS), projector=(256, 256, 128))
    return RunConfig[MMCR.Config](method=method, **_targets.MOVING_DIGITS)


def video() -> RunConfig[MMCR.Config]:
    """Any folder of videos, on one machine.

    Settings: ours; the embedding is narrow, because the centroids of a batch of 32 span at most 32 directions: with a larger
    --data.batch-size widen the last layer too.
    Command: `fullrank train mmcr.video --data.path my_videos/`. Not measured.
    """
    method = MMCR.Config(rho=2, augmentation=policies.slowfast(_targets.VIDEO_PIXELS), projector=(1024, 1024, 64))
    return RunConfig[MMCR.Config](method=method, **_targets.VIDEO)


def images() -> RunConfig[MMCR.Config]:
    """Any folder of images, on one machine.

    Settings: ours, with two views as the authors' for ImageNet; more views (--method.views-per-clip 4) cost as many forwards.
    Command: `fullrank train mmcr.images --data.path my_images/`. Not measured.
    """
    method = MMCR.Config(augmentation=policies.byol(_targets.IMAGES_PIXELS), projector=(2048, 2048, 256))
    return RunConfig[MMCR.Config](method=method, **_targets.IMAGES)


def cifar10() -> RunConfig[MMCR.Config]:
    """CIFAR-10 as the authors' code: 500 epochs, 32 records with 40 views each.

    Settings: the authors' code, pretrain_cifar_stl.py and mmcr/cifar_stl (Adam 1e-3, weight decay 1e-6, no schedule, projector
    512-128, crops from 0.08, jitter 0.4 / 0.4 / 0.4 / 0.1, no blur); it has a ResNet-50, we the ResNet-18 of the other CIFAR-10
    recipes. Our AdamW decays apart from the gradient, which 1e-6 does not show. Its accuracy: not looked up.
    Command: `fullrank train mmcr.cifar10 --data.path cifar10/`. Not measured.
    """
    views = policies.cifar_symmetric_weak(32).model_copy(update={"blur_prob": (0.0,)})
    return RunConfig[MMCR.Config](
        method=MMCR.Config(views_per_clip=40, augmentation=views, projector=(512, 128)),
        optimizer=OptimizerConfig(name="adamw", base_learning_rate=8e-3, weight_decay=1e-6, end_ratio=1.0),
        epochs=500.0,
        **_targets.cifar10(32),
    )


def imagenet() -> RunConfig[MMCR.Config]:
    """ImageNet-1k as the authors' code without its teacher: ResNet-50, 100 epochs, batch 2048, two views.

    Settings: the authors' code, pretrain_imagenet.py and mmcr/imagenet with the objective MMCR (LARS 0.6 for a batch of 256,
    weight decay 1e-6, warm-up 10 epochs, down to a thousandth, projector 8192-8192-512, BYOL's views). Its accuracy: not
    looked up.
    Command: `fullrank train mmcr.imagenet --data.path imagenet/train`. Not measured.
    """
    return RunConfig[MMCR.Config](
        method=MMCR.Config(augmentation=policies.byol(_targets.IMAGENET_PIXELS)),
        optimizer=OptimizerConfig(name="lars", base_learning_rate=0.6, weight_decay=1e-6, warmup_epochs=10.0, end_ratio=0.001),
        epochs=100.0,
        **_targets.imagenet(2048, zero_init_residual=True),
    )

"""Recipes of SimSiam."""

from fullrank.config import OptimizerConfig, RunConfig
from fullrank.methods.simsiam import SimSiam
from fullrank.recipes import _targets
from fullrank.views import policies


def tiny() -> RunConfig[SimSiam.Config]:
    """Conformance: some seconds on one CPU core, on the embedded world.

    Settings: ours.
    Command: `fullrank train simsiam.tiny`. Not measured.
    """
    method = SimSiam.Config(rho=2, augmentation=policies.digits(_targets.TINY_PIXELS), projector=(64, 64), predictor_hidden=16)
    return RunConfig[SimSiam.Config](method=method, **_targets.TINY)


def moving_digits() -> RunConfig[SimSiam.Config]:
    """The embedded world: two clips of each video, a small Slow ResNet-18.

    Settings: ours.
    Command: `fullrank train simsiam.moving_digits`. Not measured.
    """
    method = SimSiam.Config(
        rho=2, augmentation=policies.digits(_targets.MOVING_DIGITS_PIXELS), projector=(512, 512, 512), predictor_hidden=128
    )
    return RunConfig[SimSiam.Config](method=method, **_targets.MOVING_DIGITS)


def video() -> RunConfig[SimSiam.Config]:
    """Any folder of videos, on one machine.

    Settings: ours.
    Command: `fullrank train simsiam.video --data.path my_videos/`. Not measured.
    """
    method = SimSiam.Config(
        rho=2, augmentation=policies.slowfast(_targets.VIDEO_PIXELS), projector=(1024, 1024, 1024), predictor_hidden=256
    )
    return RunConfig[SimSiam.Config](method=method, **_targets.VIDEO)


def images() -> RunConfig[SimSiam.Config]:
    """Any folder of images, on one machine.

    Settings: ours, with MoCo v2's augmentation, which is the paper's.
    Command: `fullrank train simsiam.images --data.path my_images/`. Not measured.
    """
    method = SimSiam.Config(
        augmentation=policies.moco_v2(_targets.IMAGES_PIXELS), projector=(2048, 2048, 2048), predictor_hidden=512
    )
    return RunConfig[SimSiam.Config](method=method, **_targets.IMAGES)


def cifar10() -> RunConfig[SimSiam.Config]:
    """CIFAR-10 as lightly's benchmark: 200 epochs, batch 512.

    Settings: lightly, cifar10_benchmark.py (SGD 0.06 whatever the batch, weight decay 5e-4, cosine without warm-up,
    projector 2048-2048, predictor 512, SimSiam's views without blur); it reports 76.4 % (kNN, the best epoch).
    Command: `fullrank train simsiam.cifar10 --data.path cifar10/`. Not measured.
    """
    return RunConfig[SimSiam.Config](
        method=SimSiam.Config(augmentation=policies.cifar_simsiam(32), projector=(2048, 2048)),
        **_targets.LIGHTLY | {"optimizer": OptimizerConfig(name="sgd", base_learning_rate=0.03, weight_decay=5e-4)},
    )


def imagenet() -> RunConfig[SimSiam.Config]:
    """ImageNet-1k as the paper: ResNet-50, 100 epochs, batch 512.

    Settings: Chen and He, 2021, and the authors' code (SGD 0.05 for a batch of 256, weight decay 1e-4, no warm-up, projector
    2048-2048-2048, predictor 512, MoCo v2's views); they report 68.1 % (linear) with a predictor whose learning rate stays, and
    67.7 % as here.
    Command: `fullrank train simsiam.imagenet --data.path imagenet/train`. Not measured.
    """
    return RunConfig[SimSiam.Config](
        method=SimSiam.Config(augmentation=policies.moco_v2(_targets.IMAGENET_PIXELS)),
        optimizer=OptimizerConfig(name="sgd", base_learning_rate=0.05, weight_decay=1e-4),
        epochs=100.0,
        **_targets.imagenet(512, zero_init_residual=True),
    )

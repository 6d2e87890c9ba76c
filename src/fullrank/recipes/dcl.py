"""Recipes of DCL and DCLW."""

from fullrank.config import OptimizerConfig, RunConfig
from fullrank.methods.dcl import DCL
from fullrank.recipes import _targets
from fullrank.views import policies


def tiny() -> RunConfig[DCL.Config]:
    """Conformance: some seconds on one CPU core, on the embedded world.

    Settings: ours.
    Command: `fullrank train dcl.tiny`. Not measured.
    """
    method = DCL.Config(rho=2, augmentation=policies.digits(_targets.TINY_PIXELS), projector=(64, 32), temperature=0.2)
    return RunConfig[DCL.Config](method=method, **_targets.TINY)


def moving_digits() -> RunConfig[DCL.Config]:
    """The embedded world: two clips of each video, a small Slow ResNet-18.

    Settings: ours.
    Command: `fullrank train dcl.moving_digits`. Not measured.
    """
    method = DCL.Config(
        rho=2, augmentation=policies.digits(_targets.MOVING_DIGITS_PIXELS), projector=(256, 128), temperature=0.1
    )
    return RunConfig[DCL.Config](method=method, **_targets.MOVING_DIGITS)


def video() -> RunConfig[DCL.Config]:
    """Any folder of videos, on one machine.

    Settings: ours.
    Command: `fullrank train dcl.video --data.path my_videos/`. Not measured.
    """
    method = DCL.Config(rho=2, augmentation=policies.slowfast(_targets.VIDEO_PIXELS), projector=(512, 128), temperature=0.2)
    return RunConfig[DCL.Config](method=method, **_targets.VIDEO)


def images() -> RunConfig[DCL.Config]:
    """Any folder of images, on one machine.

    Settings: ours, with SimCLR's augmentation, which is the paper's.
    Command: `fullrank train dcl.images --data.path my_images/`. Not measured.
    """
    method = DCL.Config(augmentation=policies.simclr(_targets.IMAGES_PIXELS), projector=(512, 128), temperature=0.2)
    return RunConfig[DCL.Config](method=method, **_targets.IMAGES)


def cifar10() -> RunConfig[DCL.Config]:
    """CIFAR-10 as lightly's benchmark: 200 epochs, batch 512.

    Settings: lightly, cifar10_benchmark.py (SGD 0.06 x batch / 128, weight decay 5e-4, cosine without warm-up, head 512-128,
    temperature 0.1, no blur); it reports 84.0 % (kNN, the best epoch), and with --method.weighted 82.4 %.
    Command: `fullrank train dcl.cifar10 --data.path cifar10/`. Not measured.
    """
    return RunConfig[DCL.Config](
        method=DCL.Config(augmentation=policies.cifar_simclr(32), projector=(512, 128)), **_targets.LIGHTLY
    )


def imagenet() -> RunConfig[DCL.Config]:
    """ImageNet-1k as lightly's benchmark: ResNet-50, 100 epochs, batch 256.

    Settings: lightly, benchmarks/imagenet/resnet50/dcl.py (LARS 0.075 x sqrt(batch), so 1.2 for 256, weight decay 1e-6, warm-up
    10 epochs, head 2048-128, temperature 0.1); it reports 65.1 % (linear), and with --method.weighted 64.5 %.
    Command: `fullrank train dcl.imagenet --data.path imagenet/train`. Not measured.
    """
    return RunConfig[DCL.Config](
        method=DCL.Config(augmentation=policies.simclr(_targets.IMAGENET_PIXELS)),
        optimizer=OptimizerConfig(name="lars", base_learning_rate=1.2, weight_decay=1e-6, warmup_epochs=10.0),
        epochs=100.0,
        **_targets.imagenet(256),
    )

"""Recipes of Barlow Twins."""

from fullrank.config import OptimizerConfig, RunConfig
from fullrank.methods.barlow_twins import BarlowTwins
from fullrank.recipes import _targets
from fullrank.views import policies


def tiny() -> RunConfig[BarlowTwins.Config]:
    """Conformance: some seconds on one CPU core, on the embedded world.

    Settings: ours.
    Command: `fullrank train barlow_twins.tiny`. Not measured.
    """
    method = BarlowTwins.Config(rho=2, augmentation=policies.digits(_targets.TINY_PIXELS), projector=(64, 64))
    return RunConfig[BarlowTwins.Config](method=method, **_targets.TINY)


def moving_digits() -> RunConfig[BarlowTwins.Config]:
    """The embedded world: two clips of each video, a small Slow ResNet-18.

    Settings: ours.
    Command: `fullrank train barlow_twins.moving_digits`. Not measured.
    """
    method = BarlowTwins.Config(rho=2, augmentation=policies.digits(_targets.MOVING_DIGITS_PIXELS), projector=(512, 512, 512))
    return RunConfig[BarlowTwins.Config](method=method, **_targets.MOVING_DIGITS)


def video() -> RunConfig[BarlowTwins.Config]:
    """Any folder of videos, on one machine.

    Settings: ours; the projector is narrower than the paper's, because a batch of 32 cannot decorrelate 8192
    dimensions.
    Command: `fullrank train barlow_twins.video --data.path my_videos/`. Not measured.
    """
    method = BarlowTwins.Config(rho=2, augmentation=policies.slowfast(_targets.VIDEO_PIXELS), projector=(1024, 1024, 1024))
    return RunConfig[BarlowTwins.Config](method=method, **_targets.VIDEO)


def images() -> RunConfig[BarlowTwins.Config]:
    """Any folder of images, on one machine.

    Settings: ours, with the paper's augmentation, which is BYOL's.
    Command: `fullrank train barlow_twins.images --data.path my_images/`. Not measured.
    """
    method = BarlowTwins.Config(augmentation=policies.byol(_targets.IMAGES_PIXELS), projector=(2048, 2048, 2048))
    return RunConfig[BarlowTwins.Config](method=method, **_targets.IMAGES)


def cifar10() -> RunConfig[BarlowTwins.Config]:
    """CIFAR-10 as lightly's benchmark: 200 epochs, batch 512.

    Settings: lightly, cifar10_benchmark.py (SGD 0.06 x batch / 128, weight decay 5e-4, cosine without warm-up, projector
    2048-2048, lambda 0.005, views without blur); it reports 81.9 % (kNN, the best epoch).
    Command: `fullrank train barlow_twins.cifar10 --data.path cifar10/`. Not measured.
    """
    return RunConfig[BarlowTwins.Config](
        method=BarlowTwins.Config(augmentation=policies.cifar_simclr(32), projector=(2048, 2048), redundancy_weight=0.005),
        **_targets.LIGHTLY,
    )


def cifar10_solo() -> RunConfig[BarlowTwins.Config]:
    """CIFAR-10 as solo-learn trains it: 1000 epochs with LARS.

    Settings: solo-learn, scripts/pretrain/cifar/barlow.yaml (LARS 0.3 for a batch of 256, eta 0.02, clip_lr, weight decay 1e-4,
    warm-up 10 epochs, projector 2048-2048-2048, lambda 0.005, scale 0.1, asymmetric views without blur); it reports 92.10 %
    (linear, trained online).
    Command: `fullrank train barlow_twins.cifar10_solo --data.path cifar10/`. Not measured.
    """
    return RunConfig[BarlowTwins.Config](
        method=BarlowTwins.Config(
            augmentation=policies.cifar_asymmetric(32),
            projector=(2048, 2048, 2048),
            redundancy_weight=0.005,
            loss_scale=0.1,
        ),
        optimizer=OptimizerConfig(
            name="lars",
            base_learning_rate=0.3,
            weight_decay=1e-4,
            trust_coefficient=0.02,
            clip_trust=True,
            warmup_epochs=10.0,
        ),
        epochs=1000.0,
        **_targets.cifar10(256),
    )


def imagenet() -> RunConfig[BarlowTwins.Config]:
    """ImageNet-1k as the paper: ResNet-50, 1000 epochs, batch 2048.

    Settings: Zbontar et al., 2021, and the authors' code (LARS 0.2 for a batch of 256, weight decay 1e-6, warm-up 10 epochs,
    down to a thousandth, lambda 0.0051, BYOL's views); they report 73.2 % (linear). Their biases and norms learn with 0.0048
    instead of 0.2.
    Command: `fullrank train barlow_twins.imagenet --data.path imagenet/train`. Not measured.
    """
    return RunConfig[BarlowTwins.Config](
        method=BarlowTwins.Config(augmentation=policies.byol(_targets.IMAGENET_PIXELS)),
        optimizer=OptimizerConfig(name="lars", base_learning_rate=0.2, weight_decay=1e-6, warmup_epochs=10.0, end_ratio=0.001),
        epochs=1000.0,
        **_targets.imagenet(2048, zero_init_residual=True),
    )

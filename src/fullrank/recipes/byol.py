"""Recipes of BYOL."""

from fullrank.config import OptimizerConfig, RunConfig
from fullrank.methods.byol import BYOL
from fullrank.recipes import _targets
from fullrank.views import policies


def tiny() -> RunConfig[BYOL.Config]:
    """Conformance: some seconds on one CPU core, on the embedded world.

    Settings: ours.
    Command: `fullrank train byol.tiny`. Not measured.
    """
    method = BYOL.Config(
        rho=2, augmentation=policies.digits(_targets.TINY_PIXELS), projector=(64, 32), predictor_hidden=64, momentum=0.95
    )
    return RunConfig[BYOL.Config](method=method, **_targets.TINY)


def moving_digits() -> RunConfig[BYOL.Config]:
    """The embedded world: two clips of each video, a small Slow ResNet-18.

    Settings: ours; a short run needs a teacher that follows quickly.
    Command: `fullrank train byol.moving_digits`. Not measured.
    """
    method = BYOL.Config(
        rho=2,
        augmentation=policies.digits(_targets.MOVING_DIGITS_PIXELS),
        projector=(512, 128),
        predictor_hidden=512,
        momentum=0.97,
    )
    return RunConfig[BYOL.Config](method=method, **_targets.MOVING_DIGITS)


def video() -> RunConfig[BYOL.Config]:
    """Any folder of videos, on one machine.

    Settings: ours.
    Command: `fullrank train byol.video --data.path my_videos/`. Not measured.
    """
    method = BYOL.Config(
        rho=2,
        augmentation=policies.slowfast(_targets.VIDEO_PIXELS),
        projector=(1024, 256),
        predictor_hidden=1024,
        momentum=0.99,
    )
    return RunConfig[BYOL.Config](method=method, **_targets.VIDEO)


def images() -> RunConfig[BYOL.Config]:
    """Any folder of images, on one machine.

    Settings: ours, with the paper's augmentation.
    Command: `fullrank train byol.images --data.path my_images/`. Not measured.
    """
    method = BYOL.Config(
        augmentation=policies.byol(_targets.IMAGES_PIXELS), projector=(2048, 256), predictor_hidden=2048, momentum=0.99
    )
    return RunConfig[BYOL.Config](method=method, **_targets.IMAGES)


def cifar10() -> RunConfig[BYOL.Config]:
    """CIFAR-10 as lightly's benchmark: 200 epochs, batch 512.

    Settings: lightly, cifar10_benchmark.py (SGD 0.06 x batch / 128, weight decay 5e-4, cosine without warm-up,
    projector 1024-256, predictor 1024-256, momentum 0.99, the mean of -cos, SimCLR's views without blur, as its script
    had them when it made its table, 42a6a924; later it took BYOL's); it reports 86.8 % (kNN, the best epoch).
    Command: `fullrank train byol.cifar10 --data.path cifar10/`. Not measured.
    """
    return RunConfig[BYOL.Config](
        method=BYOL.Config(
            augmentation=policies.cifar_simclr(32),
            projector=(1024, 256),
            predictor_hidden=1024,
            momentum=0.99,
            final_momentum=0.99,
            loss_weight=0.5,
        ),
        **_targets.LIGHTLY,
    )


def imagenet() -> RunConfig[BYOL.Config]:
    """ImageNet-1k as the paper: ResNet-50, 1000 epochs, batch 4096.

    Settings: Grill et al., 2020 (LARS 0.2 for a batch of 256, weight decay 1.5e-6, warm-up 10 epochs, projector and
    predictor 4096-256, momentum 0.996 to 1, asymmetric views); they report 74.3 % (linear).
    Command: `fullrank train byol.imagenet --data.path imagenet/train`.
    Not measured.
    """
    return RunConfig[BYOL.Config](
        method=BYOL.Config(augmentation=policies.byol(_targets.IMAGENET_PIXELS)),
        optimizer=OptimizerConfig(name="lars", base_learning_rate=0.2, weight_decay=1.5e-6, warmup_epochs=10.0),
        epochs=1000.0,
        **_targets.imagenet(4096),
    )


def kinetics400() -> RunConfig[BYOL.Config]:
    """Kinetics-400 as PySlowFast: Slow ResNet-50 8x8, 200 epochs, two clips.

    Settings: BYOL_SlowR50_8x8.yaml (rho 2, LARS 0.6 for a batch of 64, which it doubles for rho 4, weight decay 1e-6,
    warm-up 35 epochs, projector 4096-256, predictor 4096-256, momentum 0.996 to 1, float32). It reports 67.4 %
    (linear).
    Command: `fullrank train byol.kinetics400 --data.path kinetics400/train`. Not measured.
    """
    return RunConfig[BYOL.Config](
        method=BYOL.Config(rho=2, augmentation=policies.slowfast(_targets.KINETICS400_PIXELS)),
        optimizer=OptimizerConfig(
            name="lars", base_learning_rate=2.4, weight_decay=1e-6, warmup_epochs=35.0, cosine_after_warmup=False
        ),
        precision="fp32",
        **_targets.KINETICS400,
    )

"""Recipes of SwAV."""

from fullrank.config import OptimizerConfig, RunConfig
from fullrank.methods.swav import SwAV
from fullrank.recipes import _targets
from fullrank.views import policies


def tiny() -> RunConfig[SwAV.Config]:
    """Conformance: some seconds on one CPU core, on the embedded world.

    Settings: ours.
    Command: `fullrank train swav.tiny`. Not measured.
    """
    method = SwAV.Config(
        rho=2,
        augmentation=policies.digits(_targets.TINY_PIXELS),
        projector=(64, 32),
        num_prototypes=24,
        freeze_prototypes_epochs=0.0,
    )
    return RunConfig[SwAV.Config](method=method, **_targets.TINY)


def moving_digits() -> RunConfig[SwAV.Config]:
    """The embedded world: two clips of each video, a small Slow ResNet-18.

    Settings: ours.
    Command: `fullrank train swav.moving_digits`. Not measured.
    """
    method = SwAV.Config(
        rho=2, augmentation=policies.digits(_targets.MOVING_DIGITS_PIXELS), projector=(256, 128), num_prototypes=120
    )
    return RunConfig[SwAV.Config](method=method, **_targets.MOVING_DIGITS)


def video() -> RunConfig[SwAV.Config]:
    """Any folder of videos, on one machine.

    Settings: ours; a batch of 32 is assigned together with the 256 embeddings before it.
    Command: `fullrank train swav.video --data.path my_videos/`. Not measured.
    """
    method = SwAV.Config(
        rho=2,
        augmentation=policies.slowfast(_targets.VIDEO_PIXELS),
        projector=(512, 128),
        num_prototypes=128,
        queue_length=256,
        queue_start_epoch=5.0,
    )
    return RunConfig[SwAV.Config](method=method, **_targets.VIDEO)


def images() -> RunConfig[SwAV.Config]:
    """Any folder of images, on one machine, with four small views besides the two large ones.

    Settings: ours, with the paper's augmentation.
    Command: `fullrank train swav.images --data.path my_images/`. Not measured.
    """
    method = SwAV.Config(
        augmentation=policies.swav(_targets.IMAGES_PIXELS),
        num_local=4,
        local_augmentation=policies.swav_local(48),
        projector=(512, 128),
        num_prototypes=256,
        queue_length=1024,
    )
    return RunConfig[SwAV.Config](method=method, **_targets.IMAGES)


def cifar10() -> RunConfig[SwAV.Config]:
    """CIFAR-10 as lightly's benchmark: 200 epochs, batch 512, two views.

    Settings: lightly, cifar10_benchmark.py (Adam 1e-3 x batch / 128, weight decay 1e-6, cosine without warm-up, head
    512-128, 512 prototypes never frozen, crops from 0.14, no blur); our AdamW decays apart from the gradient, which
    1e-6 does not show. It reports 84.2 % (kNN, the best epoch).
    Command: `fullrank train swav.cifar10 --data.path cifar10/`. Not measured.
    """
    return RunConfig[SwAV.Config](
        method=SwAV.Config(
            augmentation=policies.cifar_swav(32), projector=(512, 128), num_prototypes=512, freeze_prototypes_epochs=0.0
        ),
        **_targets.LIGHTLY | {"optimizer": OptimizerConfig(name="adamw", base_learning_rate=2e-3, weight_decay=1e-6)},
    )


def imagenet() -> RunConfig[SwAV.Config]:
    """ImageNet-1k as the paper: ResNet-50, 800 epochs, batch 4096, 2 x 224 and 6 x 96.

    Settings: Caron et al., 2020 (LARS 4.8 for a batch of 4096, so 0.3 for 256, weight decay 1e-6, warm-up 10 epochs,
    down to a thousandth, head 2048-128, 3000 prototypes frozen for one epoch, temperature 0.1, epsilon 0.05); they
    report 75.3 % (linear). Their warm-up starts at 0.3 and not at 0.
    Command: `fullrank train swav.imagenet --data.path imagenet/train`. Not measured.
    """
    return RunConfig[SwAV.Config](
        method=SwAV.Config(
            augmentation=policies.swav(_targets.IMAGENET_PIXELS), num_local=6, local_augmentation=policies.swav_local(96)
        ),
        optimizer=OptimizerConfig(name="lars", base_learning_rate=0.3, weight_decay=1e-6, warmup_epochs=10.0, end_ratio=0.001),
        epochs=800.0,
        **_targets.imagenet(4096),
    )


def kinetics400() -> RunConfig[SwAV.Config]:
    """Kinetics-400 as PySlowFast: Slow ResNet-50 8x8, 200 epochs, two clips.

    Settings: SwAV's YAML of contrastive_ssl (rho 2, LARS 0.6 for a batch of 64, weight decay 1e-6, warm-up 35 epochs,
    head 2048-2048-128 with BatchNorm, 1000 prototypes frozen for one epoch, temperature 0.1, epsilon 0.05, no queue,
    float32). It reports 62.6 % (linear).
    Command: `fullrank train swav.kinetics400 --data.path kinetics400/train`. Not measured.
    """
    return RunConfig[SwAV.Config](
        method=SwAV.Config(
            rho=2,
            augmentation=policies.slowfast(_targets.KINETICS400_PIXELS),
            projector=(2048, 2048, 128),
            num_prototypes=1000,
        ),
        optimizer=OptimizerConfig(
            name="lars", base_learning_rate=2.4, weight_decay=1e-6, warmup_epochs=35.0, cosine_after_warmup=False
        ),
        precision="fp32",
        **_targets.KINETICS400,
    )

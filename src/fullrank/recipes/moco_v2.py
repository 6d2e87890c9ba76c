"""Recipes of MoCo v2."""

from fullrank.config import OptimizerConfig, RunConfig
from fullrank.methods.moco_v2 import MoCoV2
from fullrank.recipes import _targets
from fullrank.views import policies


def tiny() -> RunConfig[MoCoV2.Config]:
    """Conformance: some seconds on one CPU core, on the embedded world.

    Settings: ours.
    Command: `fullrank train moco_v2.tiny`. Not measured.
    """
    method = MoCoV2.Config(
        rho=2,
        augmentation=policies.digits(_targets.TINY_PIXELS),
        projector=(64, 32),
        queue_length=256,
        momentum=0.9,
        final_momentum=0.9,
        symmetric=True,
    )
    return RunConfig[MoCoV2.Config](method=method, **_targets.TINY)


def moving_digits() -> RunConfig[MoCoV2.Config]:
    """The embedded world: two clips of each video, a small Slow ResNet-18.

    Settings: ours; a short run needs a teacher that follows quickly.
    Command: `fullrank train moco_v2.moving_digits`. Not measured.
    """
    method = MoCoV2.Config(
        rho=2,
        augmentation=policies.digits(_targets.MOVING_DIGITS_PIXELS),
        projector=(256, 128),
        queue_length=1024,
        momentum=0.97,
        final_momentum=1.0,
        symmetric=True,
    )
    return RunConfig[MoCoV2.Config](method=method, **_targets.MOVING_DIGITS)


def video() -> RunConfig[MoCoV2.Config]:
    """Any folder of videos, on one machine.

    Settings: ours. The queue must be much smaller than twice the number of videos: set --method.queue-length for a
    small folder.
    Command: `fullrank train moco_v2.video --data.path my_videos/`. Not measured.
    """
    method = MoCoV2.Config(
        rho=2,
        augmentation=policies.slowfast(_targets.VIDEO_PIXELS),
        projector=(512, 128),
        queue_length=1024,
        momentum=0.994,
        final_momentum=1.0,
        symmetric=True,
    )
    return RunConfig[MoCoV2.Config](method=method, **_targets.VIDEO)


def images() -> RunConfig[MoCoV2.Config]:
    """Any folder of images, on one machine.

    Settings: ours, with the paper's augmentation. The queue must be much smaller than twice the number of images.
    Command: `fullrank train moco_v2.images --data.path my_images/`. Not measured.
    """
    method = MoCoV2.Config(
        augmentation=policies.moco_v2(_targets.IMAGES_PIXELS),
        projector=(512, 128),
        queue_length=4096,
        momentum=0.99,
        final_momentum=1.0,
        symmetric=True,
    )
    return RunConfig[MoCoV2.Config](method=method, **_targets.IMAGES)


def cifar10() -> RunConfig[MoCoV2.Config]:
    """CIFAR-10 as lightly's benchmark: 200 epochs, batch 512.

    Settings: lightly, cifar10_benchmark.py (SGD 0.06 x batch / 128, weight decay 5e-4, cosine without warm-up, head
    512-128, temperature 0.1, momentum 0.99, queue 8192 at this batch, BatchNorm in eight groups, symmetric, no blur);
    it reports 84.7 % (kNN, the best epoch).
    Command: `fullrank train moco_v2.cifar10 --data.path cifar10/`. Not measured.
    """
    return RunConfig[MoCoV2.Config](
        method=MoCoV2.Config(
            augmentation=policies.cifar_simclr(32),
            projector=(512, 128),
            temperature=0.1,
            queue_length=8192,
            momentum=0.99,
            final_momentum=0.99,
            symmetric=True,
            batch_norm_group=_targets.LIGHTLY_BATCH // 8,
            shuffle_block=_targets.LIGHTLY_BATCH,
        ),
        **_targets.LIGHTLY,
    )


def imagenet() -> RunConfig[MoCoV2.Config]:
    """ImageNet-1k as the paper: ResNet-50, 200 epochs, batch 256.

    Settings: Chen et al., 2020 (SGD 0.03, weight decay 1e-4, cosine without warm-up, temperature 0.2, queue 65536,
    momentum 0.999, BatchNorm in eight groups of 32); they report 67.5 % (linear).
    Command: `fullrank train moco_v2.imagenet --data.path imagenet/train`.
    Not measured.
    """
    return RunConfig[MoCoV2.Config](
        method=MoCoV2.Config(augmentation=policies.moco_v2(_targets.IMAGENET_PIXELS), batch_norm_group=32, shuffle_block=256),
        optimizer=OptimizerConfig(name="sgd", base_learning_rate=0.03, weight_decay=1e-4),
        epochs=200.0,
        **_targets.imagenet(256),
    )


def kinetics400() -> RunConfig[MoCoV2.Config]:
    """Kinetics-400 as PySlowFast: Slow ResNet-50 8x8, 200 epochs, four clips.

    Settings: MoCo_SlowR50_8x8.yaml (rho 4, SGD 0.1 for a batch of 64, weight decay 1e-4, warm-up 35 epochs, head
    2048-2048-128, temperature 0.1, queue 65536 with the keys of all clips, momentum 0.994 to 1, BatchNorm of 8
    records, shuffled within a machine, mixed precision). Its SGD is Nesterov's, ours is not. It reports 71.0 %
    (linear).
    Command: `fullrank train moco_v2.kinetics400 --data.path kinetics400/train`.
    Not measured.
    """
    return RunConfig[MoCoV2.Config](
        method=MoCoV2.Config(
            rho=4,
            augmentation=policies.slowfast(_targets.KINETICS400_PIXELS),
            projector=(2048, 2048, 128),
            temperature=0.1,
            queue_length=65536,
            momentum=0.994,
            final_momentum=1.0,
            symmetric=True,
            batch_norm_group=8,
            shuffle_block=64,
        ),
        optimizer=OptimizerConfig(
            name="sgd", base_learning_rate=0.4, weight_decay=1e-4, warmup_epochs=35.0, cosine_after_warmup=False
        ),
        **_targets.KINETICS400,
    )

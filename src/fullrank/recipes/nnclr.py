"""Recipes of NNCLR."""

from fullrank.config import OptimizerConfig, RunConfig
from fullrank.methods.nnclr import NNCLR
from fullrank.recipes import _targets
from fullrank.views import policies


def tiny() -> RunConfig[NNCLR.Config]:
    """Conformance: some seconds on one CPU core, on the embedded world.

    Settings: ours.
    Command: `fullrank train nnclr.tiny`. Not measured.
    """
    method = NNCLR.Config(
        rho=2,
        augmentation=policies.digits(_targets.TINY_PIXELS),
        projector=(64, 32),
        predictor_hidden=64,
        temperature=0.2,
        queue_length=64,
    )
    return RunConfig[NNCLR.Config](method=method, **_targets.TINY)


def moving_digits() -> RunConfig[NNCLR.Config]:
    """The embedded world: two clips of each video, a small Slow ResNet-18.

    Settings: ours; a queue of half of the videos.
    Command: `fullrank train nnclr.moving_digits`. Not measured.
    """
    method = NNCLR.Config(
        rho=2,
        augmentation=policies.digits(_targets.MOVING_DIGITS_PIXELS),
        projector=(512, 128),
        predictor_hidden=512,
        temperature=0.1,
        queue_length=1024,
    )
    return RunConfig[NNCLR.Config](method=method, **_targets.MOVING_DIGITS)


def video() -> RunConfig[NNCLR.Config]:
    """Any folder of videos, on one machine.

    Settings: ours; shorten the queue for fewer than some thousand videos.
    Command: `fullrank train nnclr.video --data.path my_videos/`. Not measured.
    """
    method = NNCLR.Config(
        rho=2,
        augmentation=policies.slowfast(_targets.VIDEO_PIXELS),
        projector=(1024, 1024, 256),
        predictor_hidden=1024,
        temperature=0.2,
        queue_length=1024,
    )
    return RunConfig[NNCLR.Config](method=method, **_targets.VIDEO)


def images() -> RunConfig[NNCLR.Config]:
    """Any folder of images, on one machine.

    Settings: ours, with SimCLR's augmentation; shorten the queue for fewer than ten thousand images.
    Command: `fullrank train nnclr.images --data.path my_images/`. Not measured.
    """
    method = NNCLR.Config(
        augmentation=policies.simclr(_targets.IMAGES_PIXELS),
        projector=(2048, 2048, 256),
        predictor_hidden=2048,
        temperature=0.2,
        queue_length=4096,
    )
    return RunConfig[NNCLR.Config](method=method, **_targets.IMAGES)


def cifar10() -> RunConfig[NNCLR.Config]:
    """CIFAR-10 as lightly's benchmark: 200 epochs, batch 512.

    Settings: lightly, cifar10_benchmark.py (SGD 0.06 x batch / 128, weight decay 5e-4, cosine without warm-up, projector
    2048-256, predictor 4096-256, a queue of 8192, temperature 0.5, no blur); its loss counts rows of the own side as
    negatives too, ours is the paper's. It reports 81.5 % (kNN, the best epoch).
    Command: `fullrank train nnclr.cifar10 --data.path cifar10/`. Not measured.
    """
    return RunConfig[NNCLR.Config](
        method=NNCLR.Config(augmentation=policies.cifar_simclr(32), projector=(2048, 256), temperature=0.5, queue_length=8192),
        **_targets.LIGHTLY,
    )


def imagenet() -> RunConfig[NNCLR.Config]:
    """ImageNet-1k as the paper: ResNet-50, 1000 epochs, batch 4096.

    Settings: Dwibedi et al., 2021 (LARS 0.3 for a batch of 256, weight decay 1e-6, warm-up 10 epochs, projector 2048-2048-256,
    predictor 4096-256, a queue of 98304, temperature 0.1), with SimCLR's views; they report 75.4 % (linear).
    Command: `fullrank train nnclr.imagenet --data.path imagenet/train`. Not measured.
    """
    return RunConfig[NNCLR.Config](
        method=NNCLR.Config(augmentation=policies.simclr(_targets.IMAGENET_PIXELS)),
        optimizer=OptimizerConfig(name="lars", base_learning_rate=0.3, weight_decay=1e-6, warmup_epochs=10.0),
        epochs=1000.0,
        **_targets.imagenet(4096),
    )

"""Recipes of BraVe."""

from fullrank.config import Augmentation, BackboneConfig, DataConfig, OptimizerConfig, RunConfig
from fullrank.methods.brave import BraVe
from fullrank.recipes import _targets
from fullrank.views import policies


def _paper(size_pixels: int) -> Augmentation:
    """The authors' views: crops of 0.3 to 1 from 1:2 to 2:1, colours, always blurred (their brightness is added: 32 / 255)."""
    return Augmentation(
        size_pixels=size_pixels, min_scale=0.3, min_aspect=0.5, max_aspect=2.0, brightness=0.125, hue=0.2, blur_prob=(1.0,)
    )


def tiny() -> RunConfig[BraVe.Config]:
    """Conformance: some seconds on one CPU core, on the embedded world; the broad view shows change.

    Settings: ours.
    Command: `fullrank train brave.tiny`. Not measured.
    """
    method = BraVe.Config(
        augmentation=policies.digits(_targets.TINY_PIXELS),
        narrow_frames=4,
        broad_augmentation=policies.digits(_targets.TINY_PIXELS),
        broad_frames=4,
        broad_stride=2,
        broad_stream="difference",
        projector=(64, 32),
        predictor_hidden=64,
    )
    return RunConfig[BraVe.Config](method=method, **_targets.TINY)


def moving_digits() -> RunConfig[BraVe.Config]:
    """The embedded world: one second predicts the change of two, a small Slow ResNet-18 for each.

    Settings: ours.
    Command: `fullrank train brave.moving_digits`. Not measured.
    """
    method = BraVe.Config(
        augmentation=policies.digits(_targets.MOVING_DIGITS_PIXELS),
        narrow_frames=8,
        broad_augmentation=policies.digits(_targets.MOVING_DIGITS_PIXELS),
        broad_frames=8,
        broad_stride=2,
        broad_stream="difference",
        projector=(512, 128),
        predictor_hidden=512,
    )
    return RunConfig[BraVe.Config](method=method, **_targets.MOVING_DIGITS)


def video() -> RunConfig[BraVe.Config]:
    """Any folder of videos, on one machine: two seconds predict eight, seen at half the size.

    Settings: ours, with the paper's augmentation; --method.broad-stream gray, difference or flow shows another stream.
    Command: `fullrank train brave.video --data.path my_videos/`. Not measured.
    """
    method = BraVe.Config(
        augmentation=_paper(_targets.VIDEO_PIXELS),
        narrow_frames=8,
        broad_augmentation=_paper(64),
        broad_frames=16,
        broad_stride=2,
        projector=(1024, 128),
        predictor_hidden=1024,
    )
    return RunConfig[BraVe.Config](method=method, **_targets.VIDEO)


def images() -> RunConfig[BraVe.Config]:
    """Any folder of images, on one machine; a picture has no longer time, so the broad view is a grey one.

    Settings: ours, with the paper's augmentation.
    Command: `fullrank train brave.images --data.path my_images/`. Not measured.
    """
    method = BraVe.Config(
        augmentation=_paper(_targets.IMAGES_PIXELS),
        narrow_frames=1,
        broad_augmentation=_paper(_targets.IMAGES_PIXELS),
        broad_frames=1,
        broad_stream="gray",
        projector=(2048, 128),
        predictor_hidden=2048,
    )
    return RunConfig[BraVe.Config](method=method, **_targets.IMAGES)


def cifar10() -> RunConfig[BraVe.Config]:
    """CIFAR-10 in the setting of lightly's benchmark: 200 epochs, batch 512; the broad view is a grey one.

    Settings: ours: optimizer and views of lightly's SimCLR.
    Command: `fullrank train brave.cifar10 --data.path cifar10/`. Not measured.
    """
    return RunConfig[BraVe.Config](
        method=BraVe.Config(
            augmentation=policies.cifar_simclr(32),
            narrow_frames=1,
            broad_augmentation=policies.cifar_simclr(32),
            broad_frames=1,
            broad_stream="gray",
            projector=(2048, 128),
            predictor_hidden=2048,
        ),
        **_targets.LIGHTLY,
    )


def kinetics400() -> RunConfig[BraVe.Config]:
    """Kinetics-400 with the paper's settings for Kinetics-600: 1.3 seconds at 224 predict 10 seconds at 112.

    Settings: the authors' code (narrow 16 frames with stride 2 of 25 a second, broad 64 frames with stride 4, LARS with
    learning rate 1 for the batch of 512, weight decay 1e-2, warm-up 5000 of 300000 steps, heads 4096-128). It gives
    predictors ten times the learning rate and Nesterov's momentum, has a TSM-ResNet-50, and convolves the broad view at
    random; ours do not. Its 300000 steps are about 640 epochs of Kinetics-400.
    Command: `fullrank train brave.kinetics400 --data.path kinetics400/train`. Not measured.
    """
    return RunConfig[BraVe.Config](
        method=BraVe.Config(augmentation=_paper(_targets.KINETICS400_PIXELS), broad_augmentation=_paper(112)),
        backbone=BackboneConfig(depth=50, temporal="slow"),
        data=DataConfig(num_frames=16, frames_per_second=12.5, canvas_pixels=256, batch_size=512, num_workers=8),
        optimizer=OptimizerConfig(name="lars", base_learning_rate=0.5, weight_decay=1e-2, warmup_epochs=10.7),
        epochs=640.0,
    )

"""Recipes of SVT."""

from fullrank.config import Augmentation, BackboneConfig, DataConfig, OptimizerConfig, RunConfig
from fullrank.methods.svt import SVT
from fullrank.recipes import _targets
from fullrank.views import policies


def _global(size_pixels: int) -> Augmentation:
    """The authors' large crops, DINO's: BYOL's colours, 0.4 to 1 of the picture."""
    return policies.byol(size_pixels).model_copy(update={"min_scale": 0.4})


def _local(size_pixels: int) -> Augmentation:
    """The authors' small crops: 0.05 to 0.4 of the picture, blur 0.5, no solarize."""
    return _global(size_pixels).model_copy(
        update={"min_scale": 0.05, "max_scale": 0.4, "blur_prob": (0.5,), "solarize_prob": (0.0,)}
    )


def _digits_local(size_pixels: int) -> Augmentation:
    return policies.digits(size_pixels).model_copy(update={"min_scale": 0.25, "max_scale": 0.5})


def tiny() -> RunConfig[SVT.Config]:
    """Conformance: some seconds on one CPU core, on the embedded world, with a TimeSformer of two blocks.

    Settings: ours.
    Command: `fullrank train svt.tiny`. Not measured.
    """
    method = SVT.Config(
        augmentation=policies.digits(_targets.TINY_PIXELS),
        num_frames=4,
        strides=(1, 2),
        num_local=2,
        local_augmentation=_digits_local(_targets.TINY_LOCAL_PIXELS),
        local_frames=2,
        local_strides=(1, 2),
        projector=(64, 32),
        projector_batch_norm=True,
        num_dimensions=64,
        freeze_last_layer_epochs=0.0,
        momentum=0.9,
    )
    pixels = _targets.TINY_PIXELS
    backbone = BackboneConfig(name="timesformer", size="micro", layers=2, patch_pixels=8, image_pixels=pixels, max_frames=4)
    return RunConfig[SVT.Config](method=method, **_targets.TINY | {"backbone": backbone})


def moving_digits() -> RunConfig[SVT.Config]:
    """The embedded world: a second and two seconds of each video, a small TimeSformer.

    Settings: ours; a short run needs a teacher that follows quickly, and a learning rate near the paper's (at the other
    recipes' 0.006 the output becomes uniform).
    Command: `fullrank train svt.moving_digits`. Not measured.
    """
    method = SVT.Config(
        augmentation=policies.digits(_targets.MOVING_DIGITS_PIXELS),
        strides=(1, 2),
        num_local=4,
        local_augmentation=_digits_local(16),
        local_strides=(1, 2),
        projector=(256, 256, 128),
        projector_batch_norm=True,
        num_dimensions=1024,
        momentum=0.97,
    )
    backbone = BackboneConfig(name="timesformer", size="micro", layers=4, patch_pixels=8, image_pixels=32)
    optimizer = _targets.MOVING_DIGITS["optimizer"].model_copy(update={"base_learning_rate": 1e-3})
    return RunConfig[SVT.Config](method=method, **_targets.MOVING_DIGITS | {"backbone": backbone, "optimizer": optimizer})


def video() -> RunConfig[SVT.Config]:
    """Any folder of videos, on one machine: two and four seconds, a tiny TimeSformer.

    Settings: ours, with the paper's augmentation.
    Command: `fullrank train svt.video --data.path my_videos/`. Not measured.
    """
    method = SVT.Config(
        augmentation=_global(_targets.VIDEO_PIXELS),
        strides=(1, 2),
        num_local=4,
        local_augmentation=_local(48),
        projector=(1024, 1024, 256),
        projector_batch_norm=True,
        num_dimensions=4096,
        momentum=0.99,
    )
    backbone = BackboneConfig(name="timesformer", size="tiny", layers=6, image_pixels=112)
    optimizer = OptimizerConfig(
        name="adamw",
        base_learning_rate=2e-3,
        weight_decay=0.04,
        final_weight_decay=0.4,
        warmup_epochs=5.0,
        clip_grad_norm=3.0,
    )
    return RunConfig[SVT.Config](method=method, **_targets.VIDEO | {"backbone": backbone, "optimizer": optimizer})


def images() -> RunConfig[SVT.Config]:
    """Any folder of images, on one machine; a picture has no time, so this is DINO with a TimeSformer.

    Settings: ours, with the paper's augmentation.
    Command: `fullrank train svt.images --data.path my_images/`. Not measured.
    """
    method = SVT.Config(
        augmentation=_global(_targets.IMAGES_PIXELS),
        num_frames=1,
        strides=(1, 1),
        num_local=4,
        local_augmentation=_local(48),
        local_frames=1,
        local_strides=(1,),
        projector=(1024, 1024, 256),
        projector_batch_norm=True,
        num_dimensions=4096,
        momentum=0.99,
    )
    backbone = BackboneConfig(name="timesformer", size="tiny", layers=6, image_pixels=_targets.IMAGES_PIXELS, max_frames=1)
    return RunConfig[SVT.Config](method=method, **_targets.IMAGES | {"backbone": backbone})


def cifar10() -> RunConfig[SVT.Config]:
    """CIFAR-10 in the setting of lightly's benchmark: 200 epochs, batch 512; a picture has no time.

    Settings: ours: AdamW and a tiny transformer with patches of 4 pixels, DINO's views without blur.
    Command: `fullrank train svt.cifar10 --data.path cifar10/`. Not measured.
    """
    plain = {"blur_prob": (0.0,)}
    method = SVT.Config(
        augmentation=_global(32).model_copy(update=plain),
        num_frames=1,
        strides=(1, 1),
        num_local=2,
        local_augmentation=_local(16).model_copy(update=plain),
        local_frames=1,
        local_strides=(1,),
        projector=(2048, 2048, 256),
        projector_batch_norm=True,
        num_dimensions=2048,
        momentum=0.99,
    )
    changes = {
        "backbone": BackboneConfig(name="timesformer", size="tiny", layers=6, patch_pixels=4, image_pixels=32, max_frames=1),
        "optimizer": OptimizerConfig(
            name="adamw", base_learning_rate=5e-4, weight_decay=0.04, final_weight_decay=0.4, warmup_epochs=10.0
        ),
    }
    return RunConfig[SVT.Config](method=method, **_targets.LIGHTLY | changes)


def kinetics400() -> RunConfig[SVT.Config]:
    """Kinetics-400 as the authors' code: TimeSformer ViT-B/16, 8 frames, 100 epochs, batch 32.

    Settings: train_ssl.py and scripts/train.sh (AdamW 5e-4 for a batch of 256, down to 1e-6, warm-up 10 epochs, weight
    decay 0.04 to 0.4, 65536 dimensions, teacher temperature 0.04, momentum 0.996 to 1, 2 x 224 and 8 x 96, gradients
    clipped at 3, each tensor by itself; stochastic depth 0.1, here of the student alone). It starts from DINO's ImageNet
    weights, this from random ones, and the released encoder gives 89.2 % on UCF-101 (linear, by users); frame rates are
    ours, see the method's page.
    Command: `fullrank train svt.kinetics400 --data.path kinetics400/train`. Not measured.
    """
    return RunConfig[SVT.Config](
        method=SVT.Config(
            augmentation=_global(_targets.KINETICS400_PIXELS), local_augmentation=_local(96), local_strides=(1, 3)
        ),
        backbone=BackboneConfig(name="timesformer", size="base", drop_path=0.1),
        data=DataConfig(num_frames=8, frames_per_second=7.5, canvas_pixels=256, batch_size=32, num_workers=8),
        optimizer=OptimizerConfig(
            name="adamw",
            base_learning_rate=5e-4,
            weight_decay=0.04,
            final_weight_decay=0.4,
            warmup_epochs=10.0,
            end_ratio=0.016,
            clip_grad_norm=3.0,
        ),
        epochs=100.0,
    )

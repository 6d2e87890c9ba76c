"""Recipes of MAE and, with tubelets, VideoMAE."""

from typing import Any

from fullrank.config import Augmentation, BackboneConfig, OptimizerConfig, RunConfig
from fullrank.methods.mae import MAE
from fullrank.recipes import _targets
from fullrank.views import policies

ADAMW = OptimizerConfig(name="adamw", base_learning_rate=1.5e-4, weight_decay=0.05, betas=(0.9, 0.95), warmup_epochs=40.0)
"""the paper's optimizer, for a batch of 256"""


def _crop_and_flip(size_pixels: int, min_scale: float = 0.2) -> Augmentation:
    """All the augmentation that MAE uses."""
    return policies.plain(size_pixels).model_copy(
        update={"min_scale": min_scale, "min_aspect": 3 / 4, "max_aspect": 4 / 3, "flip_prob": (0.5,)}
    )


VIDEO_MAE: dict[str, Any] = {"positions": "sincos_flat", "class_token": False}
"""what its transformer has, as no other here"""


def _vit(size: Any, pixels: int, patch_pixels: int, frames: int = 1, patch_frames: int = 1) -> BackboneConfig:
    return BackboneConfig(
        name="vit", size=size, image_pixels=pixels, patch_pixels=patch_pixels, max_frames=frames, patch_frames=patch_frames
    )


def tiny() -> RunConfig[MAE.Config]:
    """Conformance: some seconds on one CPU core, on the embedded world.

    Settings: ours; tubelets of 2 frames and 4 pixels, a transformer of width 64.
    Command: `fullrank train mae.tiny`. Not measured.
    """
    pixels = _targets.TINY_PIXELS
    method = MAE.Config(
        augmentation=policies.digits(pixels),
        mask="tube",
        patch_pixels=4,
        patch_frames=2,
        decoder_dim=48,
        decoder_layers=1,
        decoder_heads=2,
    )
    backbone = _vit("micro", pixels, 4, 4, 2).model_copy(update={"layers": 4})
    return RunConfig[MAE.Config](method=method, **_targets.TINY | {"backbone": backbone})


def moving_digits() -> RunConfig[MAE.Config]:
    """The embedded world: tubelets of 2 frames and 4 pixels, three of four hidden.

    Settings: ours.
    Command: `fullrank train mae.moving_digits`. Not measured.
    """
    pixels = _targets.MOVING_DIGITS_PIXELS
    method = MAE.Config(
        augmentation=policies.digits(pixels), patch_pixels=4, patch_frames=2, decoder_dim=96, decoder_layers=2, decoder_heads=3
    )
    backbone = _vit("tiny", pixels, 4, 8, 2).model_copy(update={"layers": 6})
    return RunConfig[MAE.Config](method=method, **_targets.MOVING_DIGITS | {"backbone": backbone})


def video() -> RunConfig[MAE.Config]:
    """Any folder of videos, on one machine: VideoMAE with a small transformer.

    Settings: ours; VideoMAE's mask (tubes, 0.9) and tubelets of two frames.
    Command: `fullrank train mae.video --data.path my_videos/`. Not measured.
    """
    pixels = _targets.VIDEO_PIXELS
    method = MAE.Config(
        augmentation=_crop_and_flip(pixels, 0.5),
        mask="tube",
        mask_ratio=0.9,
        patch_frames=2,
        decoder_dim=192,
        decoder_layers=4,
        decoder_heads=3,
    )
    return RunConfig[MAE.Config](method=method, **_targets.VIDEO | {"backbone": _vit("small", pixels, 16, 8, 2)})


def images() -> RunConfig[MAE.Config]:
    """Any folder of images, on one machine.

    Settings: the paper's, with patches of 8 in pictures of 96 pixels, a small transformer and a decoder of half its size.
    Command: `fullrank train mae.images --data.path my_images/`. Not measured.
    """
    pixels = _targets.IMAGES_PIXELS
    method = MAE.Config(augmentation=_crop_and_flip(pixels), patch_pixels=8, decoder_dim=256, decoder_layers=4, decoder_heads=8)
    backbone = _vit("small", pixels, 8).model_copy(update={"positions": "sincos"})
    return RunConfig[MAE.Config](method=method, **_targets.IMAGES | {"backbone": backbone, "optimizer": ADAMW})


def cifar10() -> RunConfig[MAE.Config]:
    """CIFAR-10 with patches of 4 pixels.

    Settings: ours; the paper's optimizer.
    Command: `fullrank train mae.cifar10 --data.path cifar10/`. Not measured.
    """
    method = MAE.Config(augmentation=_crop_and_flip(32), patch_pixels=4, decoder_dim=192, decoder_layers=2, decoder_heads=3)
    settings = _targets.cifar10(512) | {"backbone": _vit("tiny", 32, 4), "optimizer": ADAMW, "epochs": 400.0}
    return RunConfig[MAE.Config](method=method, **settings)


def kinetics400() -> RunConfig[MAE.Config]:
    """Kinetics-400 as VideoMAE: ViT-B, tubelets of 2 x 16 x 16, tubes of 0.9.

    Settings: Tong et al., 2022 (16 frames with stride 4, decoder of 4 blocks and width 384, AdamW 1.5e-4 for a batch of
    256, weight decay 0.05, warm-up 40 epochs, 800 epochs; batch 1024) and their code (down to a fifteenth of the rate; its
    script runs 64 GPUs x 32 = 2048), fixed positions and no class token; they report 80.0 % (fine-tuned, ViT-B, 800 epochs).
    Its crops have one of four sizes and no flip; its targets are normalised in each colour of a patch, ours over all three.
    Command: `fullrank train mae.kinetics400 --data.path kinetics400/train`. Not measured.
    """
    method = MAE.Config(
        augmentation=_crop_and_flip(224, 0.5).model_copy(update={"flip_prob": (0.0,)}),
        mask="tube",
        mask_ratio=0.9,
        patch_frames=2,
        decoder_dim=384,
        decoder_layers=4,
        decoder_heads=6,
    )
    settings = dict(_targets.KINETICS400)
    data = settings["data"].model_copy(update={"num_frames": 16, "frames_per_second": 7.5, "batch_size": 1024})
    settings |= {"data": data, "backbone": _vit("base", 224, 16, 16, 2).model_copy(update=VIDEO_MAE), "epochs": 800.0}
    settings["optimizer"] = ADAMW.model_copy(update={"end_ratio": 1 / 15})
    return RunConfig[MAE.Config](method=method, **settings)

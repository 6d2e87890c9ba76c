"""Recipes of DPC."""

from fullrank.config import BackboneConfig, OptimizerConfig, RunConfig
from fullrank.methods.dpc import DPC
from fullrank.recipes import _targets
from fullrank.views import policies

PAPER = OptimizerConfig(name="adamw", base_learning_rate=2e-3, weight_decay=1e-2, end_ratio=1.0)
"""Adam 1e-3 for a batch of 128, constant; the authors' weight decay of 1e-5, on biases and norms too, is coupled to the
gradient, AdamW's is not"""


def tiny() -> RunConfig[DPC.Config]:
    """Conformance: some seconds on one CPU core, on the embedded world.

    Settings: ours; four blocks of two frames, the last two predicted.
    Command: `fullrank train dpc.tiny`. Not measured.
    """
    method = DPC.Config(augmentation=policies.digits(32), num_blocks=4, block_frames=2, predicted_blocks=2)
    backbone = BackboneConfig(depth=18, width=0.125, temporal="2d3d")
    return RunConfig[DPC.Config](method=method, **_targets.TINY | {"backbone": backbone})


def moving_digits() -> RunConfig[DPC.Config]:
    """The embedded world: four blocks of four frames, the last one predicted, a small 2d3d-ResNet-18.

    Settings: ours.
    Command: `fullrank train dpc.moving_digits`. Not measured.
    """
    method = DPC.Config(
        augmentation=policies.digits(_targets.MOVING_DIGITS_PIXELS), num_blocks=4, block_frames=4, predicted_blocks=1
    )
    backbone = BackboneConfig(depth=18, width=0.25, temporal="2d3d")
    return RunConfig[DPC.Config](method=method, **_targets.MOVING_DIGITS | {"backbone": backbone})


def video() -> RunConfig[DPC.Config]:
    """Any folder of videos, on one machine: eight blocks of half a second.

    Settings: the paper's blocks at ten frames a second, a narrower network.
    Command: `fullrank train dpc.video --data.path my_videos/`. Not measured.
    """
    method = DPC.Config(augmentation=policies.slowfast(_targets.VIDEO_PIXELS))
    data = _targets.VIDEO["data"].model_copy(update={"frames_per_second": 10.0})
    backbone = BackboneConfig(depth=18, width=0.5, temporal="2d3d")
    return RunConfig[DPC.Config](method=method, **_targets.VIDEO | {"backbone": backbone, "data": data})


def kinetics400() -> RunConfig[DPC.Config]:
    """Kinetics-400 as the paper: 2d3d-ResNet-18 at 128 pixels, 8 blocks of 5 frames, 3 predicted.

    Settings: TengdaHan/DPC, README and dpc/main.py (Adam 1e-3 throughout, weight decay 1e-5, here AdamW's 1e-2, batch 128,
    300 epochs, crops of 0.5 to 1, jitter always, one channel shown as grey in half of the frames); they report 68.2 % on
    UCF101 (fine-tuned). Every third frame of 30 a second, main.py's default; for Kinetics-400 its loader is told every
    fifth.
    Command: `fullrank train dpc.kinetics400 --data.path kinetics400/train`. Not measured.
    """
    settings = dict(_targets.KINETICS400)
    data = settings["data"].model_copy(update={"frames_per_second": 10.0, "canvas_pixels": 150, "batch_size": 128})
    settings |= {"data": data, "backbone": BackboneConfig(depth=18, temporal="2d3d"), "optimizer": PAPER, "epochs": 300.0}
    views = {
        "min_scale": 0.5,
        "max_scale": 1.0,
        "jitter_prob": (1.0,),
        "brightness": 0.5,
        "contrast": 0.5,
        "saturation": 0.5,
        "hue": 0.25,
        "grayscale_prob": (0.5,),
        "blur_prob": (0.0,),
    }
    method = DPC.Config(augmentation=policies.slowfast(128).model_copy(update=views))
    return RunConfig[DPC.Config](method=method, **settings)

"""Recipes of CVRL."""

from fullrank.config import Augmentation, BackboneConfig, DataConfig, OptimizerConfig, RunConfig
from fullrank.methods.cvrl import CVRL
from fullrank.recipes import _targets
from fullrank.views import policies


def _paper(size_pixels: int) -> Augmentation:
    """The authors' views: crops of 0.3 to 1 from 1:2 to 2:1, SimCLR's colours, blur 1.0 and 0.1, solarize 0.0 and 0.2."""
    return policies.simclr(size_pixels).model_copy(
        update={
            "min_scale": 0.3,
            "min_aspect": 0.5,
            "max_aspect": 2.0,
            "blur_prob": (1.0, 0.1),
            "solarize_prob": (0.0, 0.2),
        }
    )


def tiny() -> RunConfig[CVRL.Config]:
    """Conformance: some seconds on one CPU core, on the embedded world.

    Settings: ours.
    Command: `fullrank train cvrl.tiny`. Not measured.
    """
    method = CVRL.Config(augmentation=policies.digits(_targets.TINY_PIXELS), projector=(64, 32), temperature=0.2)
    return RunConfig[CVRL.Config](method=method, **_targets.TINY)


def moving_digits() -> RunConfig[CVRL.Config]:
    """The embedded world: two near clips of each video, a small Slow ResNet-18.

    Settings: ours.
    Command: `fullrank train cvrl.moving_digits`. Not measured.
    """
    method = CVRL.Config(augmentation=policies.digits(_targets.MOVING_DIGITS_PIXELS), projector=(256, 256, 128))
    return RunConfig[CVRL.Config](method=method, **_targets.MOVING_DIGITS)


def video() -> RunConfig[CVRL.Config]:
    """Any folder of videos, on one machine.

    Settings: ours, with the paper's augmentation. A batch of 32 has 62 negatives: raise --data.batch-size where memory
    allows.
    Command: `fullrank train cvrl.video --data.path my_videos/`. Not measured.
    """
    method = CVRL.Config(augmentation=_paper(_targets.VIDEO_PIXELS), projector=(512, 512, 128), temperature=0.2)
    return RunConfig[CVRL.Config](method=method, **_targets.VIDEO)


def images() -> RunConfig[CVRL.Config]:
    """Any folder of images, on one machine; a picture has no near clips, so this is SimCLR with CVRL's views.

    Settings: ours, with the paper's augmentation.
    Command: `fullrank train cvrl.images --data.path my_images/`. Not measured.
    """
    method = CVRL.Config(rho=1, augmentation=_paper(_targets.IMAGES_PIXELS), projector=(512, 512, 128), temperature=0.2)
    return RunConfig[CVRL.Config](method=method, **_targets.IMAGES)


def cifar10() -> RunConfig[CVRL.Config]:
    """CIFAR-10 in the setting of lightly's benchmark: 200 epochs, batch 512; a picture has no near clips.

    Settings: ours: optimizer, views and temperature of lightly's SimCLR, with CVRL's deeper head.
    Command: `fullrank train cvrl.cifar10 --data.path cifar10/`. Not measured.
    """
    return RunConfig[CVRL.Config](
        method=CVRL.Config(rho=1, augmentation=policies.cifar_simclr(32), projector=(512, 512, 128), temperature=0.5),
        **_targets.LIGHTLY,
    )


def kinetics400() -> RunConfig[CVRL.Config]:
    """Kinetics-400 as the paper: 16 frames with stride 2, batch 1024, 200 epochs, two near clips.

    Settings: the authors' code (SGD 0.32 for the batch of 1024, weight decay 1e-6, warm-up 5 epochs, head of three hidden
    layers 2048 and 128, temperature 0.1, bf16); it reports 63.8 % (linear). Its 3D ResNet-50 has a stem over five frames
    that halves time, our Slow ResNet-50 looks at each frame by itself there.
    Command: `fullrank train cvrl.kinetics400 --data.path kinetics400/train`. Not measured.
    """
    return RunConfig[CVRL.Config](
        method=CVRL.Config(augmentation=_paper(_targets.KINETICS400_PIXELS)),
        backbone=BackboneConfig(depth=50, temporal="slow"),
        data=DataConfig(num_frames=16, frames_per_second=12.5, canvas_pixels=256, batch_size=1024, num_workers=8),
        optimizer=OptimizerConfig(name="sgd", base_learning_rate=0.08, weight_decay=1e-6, warmup_epochs=5.0),
        epochs=200.0,
    )

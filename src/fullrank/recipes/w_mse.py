"""Recipes of W-MSE."""

from fullrank.config import OptimizerConfig, RunConfig
from fullrank.methods.w_mse import WMSE
from fullrank.recipes import _targets
from fullrank.views import policies


def tiny() -> RunConfig[WMSE.Config]:
    """Conformance: some seconds on one CPU core, on the embedded world.

    Settings: ours; a whole batch of 8 is whitened, so the embedding is narrow.
    Command: `fullrank train w_mse.tiny`. Not measured.
    """
    method = WMSE.Config(rho=2, augmentation=policies.digits(_targets.TINY_PIXELS), projector=(64, 4), whitening_size=8)
    return RunConfig[WMSE.Config](method=method, **_targets.TINY)


def moving_digits() -> RunConfig[WMSE.Config]:
    """The embedded world: two clips of each video, a small Slow ResNet-18.

    Settings: ours.
    Command: `fullrank train w_mse.moving_digits`. Not measured.
    """
    method = WMSE.Config(
        rho=2, augmentation=policies.digits(_targets.MOVING_DIGITS_PIXELS), projector=(256, 32), whitening_size=64
    )
    return RunConfig[WMSE.Config](method=method, **_targets.MOVING_DIGITS)


def video() -> RunConfig[WMSE.Config]:
    """Any folder of videos, on one machine.

    Settings: ours; a batch of 32 can whiten few dimensions: raise --data.batch-size where memory allows, and with it
    --method.whitening-size and the width.
    Command: `fullrank train w_mse.video --data.path my_videos/`. Not measured.
    """
    method = WMSE.Config(rho=2, augmentation=policies.slowfast(_targets.VIDEO_PIXELS), projector=(512, 12), whitening_size=32)
    return RunConfig[WMSE.Config](method=method, **_targets.VIDEO)


def images() -> RunConfig[WMSE.Config]:
    """Any folder of images, on one machine.

    Settings: ours, with SimCLR's augmentation.
    Command: `fullrank train w_mse.images --data.path my_images/`. Not measured.
    """
    method = WMSE.Config(augmentation=policies.simclr(_targets.IMAGES_PIXELS), projector=(1024, 32), whitening_size=64)
    return RunConfig[WMSE.Config](method=method, **_targets.IMAGES)


def cifar10() -> RunConfig[WMSE.Config]:
    """CIFAR-10 as solo-learn trains it: 1000 epochs, batch 256.

    Settings: solo-learn, scripts/pretrain/cifar/wmse.yaml (Adam 2e-3 for a batch of 256, weight decay 1e-6, warm-up 10 epochs,
    projector 1024-64, 128 rows whitened, crops from 0.2, jitter 0.8 / 0.8 / 0.8 / 0.2, no blur); our AdamW decays apart from
    the gradient, which 1e-6 does not show. It reports 88.67 % (linear, trained online).
    Command: `fullrank train w_mse.cifar10 --data.path cifar10/`. Not measured.
    """
    views = policies.cifar_symmetric(32).model_copy(update={"min_scale": 0.2, "blur_prob": (0.0,)})
    return RunConfig[WMSE.Config](
        method=WMSE.Config(augmentation=views, projector=(1024, 64), whitening_size=128),
        optimizer=OptimizerConfig(name="adamw", base_learning_rate=2e-3, weight_decay=1e-6, warmup_epochs=10.0),
        epochs=1000.0,
        **_targets.cifar10(256),
    )

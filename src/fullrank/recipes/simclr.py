"""Recipes of SimCLR."""

from fullrank.config import OptimizerConfig, RunConfig
from fullrank.methods.simclr import SimCLR
from fullrank.recipes import _targets
from fullrank.views import policies


def tiny() -> RunConfig[SimCLR.Config]:
    """Conformance: some seconds on one CPU core, on the embedded world.

    Settings: ours.
    Command: `fullrank train simclr.tiny`. Not measured.
    """
    method = SimCLR.Config(rho=2, augmentation=policies.digits(_targets.TINY_PIXELS), projector=(64, 32), temperature=0.3)
    return RunConfig[SimCLR.Config](method=method, **_targets.TINY)


def moving_digits() -> RunConfig[SimCLR.Config]:
    """The embedded world: three clips of each video, a small Slow ResNet-18.

    Settings: ours. A third clip teaches motion, and crops from 0.65 instead of 0.5 end the first steps, in which nothing is
    learned, after half as many (docs/lab-notes.md); a step has as many clips as those of the other methods.
    Command: `fullrank train simclr.moving_digits`. Measured: table `demo` of docs/results.md.
    """
    augmentation = policies.digits(_targets.MOVING_DIGITS_PIXELS).model_copy(update={"min_scale": 0.65})
    method = SimCLR.Config(rho=3, augmentation=augmentation, projector=(256, 128), temperature=0.1)
    data = _targets.MOVING_DIGITS["data"].model_copy(update={"batch_size": 86})
    return RunConfig[SimCLR.Config](method=method, **{**_targets.MOVING_DIGITS, "data": data})


def video() -> RunConfig[SimCLR.Config]:
    """Any folder of videos, on one machine.

    Settings: ours. A batch of 32 has 62 negatives: raise --data.batch-size where memory allows.
    Command: `fullrank train simclr.video --data.path my_videos/`. Not measured.
    """
    method = SimCLR.Config(rho=2, augmentation=policies.slowfast(_targets.VIDEO_PIXELS), projector=(512, 128), temperature=0.2)
    return RunConfig[SimCLR.Config](method=method, **_targets.VIDEO)


def images() -> RunConfig[SimCLR.Config]:
    """Any folder of images, on one machine.

    Settings: ours, with the paper's augmentation.
    Command: `fullrank train simclr.images --data.path my_images/`. Not measured.
    """
    method = SimCLR.Config(augmentation=policies.simclr(_targets.IMAGES_PIXELS), projector=(512, 128), temperature=0.2)
    return RunConfig[SimCLR.Config](method=method, **_targets.IMAGES)


def cifar10() -> RunConfig[SimCLR.Config]:
    """CIFAR-10 as lightly's benchmark: 200 epochs, batch 512.

    Settings: lightly, cifar10_benchmark.py (SGD 0.06 x batch / 128, weight decay 5e-4, cosine without warm-up, head
    512-128, temperature 0.5, no blur); it reports 84.8 % (kNN, the best epoch).
    Command: `fullrank train simclr.cifar10 --data.path cifar10/`. Measured (143 epochs): table `cifar10-full`, docs/results.md.
    """
    return RunConfig[SimCLR.Config](
        method=SimCLR.Config(augmentation=policies.cifar_simclr(32), projector=(512, 128), temperature=0.5),
        **_targets.LIGHTLY,
    )


def imagenet() -> RunConfig[SimCLR.Config]:
    """ImageNet-1k as the paper: ResNet-50, 1000 epochs, batch 4096.

    Settings: Chen et al., 2020 (LARS 0.3 for a batch of 256, weight decay 1e-6, warm-up 10 epochs, head 2048-128,
    temperature 0.1; residual blocks start as their shortcuts, as in their code); they report 69.3 % (linear).
    Command: `fullrank train simclr.imagenet --data.path imagenet/train`. Not measured.
    """
    return RunConfig[SimCLR.Config](
        method=SimCLR.Config(augmentation=policies.simclr(_targets.IMAGENET_PIXELS)),
        optimizer=OptimizerConfig(name="lars", base_learning_rate=0.3, weight_decay=1e-6, warmup_epochs=10.0),
        epochs=1000.0,
        **_targets.imagenet(4096, zero_init_residual=True),
    )


def kinetics400() -> RunConfig[SimCLR.Config]:
    """Kinetics-400 as PySlowFast: Slow ResNet-50 8x8, 200 epochs, four clips.

    Settings: SimCLR_SlowR50_8x8.yaml (rho 4, LARS 1.2 for a batch of 64, weight decay 1e-6, warm-up 35 epochs, head
    2048-2048-128 without BatchNorm, temperature 0.1, float32). Its code pairs neighbouring clips only, we all pairs.
    With rho 2 it reports 61.5 % (linear).
    Command: `fullrank train simclr.kinetics400 --data.path kinetics400/train`. Not measured.
    """
    return RunConfig[SimCLR.Config](
        method=SimCLR.Config(
            rho=4,
            augmentation=policies.slowfast(_targets.KINETICS400_PIXELS),
            projector=(2048, 2048, 128),
            projector_batch_norm="none",
            temperature=0.1,
        ),
        optimizer=OptimizerConfig(
            name="lars", base_learning_rate=4.8, weight_decay=1e-6, warmup_epochs=35.0, cosine_after_warmup=False
        ),
        precision="fp32",
        **_targets.KINETICS400,
    )

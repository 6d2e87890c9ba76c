"""Recipes of DirectCLR."""

from fullrank.config import OptimizerConfig, RunConfig
from fullrank.methods.direct_clr import DirectCLR
from fullrank.recipes import _targets
from fullrank.views import policies


def tiny() -> RunConfig[DirectCLR.Config]:
    """Conformance: some seconds on one CPU core, on the embedded world.

    Settings: ours.
    Command: `fullrank train direct_clr.tiny`. Not measured.
    """
    method = DirectCLR.Config(rho=2, augmentation=policies.digits(_targets.TINY_PIXELS), subvector_dim=16, temperature=0.2)
    return RunConfig[DirectCLR.Config](method=method, **_targets.TINY)


def moving_digits() -> RunConfig[DirectCLR.Config]:
    """The embedded world: two clips of each video, a small Slow ResNet-18.

    Settings: ours; a quarter of the representation.
    Command: `fullrank train direct_clr.moving_digits`. Not measured.
    """
    method = DirectCLR.Config(
        rho=2, augmentation=policies.digits(_targets.MOVING_DIGITS_PIXELS), subvector_dim=32, temperature=0.1
    )
    return RunConfig[DirectCLR.Config](method=method, **_targets.MOVING_DIGITS)


def video() -> RunConfig[DirectCLR.Config]:
    """Any folder of videos, on one machine.

    Settings: ours. A batch of 32 has 31 negatives: raise --data.batch-size where memory allows.
    Command: `fullrank train direct_clr.video --data.path my_videos/`. Not measured.
    """
    method = DirectCLR.Config(rho=2, augmentation=policies.slowfast(_targets.VIDEO_PIXELS), subvector_dim=64, temperature=0.2)
    return RunConfig[DirectCLR.Config](method=method, **_targets.VIDEO)


def images() -> RunConfig[DirectCLR.Config]:
    """Any folder of images, on one machine.

    Settings: ours, with SimCLR's augmentation; the paper's share of the representation.
    Command: `fullrank train direct_clr.images --data.path my_images/`. Not measured.
    """
    method = DirectCLR.Config(augmentation=policies.simclr(_targets.IMAGES_PIXELS), subvector_dim=90, temperature=0.2)
    return RunConfig[DirectCLR.Config](method=method, **_targets.IMAGES)


def cifar10() -> RunConfig[DirectCLR.Config]:
    """CIFAR-10 with the schedule of lightly's benchmark: 200 epochs, batch 512.

    Settings: ours (nobody has published DirectCLR on CIFAR-10): lightly's SGD and views, the paper's share of the
    representation (90 of 512) and temperature.
    Command: `fullrank train direct_clr.cifar10 --data.path cifar10/`. Not measured.
    """
    return RunConfig[DirectCLR.Config](
        method=DirectCLR.Config(augmentation=policies.cifar_simclr(32), subvector_dim=90),
        **_targets.LIGHTLY,
    )


def imagenet() -> RunConfig[DirectCLR.Config]:
    """ImageNet-1k as the paper: ResNet-50, 100 epochs, batch 4096.

    Settings: Jing et al., 2022, and the authors' code (LARS 4.8 for a batch of 4096, so 0.3 for 256, weight decay 1e-6, warm-up
    10 epochs, down to a thousandth, d0 360, temperature 0.1, BYOL's views); they report 62.7 % (linear).
    Command: `fullrank train direct_clr.imagenet --data.path imagenet/train`. Not measured.
    """
    return RunConfig[DirectCLR.Config](
        method=DirectCLR.Config(augmentation=policies.byol(_targets.IMAGENET_PIXELS)),
        optimizer=OptimizerConfig(name="lars", base_learning_rate=0.3, weight_decay=1e-6, warmup_epochs=10.0, end_ratio=0.001),
        epochs=100.0,
        **_targets.imagenet(4096, zero_init_residual=True),
    )

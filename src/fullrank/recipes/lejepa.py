"""Recipes of LeJEPA."""

from fullrank.config import Augmentation, BackboneConfig, OptimizerConfig, RunConfig
from fullrank.methods.lejepa import LeJEPA
from fullrank.recipes import _targets
from fullrank.views import policies


def _views(size_pixels: int, min_scale: float, max_scale: float) -> Augmentation:
    """The authors' README: colours and blur as VICReg's, solarize 0.2; global crops from 0.3, local ones 0.05 to 0.3."""
    return policies.vicreg(size_pixels).model_copy(
        update={"min_scale": min_scale, "max_scale": max_scale, "solarize_prob": (0.2,)}
    )


def tiny() -> RunConfig[LeJEPA.Config]:
    """Conformance: some seconds on one CPU core, on the embedded world.

    Settings: ours.
    Command: `fullrank train lejepa.tiny`. Not measured.
    """
    method = LeJEPA.Config(rho=2, augmentation=policies.digits(_targets.TINY_PIXELS), projector=(64, 32), num_slices=64)
    return RunConfig[LeJEPA.Config](method=method, **_targets.TINY)


def moving_digits() -> RunConfig[LeJEPA.Config]:
    """The embedded world: two clips of each video, a small Slow ResNet-18.

    Settings: ours.
    Command: `fullrank train lejepa.moving_digits`. Not measured.
    """
    method = LeJEPA.Config(
        rho=2, augmentation=policies.digits(_targets.MOVING_DIGITS_PIXELS), projector=(256, 256, 32), num_slices=256
    )
    return RunConfig[LeJEPA.Config](method=method, **_targets.MOVING_DIGITS)


def video() -> RunConfig[LeJEPA.Config]:
    """Any folder of videos, on one machine.

    Settings: ours.
    Command: `fullrank train lejepa.video --data.path my_videos/`. Not measured.
    """
    method = LeJEPA.Config(
        rho=2, augmentation=policies.slowfast(_targets.VIDEO_PIXELS), projector=(1024, 1024, 64), num_slices=512
    )
    return RunConfig[LeJEPA.Config](method=method, **_targets.VIDEO)


def images() -> RunConfig[LeJEPA.Config]:
    """Any folder of images, on one machine.

    Settings: ours, with the authors' augmentation: two global and four small views.
    Command: `fullrank train lejepa.images --data.path my_images/`. Not measured.
    """
    method = LeJEPA.Config(
        augmentation=_views(_targets.IMAGES_PIXELS, 0.3, 1.0),
        num_local=4,
        local_augmentation=_views(48, 0.05, 0.3),
        projector=(2048, 2048, 64),
    )
    return RunConfig[LeJEPA.Config](method=method, **_targets.IMAGES)


def cifar10() -> RunConfig[LeJEPA.Config]:
    """CIFAR-10 with two views: 200 epochs, batch 512.

    Settings: ours, as far as the authors' README goes (AdamW 5e-4, weight decay 5e-4 for ResNets, down to a thousandth; lambda
    0.05); views as the other CIFAR-10 recipes. For comparison: eb_jepa, with a SIGReg of its own, LARS and 300 epochs, reports
    91.0 % (linear, trained online).
    Command: `fullrank train lejepa.cifar10 --data.path cifar10/`. Not measured.
    """
    return RunConfig[LeJEPA.Config](
        method=LeJEPA.Config(augmentation=policies.cifar_vicreg(32)),
        optimizer=OptimizerConfig(name="adamw", base_learning_rate=5e-4, weight_decay=5e-4, warmup_epochs=5.0, end_ratio=0.001),
        epochs=200.0,
        **_targets.cifar10(512),
    )


def imagenet() -> RunConfig[LeJEPA.Config]:
    """ImageNet-1k as the authors' README, with a ViT-S/16: 100 epochs, batch 512, 2 x 224 and 6 x 96.

    Settings: the authors' README (AdamW 5e-4, weight decay 0.05 for transformers, down to a thousandth, two global views from
    0.3 and six local ones below 0.3; lambda 0.05) with the network and batch of lightly's benchmark, which reports 64.0 %
    (linear; before a correction of its loss).
    Command: `fullrank train lejepa.imagenet --data.path imagenet/train`. Not measured.
    """
    data = _targets.imagenet(512)["data"]
    return RunConfig[LeJEPA.Config](
        method=LeJEPA.Config(
            augmentation=_views(_targets.IMAGENET_PIXELS, 0.3, 1.0), num_local=6, local_augmentation=_views(96, 0.05, 0.3)
        ),
        backbone=BackboneConfig(name="vit", size="small", max_frames=1, drop_path=0.1),
        data=data,
        optimizer=OptimizerConfig(
            name="adamw", base_learning_rate=2.5e-4, weight_decay=0.05, warmup_epochs=1.0, end_ratio=0.001
        ),
        epochs=100.0,
    )

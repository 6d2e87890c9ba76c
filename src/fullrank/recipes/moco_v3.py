"""Recipes of MoCo v3."""

from fullrank.config import BackboneConfig, OptimizerConfig, RunConfig
from fullrank.methods.moco_v3 import MoCoV3
from fullrank.recipes import _targets
from fullrank.views import policies


def tiny() -> RunConfig[MoCoV3.Config]:
    """Conformance: some seconds on one CPU core, on the embedded world.

    Settings: ours.
    Command: `fullrank train moco_v3.tiny`. Not measured.
    """
    method = MoCoV3.Config(
        rho=2,
        augmentation=policies.digits(_targets.TINY_PIXELS),
        projector=(64, 32),
        predictor_hidden=64,
        temperature=0.2,
        momentum=0.9,
    )
    return RunConfig[MoCoV3.Config](method=method, **_targets.TINY)


def moving_digits() -> RunConfig[MoCoV3.Config]:
    """The embedded world: two clips of each video, a small Slow ResNet-18.

    Settings: ours; a short run needs a teacher that follows quickly.
    Command: `fullrank train moco_v3.moving_digits`. Not measured.
    """
    method = MoCoV3.Config(
        rho=2,
        augmentation=policies.digits(_targets.MOVING_DIGITS_PIXELS),
        projector=(512, 128),
        predictor_hidden=512,
        temperature=0.2,
        momentum=0.97,
    )
    return RunConfig[MoCoV3.Config](method=method, **_targets.MOVING_DIGITS)


def video() -> RunConfig[MoCoV3.Config]:
    """Any folder of videos, on one machine.

    Settings: ours. A batch of 32 has 31 negatives: raise --data.batch-size where memory allows.
    Command: `fullrank train moco_v3.video --data.path my_videos/`. Not measured.
    """
    method = MoCoV3.Config(
        rho=2,
        augmentation=policies.slowfast(_targets.VIDEO_PIXELS),
        projector=(1024, 256),
        predictor_hidden=1024,
        temperature=0.2,
    )
    return RunConfig[MoCoV3.Config](method=method, **_targets.VIDEO)


def images() -> RunConfig[MoCoV3.Config]:
    """Any folder of images, on one machine.

    Settings: ours, with the paper's augmentation.
    Command: `fullrank train moco_v3.images --data.path my_images/`. Not measured.
    """
    method = MoCoV3.Config(
        augmentation=policies.byol(_targets.IMAGES_PIXELS).model_copy(update={"min_scale": 0.2}),
        projector=(2048, 256),
        predictor_hidden=2048,
        temperature=0.2,
    )
    return RunConfig[MoCoV3.Config](method=method, **_targets.IMAGES)


def cifar10() -> RunConfig[MoCoV3.Config]:
    """CIFAR-10 as solo-learn's benchmark: 1000 epochs, batch 256.

    Settings: solo-learn, cifar/mocov3.yaml (LARS 0.3 with eta 0.02 and clip, weight decay 1e-6, warm-up 10 epochs,
    projector 4096-256, predictor 4096-256, temperature 0.2, momentum 0.99 to 1, asymmetric views without blur); it
    reports 93.1 % (linear probe trained beside).
    Command: `fullrank train moco_v3.cifar10 --data.path cifar10/`. Not measured.
    """
    return RunConfig[MoCoV3.Config](
        method=MoCoV3.Config(augmentation=policies.cifar_asymmetric(32), temperature=0.2),
        optimizer=OptimizerConfig(
            name="lars",
            base_learning_rate=0.3,
            weight_decay=1e-6,
            trust_coefficient=0.02,
            clip_trust=True,
            warmup_epochs=10.0,
        ),
        epochs=1000.0,
        **_targets.cifar10(256),
    )


def imagenet() -> RunConfig[MoCoV3.Config]:
    """ImageNet-1k as the authors' code: ResNet-50, 300 epochs, batch 4096.

    Settings: CONFIG.md and defaults of the authors' code (LARS 0.3 for a batch of 256, weight decay 1e-6, warm-up 10
    epochs, projector and predictor 4096-256, temperature 1, momentum 0.99 to 1, crops from 0.2); it reports 72.8 %
    (linear).
    Command: `fullrank train moco_v3.imagenet --data.path imagenet/train`. Not measured.
    """
    return RunConfig[MoCoV3.Config](
        method=MoCoV3.Config(augmentation=policies.byol(_targets.IMAGENET_PIXELS).model_copy(update={"min_scale": 0.2})),
        optimizer=OptimizerConfig(name="lars", base_learning_rate=0.3, weight_decay=1e-6, warmup_epochs=10.0),
        epochs=300.0,
        **_targets.imagenet(4096, zero_init_residual=True),
    )


def imagenet_vit() -> RunConfig[MoCoV3.Config]:
    """ImageNet-1k as the authors' code: ViT-S of 12 heads, 300 epochs, batch 4096.

    Settings: CONFIG.md and defaults of the authors' code (AdamW 1.5e-4 for a batch of 256, weight decay 0.1, warm-up 40
    epochs, projector 4096-4096-256, predictor 4096-256 with BatchNorm at its end, temperature 0.2, momentum 0.99 to 1, crops
    from 0.08, fixed positions, patch projection frozen); it reports 73.2 % (linear).
    Command: `fullrank train moco_v3.imagenet_vit --data.path imagenet/train`. Not measured.
    """
    return RunConfig[MoCoV3.Config](
        method=MoCoV3.Config(
            augmentation=policies.byol(_targets.IMAGENET_PIXELS),
            projector=(4096, 4096, 256),
            predictor_last_batch_norm=True,
            temperature=0.2,
            frozen_patch_projection=True,
        ),
        optimizer=OptimizerConfig(name="adamw", base_learning_rate=1.5e-4, weight_decay=0.1, warmup_epochs=40.0),
        epochs=300.0,
        **_targets.imagenet(4096) | {"backbone": BackboneConfig(name="vit", size="small", heads=12, positions="sincos")},
    )


def kinetics400() -> RunConfig[MoCoV3.Config]:
    """Kinetics-400 with two clips, Slow ResNet-50, 200 epochs.

    Settings: our own choice (nobody has published MoCo v3 on Kinetics in this setting): data and views as PySlowFast's
    other methods, optimizer and heads as the authors' ResNet-50, warm-up as PySlowFast.
    Command: `fullrank train moco_v3.kinetics400 --data.path kinetics400/train`. Not measured.
    """
    return RunConfig[MoCoV3.Config](
        method=MoCoV3.Config(rho=2, augmentation=policies.slowfast(_targets.KINETICS400_PIXELS)),
        optimizer=OptimizerConfig(name="lars", base_learning_rate=0.3, weight_decay=1e-6, warmup_epochs=35.0),
        **_targets.KINETICS400,
    )

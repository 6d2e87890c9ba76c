"""Recipes of DINO."""

from fullrank.config import Augmentation, BackboneConfig, OptimizerConfig, RunConfig
from fullrank.methods.dino import DINO
from fullrank.recipes import _targets
from fullrank.views import policies


def _global(size_pixels: int) -> Augmentation:
    """The authors' large crops: BYOL's colours, 0.4 to 1 of the picture."""
    return policies.byol(size_pixels).model_copy(update={"min_scale": 0.4})


def _local(size_pixels: int) -> Augmentation:
    """The authors' small crops: 0.05 to 0.4 of the picture, blur 0.5, no solarize."""
    return _global(size_pixels).model_copy(
        update={"min_scale": 0.05, "max_scale": 0.4, "blur_prob": (0.5,), "solarize_prob": (0.0,)}
    )


def _digits_local(size_pixels: int) -> Augmentation:
    return policies.digits(size_pixels).model_copy(update={"min_scale": 0.25, "max_scale": 0.5})


def tiny() -> RunConfig[DINO.Config]:
    """Conformance: some seconds on one CPU core, on the embedded world.

    Settings: ours.
    Command: `fullrank train dino.tiny`. Not measured.
    """
    method = DINO.Config(
        rho=2,
        augmentation=policies.digits(_targets.TINY_PIXELS),
        num_local=1,
        local_augmentation=_digits_local(_targets.TINY_LOCAL_PIXELS),
        projector=(64, 32),
        projector_batch_norm=True,
        num_dimensions=64,
        freeze_last_layer_epochs=0.0,
        teacher_temperature=0.04,
        momentum=0.9,
    )
    return RunConfig[DINO.Config](method=method, **_targets.TINY)


def moving_digits() -> RunConfig[DINO.Config]:
    """The embedded world: two clips of each video and two local views of each, a small Slow ResNet-18.

    Settings: ours; a short run needs a teacher that follows quickly, and a learning rate near the paper's (at the other
    recipes' 0.006 the output becomes uniform).
    Command: `fullrank train dino.moving_digits`. Not measured.
    """
    method = DINO.Config(
        rho=2,
        augmentation=policies.digits(_targets.MOVING_DIGITS_PIXELS),
        num_local=2,
        local_augmentation=_digits_local(16),
        projector=(512, 512, 128),
        projector_batch_norm=True,
        num_dimensions=1024,
        teacher_temperature=0.04,
        momentum=0.97,
    )
    optimizer = _targets.MOVING_DIGITS["optimizer"].model_copy(update={"base_learning_rate": 1e-3})
    return RunConfig[DINO.Config](method=method, **_targets.MOVING_DIGITS | {"optimizer": optimizer})


def video() -> RunConfig[DINO.Config]:
    """Any folder of videos, on one machine.

    Settings: ours.
    Command: `fullrank train dino.video --data.path my_videos/`. Not measured.
    """
    method = DINO.Config(
        rho=2,
        augmentation=policies.slowfast(_targets.VIDEO_PIXELS),
        num_local=2,
        local_augmentation=policies.slowfast(64).model_copy(update={"min_scale": 0.05, "max_scale": 0.2}),
        projector=(1024, 1024, 256),
        projector_batch_norm=True,
        num_dimensions=4096,
        teacher_temperature=0.04,
        momentum=0.99,
    )
    return RunConfig[DINO.Config](method=method, **_targets.VIDEO)


def images() -> RunConfig[DINO.Config]:
    """Any folder of images, on one machine, with four small views besides the two large ones.

    Settings: ours, with the paper's augmentation.
    Command: `fullrank train dino.images --data.path my_images/`. Not measured.
    """
    method = DINO.Config(
        augmentation=_global(_targets.IMAGES_PIXELS),
        num_local=4,
        local_augmentation=_local(48),
        projector=(1024, 1024, 256),
        projector_batch_norm=True,
        num_dimensions=4096,
        teacher_temperature=0.04,
        momentum=0.99,
    )
    return RunConfig[DINO.Config](method=method, **_targets.IMAGES)


def cifar10() -> RunConfig[DINO.Config]:
    """CIFAR-10 as lightly's benchmark: 200 epochs, batch 512, two views and no local ones.

    Settings: lightly, cifar10_benchmark.py (SGD 0.06 x batch / 128, weight decay 5e-4, cosine without warm-up, a head of
    two layers 2048-256 with BatchNorm, 2048 dimensions, teacher temperature 0.04, momentum 0.99, last layer never frozen,
    crops from 0.4, no blur); it reports 81.3 % (kNN, the best epoch).
    Command: `fullrank train dino.cifar10 --data.path cifar10/`. Not measured.
    """
    return RunConfig[DINO.Config](
        method=DINO.Config(
            augmentation=_global(32).model_copy(update={"blur_prob": (0.0,)}),
            num_local=0,
            projector=(2048, 256),
            projector_batch_norm=True,
            num_dimensions=2048,
            freeze_last_layer_epochs=0.0,
            teacher_temperature=0.04,
            momentum=0.99,
            final_momentum=0.99,
        ),
        **_targets.LIGHTLY,
    )


def imagenet() -> RunConfig[DINO.Config]:
    """ImageNet-1k as the authors' "vanilla" run: ViT-S/16, 100 epochs, batch 512, 2 x 224 and 8 x 96.

    Settings: README and defaults of the authors' code (AdamW 5e-4 for a batch of 256, down to 1e-6, warm-up 10 epochs,
    weight decay 0.04 to 0.4, teacher temperature 0.04, momentum 0.996 to 1, stochastic depth 0.1, gradients clipped at 3);
    it reports kNN 69.3 %, linear 74.0 %. It clips each tensor by itself, we the whole gradient, and crops with a cubic
    kernel.
    Command: `fullrank train dino.imagenet --data.path imagenet/train`. Not measured.
    """
    return RunConfig[DINO.Config](
        method=DINO.Config(
            augmentation=_global(_targets.IMAGENET_PIXELS), local_augmentation=_local(96), teacher_temperature=0.04
        ),
        optimizer=OptimizerConfig(
            name="adamw",
            base_learning_rate=5e-4,
            weight_decay=0.04,
            final_weight_decay=0.4,
            warmup_epochs=10.0,
            end_ratio=0.001,
            clip_grad_norm=3.0,
        ),
        epochs=100.0,
        **_targets.imagenet(512) | {"backbone": BackboneConfig(name="vit", size="small", drop_path=0.1)},
    )


def kinetics400() -> RunConfig[DINO.Config]:
    """Kinetics-400 with two clips, Slow ResNet-50, 200 epochs.

    Settings: our own choice (nobody has published DINO with this network on Kinetics; SVT is its form for video): data and
    views as PySlowFast's other methods, SGD 0.03 for a batch of 256 and weight decay 1e-4 as the authors' ResNet-50.
    Command: `fullrank train dino.kinetics400 --data.path kinetics400/train`. Not measured.
    """
    return RunConfig[DINO.Config](
        method=DINO.Config(
            rho=2,
            augmentation=policies.slowfast(_targets.KINETICS400_PIXELS),
            num_local=2,
            local_augmentation=policies.slowfast(96).model_copy(update={"min_scale": 0.05, "max_scale": 0.14}),
            teacher_temperature=0.04,
        ),
        optimizer=OptimizerConfig(name="sgd", base_learning_rate=0.03, weight_decay=1e-4, warmup_epochs=10.0),
        **_targets.KINETICS400,
    )

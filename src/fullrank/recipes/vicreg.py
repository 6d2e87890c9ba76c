"""Recipes of VICReg."""

from fullrank.config import OptimizerConfig, RunConfig
from fullrank.methods.vicreg import VICReg
from fullrank.recipes import _targets
from fullrank.views import policies


def tiny() -> RunConfig[VICReg.Config]:
    """Conformance: some seconds on one CPU core, on the embedded world.

    Settings: ours.
    Command: `fullrank train vicreg.tiny`. Not measured.
    """
    method = VICReg.Config(rho=2, augmentation=policies.digits(_targets.TINY_PIXELS), projector=(64, 64))
    return RunConfig[VICReg.Config](method=method, **_targets.TINY)


def moving_digits() -> RunConfig[VICReg.Config]:
    """The embedded world: two clips of each video, a small Slow ResNet-18.

    Settings: ours.
    Command: `fullrank train vicreg.moving_digits`. Not measured.
    """
    method = VICReg.Config(rho=2, augmentation=policies.digits(_targets.MOVING_DIGITS_PIXELS), projector=(512, 512, 512))
    return RunConfig[VICReg.Config](method=method, **_targets.MOVING_DIGITS)


def video() -> RunConfig[VICReg.Config]:
    """Any folder of videos, on one machine.

    Settings: ours; the projector is narrower than the paper's, because a batch of 32 cannot decorrelate 8192
    dimensions.
    Command: `fullrank train vicreg.video --data.path my_videos/`. Not measured.
    """
    method = VICReg.Config(rho=2, augmentation=policies.slowfast(_targets.VIDEO_PIXELS), projector=(1024, 1024, 1024))
    return RunConfig[VICReg.Config](method=method, **_targets.VIDEO)


def two_streams() -> RunConfig[VICReg.Config]:
    """Any folder of videos: one network sees the colours, another one the change from frame to frame.

    Settings: ours; views, clips and projector as `vicreg.video`. `fullrank extract --branch second` gives what the network of
    the changes has learned; `--method.streams rgb flow` takes optical flow instead.
    Command: `fullrank train vicreg.two_streams --data.path my_videos/`. Not measured.
    """
    method = VICReg.Config(
        rho=2,
        augmentation=policies.slowfast(_targets.VIDEO_PIXELS),
        projector=(1024, 1024, 1024),
        separate_backbones=True,
        streams=("rgb", "difference"),
    )
    return RunConfig[VICReg.Config](method=method, **_targets.VIDEO)


def images() -> RunConfig[VICReg.Config]:
    """Any folder of images, on one machine.

    Settings: ours, with the paper's augmentation.
    Command: `fullrank train vicreg.images --data.path my_images/`. Not measured.
    """
    method = VICReg.Config(augmentation=policies.vicreg(_targets.IMAGES_PIXELS), projector=(2048, 2048, 2048))
    return RunConfig[VICReg.Config](method=method, **_targets.IMAGES)


def cifar10() -> RunConfig[VICReg.Config]:
    """CIFAR-10 as solo-learn trains it: 1000 epochs with LARS.

    Settings: solo-learn, scripts/pretrain/cifar/vicreg.yaml (LARS 0.3 for a batch of 256, eta 0.02, clip_lr, weight
    decay 1e-4, warm-up 10 epochs, projector 2048-2048-2048, no blur, solarize 0.1); it reports 92.07 % (linear,
    trained online). It adds the variance terms of both views up, ours is their mean, so its weight of 25 is 50 here.
    Command: `fullrank train vicreg.cifar10 --data.path cifar10/`. Not measured.
    """
    return RunConfig[VICReg.Config](
        method=VICReg.Config(augmentation=policies.cifar_vicreg(32), projector=(2048, 2048, 2048), variance_weight=50.0),
        optimizer=OptimizerConfig(
            name="lars",
            base_learning_rate=0.3,
            weight_decay=1e-4,
            trust_coefficient=0.02,
            clip_trust=True,
            warmup_epochs=10.0,
        ),
        epochs=1000.0,
        **_targets.cifar10(256),
    )


def imagenet() -> RunConfig[VICReg.Config]:
    """ImageNet-1k as the paper: ResNet-50, 1000 epochs, batch 2048.

    Settings: Bardes et al., 2022, and the authors' README (LARS 0.2 for a batch of 256, weight decay 1e-6, warm-up 10
    epochs, down to a thousandth); they report 73.2 % (linear). Views are those of appendix C.1, alike on both sides; their
    code has BYOL's two (``policies.byol``).
    Command: `fullrank train vicreg.imagenet --data.path imagenet/train`. Not measured.
    """
    return RunConfig[VICReg.Config](
        method=VICReg.Config(augmentation=policies.vicreg(_targets.IMAGENET_PIXELS)),
        optimizer=OptimizerConfig(name="lars", base_learning_rate=0.2, weight_decay=1e-6, warmup_epochs=10.0, end_ratio=0.001),
        epochs=1000.0,
        **_targets.imagenet(2048, zero_init_residual=True),
    )


def kinetics400() -> RunConfig[VICReg.Config]:
    """Kinetics-400 with two clips, Slow ResNet-50, 200 epochs.

    Settings: our own choice (nobody has published VICReg on Kinetics in this setting): data and views as PySlowFast's
    other methods, LARS 0.3 for a batch of 256 as the authors' 100-epoch ImageNet run, warm-up as PySlowFast.
    Command: `fullrank train vicreg.kinetics400 --data.path kinetics400/train`. Not measured.
    """
    return RunConfig[VICReg.Config](
        method=VICReg.Config(rho=2, augmentation=policies.slowfast(_targets.KINETICS400_PIXELS), projector=(4096, 4096, 4096)),
        optimizer=OptimizerConfig(name="lars", base_learning_rate=0.3, weight_decay=1e-6, warmup_epochs=35.0),
        **_targets.KINETICS400,
    )

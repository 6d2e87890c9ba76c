"""Named augmentation policies: functions that return an ``Augmentation``, each with its source.

A policy with a tuple of two probabilities is asymmetric: view 0 has the first, view 1 the second, view 2 the first again.
Sigmas of the blur are in pixels of the crop, whatever its size, as in all the code named here.
"""

from fullrank.config import Augmentation

CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
"""of the training set; solo-learn normalises with these, lightly with ImageNet's"""


def simclr(size_pixels: int = 224, strength: float = 1.0) -> Augmentation:
    """SimCLR (Chen et al., 2020, appendix A): crops from 0.08, jitter 0.8 / 0.8 / 0.8 / 0.2 times ``strength``, blur 0.5.

    The paper takes strength 1 for ImageNet, and 0.5 without blur for CIFAR-10 (``cifar_simclr``).
    """
    return Augmentation(
        size_pixels=size_pixels,
        min_scale=0.08,
        brightness=0.8 * strength,
        contrast=0.8 * strength,
        saturation=0.8 * strength,
        hue=0.2 * strength,
    )


def moco_v2(size_pixels: int = 224) -> Augmentation:
    """MoCo v2 (Chen et al., 2020; main_moco.py --aug-plus): crops from 0.2, jitter 0.4 / 0.4 / 0.4 / 0.1, blur 0.5."""
    return Augmentation(size_pixels=size_pixels, min_scale=0.2)


def byol(size_pixels: int = 224) -> Augmentation:
    """BYOL (Grill et al., 2020, table 6), asymmetric: blur 1.0 and 0.1, solarize 0.0 and 0.2."""
    return Augmentation(size_pixels=size_pixels, min_scale=0.08, saturation=0.2, blur_prob=(1.0, 0.1), solarize_prob=(0.0, 0.2))


def vicreg(size_pixels: int = 224) -> Augmentation:
    """VICReg (Bardes et al., 2022, appendix C.1), the same for both views: blur 0.5, solarize 0.1."""
    return Augmentation(size_pixels=size_pixels, min_scale=0.08, saturation=0.2, solarize_prob=(0.1,))


def swav(size_pixels: int = 224) -> Augmentation:
    """SwAV's two large crops (Caron et al., 2020; main_swav.py): crops from 0.14, colours as SimCLR."""
    return simclr(size_pixels).model_copy(update={"min_scale": 0.14})


def swav_local(size_pixels: int = 96) -> Augmentation:
    """SwAV's small crops: 0.05 to 0.14 of the picture, colours as SimCLR."""
    return simclr(size_pixels).model_copy(update={"min_scale": 0.05, "max_scale": 0.14})


def slowfast(size_pixels: int = 224) -> Augmentation:
    """PySlowFast's contrastive_ssl (Feichtenhofer et al., 2021): crops 0.2 to 0.766, jitter 0.6 / 0.6 / 0.6 / 0.15, blur 0.5.

    Its mean and standard deviation are 0.45 and 0.225 for every channel.
    """
    return Augmentation(
        size_pixels=size_pixels,
        min_scale=0.2,
        max_scale=0.766,
        brightness=0.6,
        contrast=0.6,
        saturation=0.6,
        hue=0.15,
        mean=(0.45, 0.45, 0.45),
        std=(0.225, 0.225, 0.225),
    )


def cifar_simclr(size_pixels: int = 32) -> Augmentation:
    """CIFAR-10 benchmark of lightly: SimCLR at half strength without blur, normalised with ImageNet's mean and std."""
    return simclr(size_pixels, strength=0.5).model_copy(update={"blur_prob": (0.0,)})


def cifar_swav(size_pixels: int = 32) -> Augmentation:
    """CIFAR-10 benchmark of lightly for SwAV: two crops from 0.14, otherwise ``cifar_simclr``."""
    return cifar_simclr(size_pixels).model_copy(update={"min_scale": 0.14})


def cifar_simsiam(size_pixels: int = 32) -> Augmentation:
    """CIFAR-10 benchmark of lightly for SimSiam: crops from 0.2, jitter 0.4 / 0.4 / 0.4 / 0.1, as ``moco_v2``, without blur."""
    return moco_v2(size_pixels).model_copy(update={"blur_prob": (0.0,)})


def cifar_symmetric(size_pixels: int = 32) -> Augmentation:
    """solo-learn, cifar/augmentations/symmetric.yaml (SimCLR, SwAV): jitter 0.8 / 0.8 / 0.8 / 0.2, blur 0.5.

    Its crops are resized with a cubic kernel, ours with the triangle.
    """
    return simclr(size_pixels).model_copy(update={"mean": CIFAR10_MEAN, "std": CIFAR10_STD})


def cifar_symmetric_weak(size_pixels: int = 32) -> Augmentation:
    """solo-learn, cifar/augmentations/symmetric_weak.yaml (MoCo v2+, SimSiam): jitter 0.4 / 0.4 / 0.4 / 0.1, blur 0.5."""
    return Augmentation(size_pixels=size_pixels, min_scale=0.08, mean=CIFAR10_MEAN, std=CIFAR10_STD)


def cifar_asymmetric(size_pixels: int = 32) -> Augmentation:
    """solo-learn, cifar/augmentations/asymmetric.yaml (BYOL, Barlow Twins, DINO): no blur, solarize 0.0 and 0.2."""
    return Augmentation(
        size_pixels=size_pixels,
        min_scale=0.08,
        saturation=0.2,
        blur_prob=(0.0,),
        solarize_prob=(0.0, 0.2),
        mean=CIFAR10_MEAN,
        std=CIFAR10_STD,
    )


def cifar_vicreg(size_pixels: int = 32) -> Augmentation:
    """solo-learn, cifar/vicreg.yaml: crops from 0.2, jitter 0.4 / 0.4 / 0.2 / 0.1, no blur, solarize 0.1."""
    return Augmentation(
        size_pixels=size_pixels,
        min_scale=0.2,
        saturation=0.2,
        blur_prob=(0.0,),
        solarize_prob=(0.1,),
        mean=CIFAR10_MEAN,
        std=CIFAR10_STD,
    )


def weak(size_pixels: int = 224) -> Augmentation:
    """Random resized crop from 0.08 and flip: supervised training on ImageNet (Szegedy et al., 2015)."""
    return plain(size_pixels).model_copy(
        update={"min_scale": 0.08, "min_aspect": 3 / 4, "max_aspect": 4 / 3, "flip_prob": (0.5,)}
    )


def digits(size_pixels: int = 32) -> Augmentation:
    """The embedded world (ours): mild crops, brightness and contrast; no flip, which would change the motion's label."""
    return plain(size_pixels).model_copy(
        update={
            "min_scale": 0.5,
            "min_aspect": 4 / 5,
            "max_aspect": 5 / 4,
            "jitter_prob": (0.8,),
            "brightness": 0.4,
            "contrast": 0.4,
            "mean": (0.5, 0.5, 0.5),
            "std": (0.25, 0.25, 0.25),
        }
    )


def plain(size_pixels: int = 224) -> Augmentation:
    """Nothing is random: the largest square in the middle, resized; what other policies and the gallery start from."""
    none = (0.0,)
    return Augmentation(
        size_pixels=size_pixels,
        min_scale=1.0,
        min_aspect=1.0,
        max_aspect=1.0,
        flip_prob=none,
        jitter_prob=none,
        brightness=0.0,
        contrast=0.0,
        saturation=0.0,
        hue=0.0,
        grayscale_prob=none,
        blur_prob=none,
    )

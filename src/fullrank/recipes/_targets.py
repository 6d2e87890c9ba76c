"""What the recipes of all methods share: the data and the network of each target. A recipe adds its method and optimizer."""

from typing import Any

from fullrank.config import BackboneConfig, DataConfig, OptimizerConfig

TINY: dict[str, Any] = {
    "backbone": BackboneConfig(depth=18, width=0.125, stem="imagenet", temporal="slow"),
    "data": DataConfig(
        name="moving_digits", num_frames=4, frames_per_second=4.0, canvas_pixels=32, batch_size=32, num_workers=0
    ),
    "optimizer": OptimizerConfig(name="adamw", base_learning_rate=2.4e-2, weight_decay=1e-4, warmup_epochs=0.3),
    "epochs": 9.0,
    "max_steps": 250,
    "device": "cpu",
}
"""conformance: seconds on one core, and better than random weights after them (docs/lab-notes.md); four frames of a second;
learning rate 0.003"""
TINY_PIXELS = 32
TINY_LOCAL_PIXELS = 16

MOVING_DIGITS: dict[str, Any] = {
    "backbone": BackboneConfig(depth=18, width=0.25, stem="imagenet", temporal="slow"),
    "data": DataConfig(name="moving_digits", num_frames=8, frames_per_second=8.0, canvas_pixels=32, batch_size=128),
    "optimizer": OptimizerConfig(name="adamw", base_learning_rate=6e-3, weight_decay=1e-4, warmup_epochs=2.0),
    "epochs": 60.0,
}
"""the embedded world: eight frames of a second; the strided stem makes steps cheap; learning rate 0.003"""
MOVING_DIGITS_PIXELS = 32

VIDEO: dict[str, Any] = {
    "backbone": BackboneConfig(depth=18, width=0.5, temporal="slow"),
    "data": DataConfig(num_frames=8, frames_per_second=4.0, canvas_pixels=128, batch_size=32),
    "optimizer": OptimizerConfig(name="adamw", base_learning_rate=2e-3, weight_decay=1e-2, warmup_epochs=5.0),
    "epochs": 100.0,
}
"""any folder of videos on one machine: two seconds at 112 pixels; small enough that a CPU gets through, and on a GPU
`--backbone.width 1 --backbone.depth 50 --data.batch-size 128` is the larger one; learning rate 0.00025"""
VIDEO_PIXELS = 112

IMAGES: dict[str, Any] = {
    "backbone": BackboneConfig(depth=18, temporal="2d"),
    "data": DataConfig(num_frames=1, canvas_pixels=128, batch_size=128),
    "optimizer": OptimizerConfig(name="adamw", base_learning_rate=2e-3, weight_decay=1e-2, warmup_epochs=5.0),
    "epochs": 200.0,
}
"""any folder of images on one machine; learning rate 0.001"""
IMAGES_PIXELS = 96


def cifar10(batch_size: int) -> dict[str, Any]:
    """CIFAR-10 with the 3x3 stem and no max-pool, as lightly's and solo-learn's benchmarks."""
    return {
        "backbone": BackboneConfig(depth=18, stem="cifar", temporal="2d"),
        "data": DataConfig(name="cifar10", num_frames=1, canvas_pixels=32, batch_size=batch_size),
    }


LIGHTLY_BATCH = 512
LIGHTLY: dict[str, Any] = {
    **cifar10(LIGHTLY_BATCH),
    "optimizer": OptimizerConfig(name="sgd", base_learning_rate=0.12, weight_decay=5e-4),
    "epochs": 200.0,
}
"""lightly's CIFAR-10 benchmark: SGD 0.06 x batch / 128, so 0.12 for 256; momentum 0.9, cosine to 0, no warm-up. Its script
decays biases and norms too (no difference seen: docs/lab-notes.md)"""


def imagenet(batch_size: int, *, zero_init_residual: bool = False) -> dict[str, Any]:
    """ImageNet-1k from a folder, ResNet-50."""
    return {
        "backbone": BackboneConfig(depth=50, temporal="2d", zero_init_residual=zero_init_residual),
        "data": DataConfig(num_frames=1, canvas_pixels=256, batch_size=batch_size, num_workers=8),
    }


IMAGENET_PIXELS = 224

KINETICS400: dict[str, Any] = {
    "backbone": BackboneConfig(depth=50, temporal="slow"),
    "data": DataConfig(num_frames=8, frames_per_second=3.75, canvas_pixels=256, batch_size=64, num_workers=8),
    "epochs": 200.0,
}
"""PySlowFast's contrastive_ssl: Slow-only ResNet-50, 8 frames with stride 8 of 30 a second, 64 videos for each machine of 8
GPUs (BASE_LR belongs to those 64: times 4 for 256). Its warm-up starts at 0.001 and not at 0, and its momentum is Nesterov's"""
KINETICS400_PIXELS = 224

"""Every setting that is not a method's own, as frozen typed data; and how settings are read, hashed and saved.

A method's settings live in its file as ``Config(Settings)``; ``RunConfig`` is generic in them, because an annotation
with the base class would make pydantic drop the subclass's fields.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fullrank.errors import SettingError, did_you_mean

Prob = Annotated[float, Field(ge=0.0, le=1.0)]
Probs = Annotated[tuple[Prob, ...], Field(min_length=1)]


class Settings(BaseModel):
    """Base of all settings: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)

    def __init__(self, **data: Any):
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise SettingError(explain(error, type(self))) from None

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with changes, which are checked as settings are (pydantic's own copy would take anything)."""
        if not update:
            return super().model_copy(deep=deep)
        return type(self)(**{name: getattr(self, name) for name in type(self).model_fields} | dict(update))


class Augmentation(Settings):
    """One augmentation policy. A tuple of probabilities is cycled over the views of a group (view 0, view 1, ...)."""

    size_pixels: Annotated[int, Field(ge=4)] = 224
    """side of the square crop that the network sees"""
    min_scale: Annotated[float, Field(gt=0.0, le=1.0)] = 0.2
    """smallest area of a random crop, as a share of the frame"""
    max_scale: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """largest area of a random crop, as a share of the frame"""
    min_aspect: Annotated[float, Field(gt=0.0)] = 3 / 4
    """smallest width / height of a random crop"""
    max_aspect: Annotated[float, Field(gt=0.0)] = 4 / 3
    """largest width / height of a random crop"""
    flip_prob: Probs = (0.5,)
    """horizontal flip"""
    jitter_prob: Probs = (0.8,)
    """colour jitter as a whole"""
    brightness: Annotated[float, Field(ge=0.0)] = 0.4
    """factor drawn from [max(0, 1 - x), 1 + x]"""
    contrast: Annotated[float, Field(ge=0.0)] = 0.4
    """factor drawn from [max(0, 1 - x), 1 + x]"""
    saturation: Annotated[float, Field(ge=0.0)] = 0.4
    """factor drawn from [max(0, 1 - x), 1 + x]"""
    hue: Annotated[float, Field(ge=0.0, le=0.5)] = 0.1
    """shift drawn from [-x, x] of a full turn"""
    grayscale_prob: Probs = (0.2,)
    """colour dropped"""
    blur_prob: Probs = (0.5,)
    """Gaussian blur"""
    blur_min_sigma: Annotated[float, Field(gt=0.0)] = 0.1
    """smallest standard deviation of the blur, in pixels of the crop"""
    blur_max_sigma: Annotated[float, Field(gt=0.0)] = 2.0
    """largest standard deviation of the blur, in pixels of the crop"""
    solarize_prob: Probs = (0.0,)
    """values above the threshold inverted"""
    solarize_threshold: Prob = 0.5
    """threshold of solarize, in 0..1"""
    rotate_prob: Probs = (0.0,)
    """rotation by 90, 180 or 270 degrees"""
    cutout_prob: Probs = (0.0,)
    """a square set to the mean"""
    cutout_ratio: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    """side of the cut-out square, as a share of the crop's side"""
    noise_prob: Probs = (0.0,)
    """Gaussian noise"""
    noise_std: Annotated[float, Field(ge=0.0)] = 0.1
    """standard deviation of the noise, pixels being in 0..1"""
    sobel_prob: Probs = (0.0,)
    """magnitude of the Sobel gradient instead of the picture"""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """subtracted from the channels (pixels in 0..1)"""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """what the channels are divided by afterwards"""

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        for low, high in (("min_scale", "max_scale"), ("min_aspect", "max_aspect"), ("blur_min_sigma", "blur_max_sigma")):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low} must be at most {high}. Got {getattr(self, low)} and {getattr(self, high)}")
        return self


_TRANSFORMER = ("size", "layers", "heads", "patch_pixels", "image_pixels", "max_frames", "drop_path")
BACKBONE_SETTINGS: dict[str, tuple[str, ...]] = {
    "resnet": ("depth", "width", "stem", "temporal", "zero_init_residual"),
    "vit": (*_TRANSFORMER, "patch_frames", "positions", "class_token"),
    "timesformer": _TRANSFORMER,
    "s3d": ("gating",),
}
"""{name of a backbone: the settings that it uses}; one by import path uses none"""


class BackboneConfig(Settings):
    """The network that is kept."""

    name: str = "resnet"
    """"resnet", "vit", "timesformer", "s3d", or the import path of any factory of an nn.Module, as "package.module:factory\""""
    depth: Literal[18, 34, 50] = 18
    """layers of the ResNet"""
    width: Annotated[float, Field(gt=0.0)] = 1.0
    """factor on the channels of every stage (1.0: 64, 128, 256, 512)"""
    stem: Literal["imagenet", "cifar"] = "imagenet"
    """imagenet: 7x7 stride 2 and max-pool; cifar: 3x3 stride 1, for small pictures"""
    temporal: Literal["2d", "slow", "c2d", "i3d", "r2plus1d", "2d3d"] = "2d"
    """2d: frames apart, averaged; slow: Slow-only 3D network, temporal kernels of 3 in the last two stages; c2d and i3d: time
    halved once; r2plus1d: convolutions in space and in time by turns; 2d3d: DPC's, which keeps time in its first two stages and
    halves it in the last two"""
    zero_init_residual: bool = False
    """start every residual block as its shortcut (Goyal et al., 2017), as the code of VICReg, Barlow Twins and SimSiam does"""
    size: Literal["micro", "tiny", "small", "base", "large", "huge"] = "small"
    """vit and timesformer: width and heads (micro 64/2, tiny 192/3, small 384/6, base 768/12, large 1024/16, huge 1280/16)"""
    layers: Annotated[int, Field(ge=1)] | None = None
    """vit and timesformer: transformer blocks; 12 (large: 24, huge: 32) where not given"""
    heads: Annotated[int, Field(ge=1)] | None = None
    """vit and timesformer: attention heads, instead of the size's own (MoCo v3's small ViT has 12)"""
    patch_pixels: Annotated[int, Field(ge=1)] = 16
    """vit and timesformer: side of a patch"""
    patch_frames: Annotated[int, Field(ge=1)] = 1
    """vit: frames of a patch (1: each frame apart; 2: the tubelets of VideoMAE and V-JEPA)"""
    image_pixels: Annotated[int, Field(ge=1)] = 224
    """vit and timesformer: side for which positions are made; others are interpolated"""
    max_frames: Annotated[int, Field(ge=1)] = 8
    """vit and timesformer: frames for which positions are made; others are interpolated"""
    positions: Literal["learned", "sincos", "sincos_flat"] = "learned"
    """vit: learned; sincos: fixed, by axis (MAE, MoCo v3, V-JEPA); sincos_flat: fixed, by number of the token (VideoMAE)"""
    class_token: bool = True
    """vit: the representation is a learned token's; without it, the mean of the patches' (VideoMAE, V-JEPA)"""
    drop_path: Prob = 0.0
    """vit and timesformer: largest probability of skipping a block's branch (stochastic depth)"""
    gating: bool = False
    """s3d: S3D-G, with feature gating"""
    weights: Path | None = None
    """start from the backbone of this run folder, checkpoint or .safetensors file"""

    @model_validator(mode="after")
    def _only_used(self) -> Self:
        if self.name not in BACKBONE_SETTINGS and ":" not in self.name:
            return self  # whoever builds it says which names there are
        used = BACKBONE_SETTINGS.get(self.name, ())
        unused = [name for name in type(self).model_fields if name not in (*used, "name", "weights")]
        wrong = [name for name in unused if getattr(self, name) != type(self).model_fields[name].default]
        if wrong:
            given = ", ".join(f"{name} {getattr(self, name)}" for name in wrong)
            usual = ", ".join(f"{name} {type(self).model_fields[name].default}" for name in wrong)
            raise ValueError(f"{self.name} must not be given settings it does not use. Got {given}; set back to {usual}")
        return self


class DataConfig(Settings):
    """Where records come from and which frames of them are read."""

    path: Path | None = None
    """folder of videos or images, a .csv file list, or the folder of a named data set"""
    name: Literal[
        "auto", "folder", "list", "cifar10", "cifar100", "moving_digits", "kinetics400", "ucf101", "hmdb51", "ssv2"
    ] = "auto"
    """what ``path`` is; auto looks at it, but the video sets with official lists must be named"""
    split: str = "train"
    """part of a data set that has parts (kinetics400: train, val, test; ucf101 and hmdb51: train1, test1, ... test3)"""
    limit: Annotated[int, Field(ge=1)] | None = None
    """use only this many records (a fixed random subset)"""
    num_frames: Annotated[int, Field(ge=1)] = 8
    """frames of a clip (1 for images)"""
    frames_per_second: Annotated[float, Field(gt=0.0)] = 4.0
    """rate at which a clip's frames are taken, whatever the rate of the file"""
    clip_span_ratio: Prob = 1.0
    """in training all clips of a record start within this share of its possible starts: 1: anywhere; 0: at one moment"""
    canvas_pixels: Annotated[int, Field(ge=8)] = 256
    """decoded frames are shrunk until their short side is this"""
    batch_size: Annotated[int, Field(ge=2)] = 64
    """records of one optimizer step, over all processes"""
    num_workers: Annotated[int, Field(ge=0)] = 2
    """decoding processes (0: decode in the training process)"""
    cache: Path | None = None
    """folder for a memory-mapped cache of the decoded frames (spares decoding; needs room: see `fullrank scan`)"""
    cache_max_gib: Annotated[float, Field(gt=0.0)] = 50.0
    """refuse to build a cache larger than this"""


class OptimizerConfig(Settings):
    """One optimizer; it rejects settings that it does not use."""

    name: Literal["sgd", "lars", "adamw"] = "sgd"
    """lars: You et al., 2017, without adaptation and decay for biases and norms"""
    base_learning_rate: Annotated[float, Field(gt=0.0)] = 0.06
    """learning rate for a batch of 256; the one used is this times batch_size / 256"""
    weight_decay: Annotated[float, Field(ge=0.0)] = 5e-4
    """decay of weights (not of biases and norms)"""
    final_weight_decay: Annotated[float, Field(ge=0.0)] | None = None
    """decay at the end, reached along half a cosine (DINO: 0.04 to 0.4); the same throughout where not given"""
    momentum: Prob | None = None
    """sgd and lars only; 0.9 where not given"""
    trust_coefficient: Annotated[float, Field(gt=0.0)] | None = None
    """lars only; 0.001 where not given"""
    clip_trust: bool | None = None
    """lars only: the adapted rate never exceeds the scheduled one (solo-learn's clip_lr); off where not given"""
    betas: tuple[Prob, Prob] | None = None
    """adamw only; (0.9, 0.999) where not given"""
    warmup_epochs: Annotated[float, Field(ge=0.0)] = 0.0
    """epochs of linear warm-up from 0"""
    cosine_after_warmup: bool = True
    """the cosine begins where warm-up ends; off: it begins with training, and warm-up ends on it (PySlowFast)"""
    end_ratio: Prob = 0.0
    """learning rate at the end, as a share of the peak"""
    clip_grad_norm: Annotated[float, Field(gt=0.0)] | None = None
    """largest norm of the whole gradient"""
    accumulate_steps: Annotated[int, Field(ge=1)] = 1
    """micro-batches of one optimizer step; each has batch_size / this records, and sees only its own negatives"""

    @model_validator(mode="after")
    def _only_used(self) -> Self:
        users = {"momentum": ("sgd", "lars"), "trust_coefficient": ("lars",), "clip_trust": ("lars",), "betas": ("adamw",)}
        for field, names in users.items():
            if getattr(self, field) is not None and self.name not in names:
                raise ValueError(f"{field} is a setting of {' and '.join(names)}. Got it with {self.name}; remove it")
        return self


class MonitorConfig(Settings):
    """The collapse monitor."""

    on_collapse: Literal["warn", "stop", "rollback"] = "warn"
    """warn: write the alarm and go on; stop: save a checkpoint and end; rollback: go back to the last healthy checkpoint with a
    smaller learning rate (a checkpoint is healthy once the next one was reached without a suspicion)"""
    rollbacks: Annotated[int, Field(ge=1)] = 3
    """rollback: at most so many times; then the run ends"""
    rollback_factor: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    """rollback: on the learning rate, each time"""
    buffer_rows: Annotated[int, Field(ge=64)] = 2048
    """the newest records of each space that the spectra are computed from"""
    max_share: Annotated[float, Field(gt=0.0, le=1.0)] = 0.01
    """largest share of the training time that all measuring may take; the interval of the spectra follows from it"""
    cheap_every_steps: Annotated[int, Field(ge=1)] = 10
    """interval of standard deviation, mean cosine and norm of the mean"""
    held_out_records: Annotated[int, Field(ge=0)] = 0
    """records kept out of training, chosen by a hash of their names; their spectra and loss terms stand beside those of
    training"""
    stages: bool = False
    """spectra of every stage of the backbone too, of the records held out (where there are none, of 256 that are trained on)"""


BestMeasure = Literal["rankme", "lidar", "effective_rank", "participation_ratio", "nesum", "cev_auc"]


class CheckpointConfig(Settings):
    """When the state of a run is written."""

    every_minutes: Annotated[float, Field(gt=0.0)] = 10.0
    """interval by the clock (and at the end, and on Ctrl-C or SIGTERM)"""
    every_steps: Annotated[int, Field(ge=1)] | None = None
    """interval in steps, besides"""
    keep_best: BestMeasure | None = None
    """keep best.pt: the state at which the collapse monitor found the best value of this measure, without labels (cev_auc: the
    smallest, the others: the largest; of held-out records where there are any)"""
    best_space: Literal["representation", "embedding"] = "representation"
    """where that is measured"""


PARTS = ("Augmentation", "BackboneConfig", "DataConfig", "OptimizerConfig", "MonitorConfig", "CheckpointConfig")
"""settings within a run's"""
M = TypeVar("M", bound=Settings)


class RunConfig(Settings, Generic[M]):
    """All that decides a run."""

    method: M
    """settings of the method"""
    backbone: BackboneConfig = BackboneConfig()
    """the network that is kept"""
    data: DataConfig = DataConfig()
    """where records come from"""
    roles: dict[str, BackboneConfig] = {}
    """settings of single backbones of a method that has several ("broad": ...), where they differ from ``backbone``"""
    optimizer: OptimizerConfig = OptimizerConfig()
    """how weights change"""
    monitor: MonitorConfig = MonitorConfig()
    """the collapse monitor"""
    checkpoint: CheckpointConfig = CheckpointConfig()
    """when the state is written"""
    out: Path | None = None
    """folder of the run (where not given: runs/<recipe>-<number>)"""
    seed: Annotated[int, Field(ge=0)] = 0
    """decides weights, order, clips and views"""
    epochs: Annotated[float, Field(gt=0.0)] = 100.0
    """passes over the data"""
    max_steps: Annotated[int, Field(ge=1)] | None = None
    """end after this many steps, the schedules ending there too"""
    max_minutes: Annotated[float, Field(gt=0.0)] | None = None
    """end within this budget, features and report included: the schedules follow the clock where it is ahead of the steps"""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 autocast where the processor has it"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: the GPU where there is one"""
    compile: bool = False
    """torch.compile the backbones; the first step takes half a minute, the state of a run is the same, and on a CPU the other
    steps are no faster (on a GPU not measured yet)"""


def settings_hash(settings: Settings | dict[str, Any]) -> str:
    """Twelve hex digits that change when any setting changes."""
    data = settings.model_dump(mode="json") if isinstance(settings, Settings) else settings
    return hashlib.sha256(json.dumps(data, sort_keys=True, default=str).encode()).hexdigest()[:12]


def explain(error: ValidationError, kind: type[BaseModel]) -> str:
    """The first mistake of a pydantic error as one sentence."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown setting '{name}'.{did_you_mean(str(first['loc'][-1]), _keys_near(kind, first['loc']))}"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return f"{name + ': ' if name else ''}{message}."
    return f"{_where(kind)}{name} is wrong: {message[0].lower() + message[1:]}. Got {first['input']!r}."


def _where(kind: type[BaseModel]) -> str:
    """Where these settings stand in a run's, as its flags have it: "method.", "data.", ...; "" at the top."""
    if kind.__qualname__.endswith(".Config"):
        return "method."
    name = kind.__name__.split("[")[0]
    return f"{name.removesuffix('Config').lower()}." if name in PARTS else ""


def _keys_near(kind: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    for part in loc[:-1]:
        inner = kind.model_fields[str(part)].annotation if str(part) in kind.model_fields else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        kind = inner
    return list(kind.model_fields)

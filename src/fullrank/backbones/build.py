"""From settings to backbones: the ResNet family, or any nn.Module factory by its import path."""

import importlib
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from fullrank.backbones.resnet import ResNet, fold_time, unfold_time
from fullrank.config import BackboneConfig
from fullrank.errors import CheckpointError, SettingError, ShapeError, did_you_mean

NAMES = ("resnet",)


def backbone_factory(cfg: BackboneConfig, weights: Mapping[str, Tensor] | None = None) -> Callable[[str], nn.Module]:
    """{role: "student", "teacher", ...} -> a new backbone, every role with the same settings and the same ``weights``.

    ``cfg.name`` is "resnet", or "package.module:factory": that module is imported (from the installed packages, else from
    the working folder), which runs its code, and the factory is called without arguments; the other settings of ``cfg`` do
    not reach it. It must return an ``nn.Module`` with an attribute ``embed_dim`` whose forward takes pixels
    [batch, channels, time, height, width] (an image: time = 1) and returns [batch, embed_dim]; ``frames_averaged`` turns an
    image model into one.

    ``cfg.weights`` is not read here: the caller reads the file and passes the state dict, which must fit exactly.
    ``SettingError`` where the name is no such factory, ``CheckpointError`` where the weights do not fit.
    """
    make = _imported(cfg.name) if ":" in cfg.name else _resnet(cfg)

    def factory(role: str) -> nn.Module:
        module = make()
        if weights is not None:
            load_weights(module, weights, f"{cfg.weights or 'the weights'} (backbone of the {role})")
        return module

    return factory


def _resnet(cfg: BackboneConfig) -> Callable[[], nn.Module]:
    if cfg.name not in NAMES:
        raise SettingError(
            f"name of the backbone must be one of {', '.join(NAMES)} or an import path 'package.module:factory'. "
            f"Got '{cfg.name}'.{did_you_mean(cfg.name, NAMES)}"
        )
    return lambda: ResNet(cfg.depth, cfg.width, cfg.stem, cfg.temporal, zero_init_residual=cfg.zero_init_residual)


def _imported(name: str) -> Callable[[], nn.Module]:
    """The checked factory behind "package.module:factory"."""
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise SettingError(f"name of a backbone of your own must be 'package.module:factory'. Got '{name}'.")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)  # a command is not started from the working folder as `python -m` is; last, so it hides nothing
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError as error:
        raise SettingError(
            f"backbone '{name}': '{module_name}' must be a module that can be imported. Got: {error}. "
            "Install it, or run the command in the folder that contains it."
        ) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise SettingError(f"backbone '{name}': '{module_name}' has no '{attribute}'.{did_you_mean(part, dir(found))}")
        found = getattr(found, part)
    if not callable(found):
        raise SettingError(f"backbone '{name}': the factory must be callable without arguments. Got {type(found).__name__}.")

    def make() -> nn.Module:
        module = found()
        if not isinstance(module, nn.Module):
            raise SettingError(f"backbone '{name}': the factory must return an nn.Module. Got {type(module).__name__}.")
        if not isinstance(getattr(module, "embed_dim", None), int):
            raise SettingError(
                f"backbone '{name}': the module must have an int attribute embed_dim, the width of its output. Set it in the "
                "factory (module.embed_dim = 512), or return fullrank.backbones.build.frames_averaged(image_module, 512)."
            )
        return module

    return make


def load_weights(module: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Copy ``state`` into ``module``, all or nothing: every key and every shape must agree.

    ``where`` names the file in the error. A missing ``num_batches_tracked`` is no mistake: files from before torch 0.4.1
    lack it, and only ``momentum=None`` would use it. ``CheckpointError`` otherwise, with the first five keys of each kind.
    """
    own = module.state_dict()
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in own]
    shaped = [
        f"{key} {list(state[key].shape)} instead of {list(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    if missing or unexpected or shaped:
        kinds = (("missing", missing), ("unexpected", unexpected), ("of another shape", shaped))
        found = "; ".join(f"{len(keys)} {kind} ({_first(keys)})" for kind, keys in kinds if keys)
        raise CheckpointError(
            f"{where}: the keys must be those of the {type(module).__name__}. Got {len(state)} for {len(own)}: {found}. "
            "It must come from the same settings; for a backbone look at depth, width, stem and temporal."
        )
    module.load_state_dict(state, strict=False)


def _first(keys: Iterable[str], count: int = 5) -> str:
    shown = list(keys)
    return ", ".join(shown[:count]) + (", ..." if len(shown) > count else "")


class _FramesAveraged(nn.Module):
    """See ``frames_averaged``."""

    def __init__(self, image_module: nn.Module, embed_dim: int):
        super().__init__()
        self.image_module, self.embed_dim = image_module, embed_dim

    def forward(self, pixels: Float[Tensor, "batch channels time height width"]) -> Float[Tensor, "batch embed_dim"]:
        """Mean over time of what the image module makes of each frame."""
        rows = self.image_module(fold_time(pixels))
        if rows.ndim != 2 or rows.shape[1] != self.embed_dim:
            raise ShapeError(
                f"the image module must return [pictures, embed_dim = {self.embed_dim}]. Got {list(rows.shape)}; "
                "pool its map, or give its true embed_dim."
            )
        return unfold_time(rows, pixels.shape[2]).mean(2)


def frames_averaged(image_module: nn.Module, embed_dim: int) -> nn.Module:
    """A backbone for clips from a module for pictures ([n, channels, height, width] -> [n, embed_dim]).

    Each frame goes through it apart, and the features of a clip's frames are averaged.
    """
    return _FramesAveraged(image_module, embed_dim)

"""From settings to backbones: ResNets, vision transformers, or any nn.Module factory by its import path."""

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from fullrank.backbones.resnet import ResNet, fold_time, unfold_time
from fullrank.backbones.s3d import S3D
from fullrank.backbones.timesformer import TimeSformer
from fullrank.backbones.vit import ViT
from fullrank.config import BACKBONE_SETTINGS, BackboneConfig
from fullrank.errors import CheckpointError, SettingError, ShapeError, did_you_mean

NAMES = tuple(BACKBONE_SETTINGS)
Maker = Callable[[int], nn.Module]
"""input channels -> a new backbone"""


class Backbones:
    """What a method gets to make its networks with: ``backbones("student")``, ``backbones("broad", in_channels=2)``.

    Each call returns a new network. It remembers the roles that were asked for, so that a setting for a role that the method
    does not have can be found out.
    """

    def __init__(
        self,
        cfg: BackboneConfig,
        weights: Mapping[str, Tensor] | None,
        roles: Mapping[str, BackboneConfig],
        role_weights: Mapping[str, Mapping[str, Tensor]],
    ):
        self.cfg, self.roles = cfg, dict(roles)
        self._weights, self._role_weights = weights, dict(role_weights)
        self._make, self._make_role = _maker(cfg), {role: _maker(own) for role, own in roles.items()}
        self.asked: list[str] = []
        """roles so far, in the order of their first request"""

    def __call__(self, role: str, in_channels: int = 3) -> nn.Module:
        """A new backbone of this role for pixels with so many channels."""
        if role not in self.asked:
            self.asked.append(role)
        cfg = self.roles.get(role, self.cfg)
        module = self._make_role.get(role, self._make)(in_channels)
        weights = self._role_weights.get(role) if role in self.roles else self._weights
        if weights is not None:
            load_weights(module, weights, f"{cfg.weights or 'the weights'} (backbone of the {role})")
        return module

    def check_roles(self) -> None:
        """``SettingError`` where there are settings for a role that nobody asked for; to be called behind the construction."""
        for role in self.roles:
            if role not in self.asked:
                raise SettingError(
                    f"roles must be among those that the method has: {', '.join(self.asked) or 'none'}. Got '{role}'."
                    f"{did_you_mean(role, self.asked)}"
                )


def backbone_factory(
    cfg: BackboneConfig,
    weights: Mapping[str, Tensor] | None = None,
    *,
    roles: Mapping[str, BackboneConfig] | None = None,
    role_weights: Mapping[str, Mapping[str, Tensor]] | None = None,
) -> Backbones:
    """{role: "student", "teacher", ...} -> a new backbone, with the settings ``roles[role]`` or, for all others, ``cfg``.

    ``cfg.name`` is "resnet", "vit", "timesformer", "s3d", or "package.module:factory": that module is imported (from the
    installed packages, else from the working folder), which runs its code, and the factory is called without arguments (for
    pixels that have other than 3 channels, with ``in_channels=...``, which it must then take). It must return an
    ``nn.Module`` with an attribute ``embed_dim`` whose forward takes pixels [batch, channels, time, height, width] (an
    image: time = 1) and returns [batch, embed_dim]; ``frames_averaged`` turns an image model into one.

    ``weights`` go into the backbones with the settings ``cfg``, ``role_weights[role]`` into those of a role with settings of
    its own; either must fit exactly. The files that settings name are not read here: the caller reads them.
    ``SettingError`` where a name is no such factory, ``CheckpointError`` where weights do not fit.
    """
    return Backbones(cfg, weights, roles or {}, role_weights or {})


def _maker(cfg: BackboneConfig) -> Maker:
    if ":" in cfg.name:
        return _imported(cfg.name)
    if cfg.name not in NAMES:
        raise SettingError(
            f"name of the backbone must be one of {', '.join(NAMES)} or an import path 'package.module:factory'. "
            f"Got '{cfg.name}'.{did_you_mean(cfg.name, NAMES)}"
        )
    given = {name: getattr(cfg, name) for name in BACKBONE_SETTINGS[cfg.name]}
    kind: Any = {"resnet": ResNet, "vit": ViT, "timesformer": TimeSformer, "s3d": S3D}[cfg.name]
    return lambda in_channels: kind(**given, in_channels=in_channels)


def _imported(name: str) -> Maker:
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

    def make(in_channels: int) -> nn.Module:
        if in_channels != 3 and not _takes(found, "in_channels"):
            raise SettingError(
                f"backbone '{name}': the factory must take in_channels, because the method shows it pixels of {in_channels} "
                "channels. Got one without; add the argument, or choose another backbone for this role."
            )
        module = found() if in_channels == 3 else found(in_channels=in_channels)
        if not isinstance(module, nn.Module):
            raise SettingError(f"backbone '{name}': the factory must return an nn.Module. Got {type(module).__name__}.")
        if not isinstance(getattr(module, "embed_dim", None), int):
            raise SettingError(
                f"backbone '{name}': the module must have an int attribute embed_dim, the width of its output. Set it in the "
                "factory (module.embed_dim = 512), or return fullrank.backbones.build.frames_averaged(image_module, 512)."
            )
        return module

    return make


def _takes(function: Callable[..., Any], name: str) -> bool:
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:  # written in C, without a signature
        return False
    kinds = {parameter.kind for parameter in parameters.values()}
    return name in parameters or inspect.Parameter.VAR_KEYWORD in kinds


SAME_SETTINGS = (
    "It must come from the same settings; for a backbone look at depth, width, stem and temporal (a transformer: size, layers, "
    "patch, image_pixels and positions)."
)


def load_weights(module: nn.Module, state: Mapping[str, Tensor], where: str, advice: str = SAME_SETTINGS) -> None:
    """Copy ``state`` into ``module``, all or nothing: every key and every shape must agree.

    ``where`` names the file in the error, ``advice`` ends it. A missing ``num_batches_tracked`` is no mistake: files from
    before torch 0.4.1 lack it, and only ``momentum=None`` would use it. ``CheckpointError`` otherwise, with the first five
    keys of each kind.
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
            f"{advice}"
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

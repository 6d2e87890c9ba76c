"""Which codebase wrote a file, and how sure that is."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fullrank.checkpoint.interop import (
    barlow_twins,
    byol_ports,
    coclr,
    dino,
    dpc,
    moco,
    moco_v3,
    pyslowfast,
    pytorchvideo,
    simsiam,
    svt,
    swav,
    torchvision,
    vicreg,
    videomae,
    vjepa,
)
from fullrank.checkpoint.interop._backbones import flags_of
from fullrank.checkpoint.interop._layout import Layout, Match, State, flat, match
from fullrank.checkpoint.reading import read_weights
from fullrank.config import BackboneConfig
from fullrank.errors import CheckpointError, did_you_mean
from fullrank.types import Preparation

LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for module in (
        *(pyslowfast, pytorchvideo, dpc, coclr, torchvision, vicreg, barlow_twins, swav, moco, moco_v3, simsiam, byol_ports),
        *(svt, dino, videomae, vjepa),
    )
    for layout in module.LAYOUTS
}
"""{name: layout}; where two fit equally, the first"""
NEAREST = 3
"""layouts that are named where none fits"""
SHOWN_KEYS = 5


@dataclass(frozen=True, kw_only=True)
class Identified:
    """A file whose layout is known, and the network in it."""

    path: Path
    match: Match
    network: nn.Module
    preparation: Preparation
    method: str
    epoch: int | None
    """that the file says it was trained for, where it says so"""

    @property
    def layout(self) -> Layout:
        """Its layout."""
        return self.match.layout

    @property
    def certainty(self) -> str:
        """How sure: whether every key has its place."""
        if not self.match.unknown:
            return "certain: every key has its place, and every shape fits"
        return f"likely: the network fits, but {len(self.match.unknown)} keys are unknown ({_some(self.match.unknown)})"

    @property
    def caution(self) -> str | None:
        """What a user must know of its features; None where there is nothing."""
        norms = [part for part in self.network.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
        if all(part.running_mean is not None for part in norms):
            return None
        return "the file holds no running statistics, so its features depend on what else is in the batch"


def describe(found: Identified) -> dict[str, Any]:
    """What is in the file, as plain data for people: codebase, sizes, what is dropped and why, how sure."""
    network: Any = found.network
    reasons: dict[str, int] = {}
    for why in found.match.dropped.values():
        reasons[why] = reasons.get(why, 0) + 1
    return {
        "layout": found.layout.name,
        "codebase": found.layout.codebase,
        "method": found.method,
        "certainty": found.certainty,
        "epoch": found.epoch,
        "backbone": flags_of(network.backbone.config, BackboneConfig()) or "as default",
        "representation": network.embed_dim,
        "embedding": _width(network),
        "parameters": {
            part: sum(tensor.numel() for key, tensor in state.items() if not key.endswith(STATISTICS))
            for part, state in found.match.parts.items()
        },
        "dropped": reasons,
        "preparation": _preparation(found.preparation),
        "caution": found.caution,
    }


def _preparation(how: Preparation) -> str:
    rate = f"at {how.frames_per_second:g} a second" if how.frames_per_second else "of the video's own"
    scale = "x".join(map(str, how.exact_size)) if how.exact_size else f"short side {max(how.short_side, how.crop)}"
    views = f"tested on {how.clips} x {how.crops} views"
    if how.num_frames == 1:
        return f"a frame, {scale}, crop {how.crop}; {views}"
    blocks = f" in {how.num_blocks} blocks" if how.num_blocks else ""
    return f"{how.num_frames} frames{blocks}, one of every {how.sampling_rate} {rate}, {scale}, crop {how.crop}; {views}"


STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def _width(network: Any) -> int | None:
    with torch.no_grad():
        embedding = network.embed(torch.zeros(1, network.embed_dim))
    return None if embedding is None else int(embedding.shape[1])


def identify(path: Path, layout: str | None = None, cfg: str | None = None) -> Identified:
    """Read a file and build the network in it.

    ``layout``: its name, where the file's keys do not tell. ``cfg``: settings in PySlowFast's YAML, instead of those that the
    file holds. ``CheckpointError`` with the nearest layouts and the keys that do not fit where none fits, or where the one
    named does not.
    """
    if layout is not None and layout not in LAYOUTS:
        raise CheckpointError(
            f"layout must be one of {', '.join(LAYOUTS)}. Got '{layout}'.{did_you_mean(layout, tuple(LAYOUTS))}"
        )
    tensors, rest = flat(read_weights(path))
    if not tensors:
        raise CheckpointError(f"{path} must hold tensors. Got none; `fullrank inspect {path}` says what it holds.")
    if cfg is not None:
        rest["cfg"] = cfg
    candidates = [LAYOUTS[layout]] if layout is not None else list(LAYOUTS.values())
    matches = sorted((match(candidate, tensors) for candidate in candidates), key=lambda found: -found.share)
    reasons = []
    for found in matches:
        if found.missing:
            continue
        try:
            return _built(path, found, rest)
        except CheckpointError as error:
            reasons.append((found, str(error)))
    raise _unknown(path, tensors, matches, reasons)


def _built(path: Path, found: Match, rest: dict[str, Any]) -> Identified:
    layout = found.layout
    try:
        network = layout.build(found.parts, rest)
    except KeyError as error:
        raise CheckpointError(f"a part is missing: {error.args[0]}") from None
    prepared = layout.preparation(rest) if callable(layout.preparation) else layout.preparation
    method = layout.methods(found.parts, rest) if layout.methods else layout.method
    if found.unknown:  # of another method with the same network: solo-learn's momentum_*, MAE's decoder_*
        method = f"unknown method, with a network like {method}'s"
    epoch = rest.get("epoch")
    return Identified(
        path=path,
        match=found,
        network=network.eval(),
        preparation=prepared,
        method=method,
        epoch=epoch if isinstance(epoch, int) else None,
    )


def _unknown(path: Path, tensors: State, matches: list[Match], reasons: list[tuple[Match, str]]) -> CheckpointError:
    if reasons:
        found, why = reasons[0]
        return CheckpointError(f"{path} looks like '{found.layout.name}' ({found.layout.codebase}), but {why}")
    near = [found for found in matches if found.share > 0][:NEAREST]
    if len(matches) == 1:
        lacks = _plain(matches[0].missing)
        return CheckpointError(
            f"{path} must have the keys of layout '{matches[0].layout.name}'. It has none like {lacks}; "
            f"its {len(tensors)} keys begin {_some(list(tensors))}."
        )
    if not near:
        return CheckpointError(
            f"{path} must be of a known layout ({', '.join(LAYOUTS)}). Got {len(tensors)} keys that fit none: "
            f"{_some(list(tensors))}."
        )
    described = "; ".join(
        f"{found.layout.name} lacks {_plain(found.missing)}{_homeless(found, len(tensors))}" for found in near
    )
    return CheckpointError(f"{path} must be of a known layout. The nearest: {described}. --layout NAME insists on one.")


def _homeless(found: Match, total: int) -> str:
    if not found.unknown:
        return ""
    return f" and has no place for {len(found.unknown)} of {total} keys ({_some(found.unknown)})"


def _plain(patterns: Iterable[str]) -> str:
    """Regular expressions as people write keys."""
    return ", ".join(pattern.replace("\\.", ".").replace("$", "") for pattern in patterns)


def _some(keys: Any) -> str:
    shown = list(keys)
    return ", ".join(shown[:SHOWN_KEYS]) + (", ..." if len(shown) > SHOWN_KEYS else "")

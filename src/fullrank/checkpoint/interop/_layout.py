"""What a layout is: which keys a codebase writes, what each belongs to, and what becomes of them."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from fullrank.errors import CheckpointError
from fullrank.types import Preparation

State = dict[str, Tensor]
Parts = dict[str, State]
"""{part of the network: its tensors, with the keys that are left behind the part's prefix}"""

WRAPPERS = ("state_dict", "model_state", "model", "module", "net", "network")
"""keys of a file that only wrap its one state dict"""
PREFIXES = ("module.", "_orig_mod.")
"""what DistributedDataParallel and torch.compile put before every key"""
BALLAST = {
    r"(optimizer|opt|optim|lars|scaler|amp|lr_scheduler|scheduler)(_state)?(_dict)?/": "state of the optimizer",
    r"knn_mem\.": "memory of the kNN monitor",
}
"""{keys of any codebase that no network needs: what they are}"""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One kind of file of one codebase.

    ``parts`` and ``dropped`` are tried in their order, ``parts`` first: regular expressions at the beginning of a key. What a
    part's expression matches is cut off; ``rename`` then gives a key of the backbone its name in our network.
    """

    name: str
    codebase: str
    method: str
    parts: Mapping[str, str]
    """{regular expression: part}"""
    dropped: Mapping[str, str] = field(default_factory=dict)
    """{regular expression: what it is, and why it is not needed}"""
    needs: tuple[str, ...]
    """each must match the beginning of some key"""
    build: "Callable[[Parts, dict[str, Any]], nn.Module]"
    """parts and the rest of the file (settings of the codebase) -> network; ``CheckpointError`` where they do not fit"""
    preparation: Preparation | Callable[[dict[str, Any]], Preparation]
    """what the codebase does to a video before the network; or a function of the settings in the file"""
    methods: Callable[[Parts, dict[str, Any]], str] | None = None
    """where the file tells which method it is"""
    blocks: bool = False
    """pixels are [batch, blocks, channels, time, height, width]"""


@dataclass(frozen=True, kw_only=True)
class Match:
    """How a file's keys go into a layout."""

    layout: Layout
    parts: Parts
    dropped: dict[str, str]
    """{key: why}"""
    unknown: tuple[str, ...]
    """keys that the layout has no place for"""
    missing: tuple[str, ...]
    """expressions of ``needs`` that no key matches"""

    @property
    def share(self) -> float:
        """Of the keys, how many have a place: 0..1."""
        placed = sum(len(state) for state in self.parts.values()) + len(self.dropped)
        return placed / max(placed + len(self.unknown), 1)


def flat(tree: Any) -> tuple[State, dict[str, Any]]:
    """All tensors under flat keys ("teacher/backbone.conv1.weight"), and what else the file holds.

    A container that only wraps the state dict is left out of the key, and so is what wrappers put before every key.
    """
    tensors: State = {}
    rest: dict[str, Any] = {}
    for key, value in (tree if isinstance(tree, Mapping) else {"": tree}).items():
        if isinstance(value, Tensor):
            tensors[_bare(str(key))] = value
        elif isinstance(value, Mapping) and (inside := _inside(value)):
            prefix = "" if key in WRAPPERS else f"{key}/"
            tensors |= {prefix + _bare(name): tensor for name, tensor in inside.items()}
        else:
            rest[str(key)] = value
    return tensors, rest


def _inside(tree: Mapping[Any, Any]) -> State:
    try:
        return dict(_tensors(tree))
    except RecursionError:
        raise CheckpointError(
            "a checkpoint must hold its tensors in dicts that end. Got hundreds inside each other, or one that holds itself; "
            "check what the file is."
        ) from None


def _tensors(tree: Mapping[Any, Any], name: str = "") -> Any:
    for key, value in tree.items():
        path = f"{name}.{key}" if name else str(key)
        if isinstance(value, Tensor):
            yield path, value
        elif isinstance(value, Mapping):
            yield from _tensors(value, path)


def _bare(key: str) -> str:
    while key.startswith(PREFIXES):
        key = key.removeprefix(PREFIXES[0]).removeprefix(PREFIXES[1])
    return key


def match(layout: Layout, tensors: State) -> Match:
    """Put every key into its part."""
    parts: Parts = {}
    dropped, unknown = {}, []
    for key, tensor in tensors.items():
        for pattern, part in layout.parts.items():
            if found := re.match(pattern, key):
                parts.setdefault(part, {})[key[found.end() :]] = tensor
                break
        else:
            reasons = [why for pattern, why in {**layout.dropped, **BALLAST}.items() if re.match(pattern, key)]
            if reasons:
                dropped[key] = reasons[0]
            else:
                unknown.append(key)
    missing = tuple(pattern for pattern in layout.needs if not any(re.match(pattern, key) for key in tensors))
    return Match(layout=layout, parts=parts, dropped=dropped, unknown=tuple(unknown), missing=missing)


def renamed(state: Mapping[str, Tensor], rules: Mapping[str, str]) -> State:
    """Keys after the first rule {regular expression at their beginning: replacement} that matches; others as they are."""
    found = {}
    for key, tensor in state.items():
        rule = next((pattern for pattern in rules if re.match(pattern, key)), None)
        found[key if rule is None else re.sub(f"^(?:{rule})", rules[rule], key, count=1)] = tensor
    return found


def floats(state: Mapping[str, Tensor]) -> State:
    """Half-precision tensors as float32."""
    half = (torch.float16, torch.bfloat16)
    return {key: tensor.float() if tensor.dtype in half else tensor for key, tensor in state.items()}

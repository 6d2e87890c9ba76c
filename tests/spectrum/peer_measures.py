"""Measures of other libraries of the same features; runs in their environment: python peer_measures.py FEATURES GROUPS ANSWERS.

FEATURES: .npy [tables, n, d], rows of a group one after the other; GROUPS: how many. ANSWERS: JSON, a table {name: value, or
{"absent": why}}. Of stable-pretraining only the two callbacks run: what their files import for other ends is made up.
"""

import importlib
import importlib.util
import json
import sys
import types
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch


class MadeUp(types.ModuleType):
    """A module whose every name is an empty class."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def make_up(*names: str) -> None:
    for name in names:
        if name not in sys.modules:
            sys.modules[name] = MadeUp(name)
            sys.modules[name].__path__ = []


def callback(file: str) -> types.ModuleType:
    """A callback of stable-pretraining without the package around it."""
    if "stable_pretraining" not in sys.modules:
        spec = importlib.util.find_spec("stable_pretraining")
        if spec is None or not spec.submodule_search_locations:
            raise ImportError("stable-pretraining is not installed")
        root = Path(spec.submodule_search_locations[0])
        for package, folder in (("stable_pretraining", root), ("stable_pretraining.callbacks", root / "callbacks")):
            sys.modules[package] = types.ModuleType(package)
            sys.modules[package].__path__ = [str(folder)]
        make_up("lightning", "lightning.pytorch", "loguru")
        sys.modules["loguru"].logger = SimpleNamespace(info=print, warning=print)
        make_up(*(f"stable_pretraining.callbacks.{name}" for name in ("registry", "queue", "utils")))
    return importlib.import_module(f"stable_pretraining.callbacks.{file}")


def reptrix(x: np.ndarray, groups: int) -> dict[str, float]:
    make_up("matplotlib", "matplotlib.pyplot")
    from reptrix.alpha import get_alpha
    from reptrix.lidar import get_lidar
    from reptrix.rankme import get_rankme

    z = torch.from_numpy(x)
    return {
        "reptrix alpha": float(get_alpha(z)[0]),
        "reptrix rankme": float(get_rankme(z)),
        "reptrix lidar": float(get_lidar(z, groups, len(x) // groups)),
    }


def stable_pretraining_rankme(x: np.ndarray, groups: int) -> dict[str, float]:
    kind = callback("rankme").RankMe
    one = kind.__new__(kind)
    logged: dict[str, float] = {}
    one.name, one.verbose, one._target_queue = "rankme", False, SimpleNamespace(data=torch.from_numpy(x))
    module = SimpleNamespace(log=lambda name, value: logged.update({name: value}))
    one.on_validation_batch_end(SimpleNamespace(global_rank=0), module, {}, {}, 0)
    return {"stable-pretraining rankme": logged["rankme"]}


def stable_pretraining_lidar(x: np.ndarray, groups: int) -> dict[str, float]:
    kind = callback("lidar").LiDAR
    one = kind.__new__(kind)
    one.name, one.n_classes, one.samples_per_class, one.delta, one.epsilon = "lidar", groups, len(x) // groups, 1e-4, 1e-8
    torch.set_default_dtype(torch.float64)  # its identity is of the default type
    return {"stable-pretraining lidar": one._compute_lidar(torch.from_numpy(x))["lidar"]}


def iso_score(x: np.ndarray, groups: int) -> dict[str, float]:
    from IsoScore.IsoScore import IsoScore

    return {"IsoScore": float(IsoScore(x))}


def vendi_score(x: np.ndarray, groups: int) -> dict[str, float]:
    from vendi_score.vendi import score_dual

    return {"vendi-score": float(score_dual(x))}


def answer(x: np.ndarray, groups: int) -> dict[str, object]:
    found: dict[str, object] = {}
    for ask in (reptrix, stable_pretraining_rankme, stable_pretraining_lidar, iso_score, vendi_score):
        try:
            found |= ask(x.copy(), groups)
        except ImportError as error:
            found[ask.__name__] = {"absent": str(error)}
    return found


def main(features: str, groups: str, out: str) -> None:
    Path(out).write_text(json.dumps([answer(x, int(groups)) for x in np.load(features)]))


if __name__ == "__main__":
    main(*sys.argv[1:])

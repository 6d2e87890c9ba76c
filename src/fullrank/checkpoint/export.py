"""A backbone for the next tool: torchvision's or PyTorchVideo's keys, .safetensors, or ONNX."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fullrank.backbones.resnet import ResNet
from fullrank.checkpoint.interop.pytorchvideo import theirs
from fullrank.errors import SettingError

TARGETS = ("torchvision", "pytorchvideo", "safetensors", "onnx")


def export(
    backbone: nn.Module,
    to: str,
    out: Path,
    *,
    pixels: Tensor | None = None,
    classifier: nn.Linear | None = None,
    metadata: dict[str, str] | None = None,
) -> list[str]:
    """Write ``backbone`` (and a classifier, where there is one) to ``out``; what was written, in words.

    torchvision: the state dict of a 2D ResNet; pytorchvideo: of a Slow ResNet under "model_state"; safetensors: our keys, of
    any backbone; onnx: the function pixels -> representation for the shape of ``pixels``, any batch size. ``SettingError``
    where the target has no such network, or where onnx is not installed.
    """
    writers: dict[str, Callable[..., list[str]]] = {
        "torchvision": _torchvision,
        "pytorchvideo": _pytorchvideo,
        "safetensors": _safetensors,
        "onnx": _onnx,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.tmp")
    try:
        said = writers[to](backbone.eval(), temporary, pixels=pixels, classifier=classifier, metadata=metadata or {})
        os.replace(temporary, out)
    finally:
        temporary.unlink(missing_ok=True)
    return said


def _resnet(backbone: nn.Module, to: str, temporal: tuple[str, ...]) -> ResNet:
    if not isinstance(backbone, ResNet) or backbone.temporal not in temporal:
        got = f"a ResNet with temporal {backbone.temporal}" if isinstance(backbone, ResNet) else type(backbone).__name__
        raise SettingError(
            f"--to {to} must be given a ResNet with temporal {' or '.join(temporal)}. Got {got}; "
            "--to safetensors takes any backbone."
        )
    return backbone


def _plain(module: nn.Module) -> dict[str, Tensor]:
    return {key: tensor.detach().cpu().contiguous() for key, tensor in module.state_dict().items()}


def _torchvision(backbone: nn.Module, out: Path, *, classifier: nn.Linear | None, **_: Any) -> list[str]:
    state = _plain(_resnet(backbone, "torchvision", ("2d",)))
    if classifier is not None:
        state |= {f"fc.{key}": tensor for key, tensor in _plain(classifier).items()}
    torch.save(state, out)
    return [f"{len(state)} tensors with torchvision's keys" + ("" if classifier is not None else ", without fc")]


def _pytorchvideo(backbone: nn.Module, out: Path, *, classifier: nn.Linear | None, **_: Any) -> list[str]:
    own = _resnet(backbone, "pytorchvideo", ("slow", "c2d", "i3d"))
    state = {theirs(key): tensor for key, tensor in _plain(own).items()}
    if classifier is not None:
        state |= {f"blocks.5.proj.{key}": tensor for key, tensor in _plain(classifier).items()}
    torch.save({"model_state": state}, out)
    return [f"{len(state)} tensors with PyTorchVideo's keys" + ("" if classifier is not None else ", without blocks.5.proj")]


def _safetensors(backbone: nn.Module, out: Path, *, metadata: dict[str, str], **_: Any) -> list[str]:
    from safetensors.torch import save_file

    state = _plain(backbone)
    save_file(state, out, metadata=metadata)
    return [f"{len(state)} tensors with our keys"]


def _onnx(backbone: nn.Module, out: Path, *, pixels: Tensor | None, **_: Any) -> list[str]:
    if pixels is None:
        raise SettingError("--to onnx must be given pixels to trace with. Got none.")
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError:
        raise SettingError("--to onnx needs onnx and onnxscript. Install them: pip install 'fullrank[onnx]'.") from None
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            backbone.cpu(),
            (pixels,),
            out,
            input_names=["pixels"],
            output_names=["representation"],
            dynamic_shapes=({0: batch},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    return [f"pixels {['batch', *pixels.shape[1:]]} -> representation"]

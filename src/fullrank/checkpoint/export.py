"""An encoder for the next tool: torchvision's or PyTorchVideo's keys or .safetensors of its backbone, or all of it in ONNX."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fullrank.backbones.resnet import ResNet
from fullrank.checkpoint.encoder import Encoder
from fullrank.checkpoint.imported import ImportedEncoder
from fullrank.checkpoint.interop.pytorchvideo import theirs
from fullrank.errors import SettingError, StorageError

TARGETS = ("torchvision", "pytorchvideo", "safetensors", "onnx")
ABOUT_TORCHVISION = "torch.onnx._internal.exporter._registration"
"""the logger that tells of every operator of torchvision that it will not find; no network here has one"""


class Function(nn.Module):
    """Pixels -> (representation, embedding as the head gives it), or the representation alone: what ONNX gets."""

    def __init__(self, encoder: Encoder | ImportedEncoder, branch: str | None, pixels: Tensor):
        super().__init__()
        if isinstance(encoder, ImportedEncoder):
            network: Any = encoder.branch(branch)
            self.network, self._represent, self._embed = network, network.represent, network.embed
        else:
            method = encoder.method
            self.network = method
            self._represent = lambda x: method.encode(x, branch)
            self._embed = lambda h: method.embed(h, branch)
        with torch.no_grad():
            self.has_embedding = self._embed(self._represent(pixels)) is not None

    def forward(self, pixels: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """As the class says."""
        h = self._represent(pixels)
        return (h, self._embed(h)) if self.has_embedding else h


def export(encoder: Encoder | ImportedEncoder, to: str, out: Path, *, branch: str | None = None) -> list[str]:
    """Write ``encoder`` to ``out``; what was written, in words.

    torchvision: the state dict of a 2D ResNet; pytorchvideo: of a Slow, C2D or I3D ResNet under "model_state"; both with the
    classifier, where there is one; safetensors: the backbone with our keys, of any kind; onnx: the function normalised pixels
    -> representation (and the embedding as the head gives it) for clips of the encoder's own shape, any batch size.
    ``branch``: as in extraction; not given: what is evaluated. ``SettingError`` where the target has no such network, or where
    onnx is not installed.
    """
    temporary = out.with_name(f".{out.name}.tmp")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()  # whether there can be a file is known before the work
        said = _onnx(encoder, branch, temporary) if to == "onnx" else _state_dict(encoder, branch, to, temporary)
        os.replace(temporary, out)
    except OSError as error:
        raise StorageError(
            f"{out} must be a place to write to. Got '{error.strerror or error}'; choose another file."
        ) from None
    finally:
        with suppress(OSError):  # what could not be written says more than what could not be taken away
            temporary.unlink(missing_ok=True)
    return said


def _state_dict(encoder: Encoder | ImportedEncoder, branch: str | None, to: str, out: Path) -> list[str]:
    backbone, classifier = encoder.backbone_of(branch), None
    if isinstance(encoder, ImportedEncoder):
        found = getattr(encoder.branch(branch), "classifier", None)
        classifier = found[0] if isinstance(found, nn.Sequential) and len(found) == 1 else None
    if to == "safetensors":
        return _safetensors(backbone, out, {"fullrank": encoder.name, "checkpoint_hash": encoder.checkpoint_hash})
    return (_torchvision if to == "torchvision" else _pytorchvideo)(backbone, out, classifier)


def example(encoder: Encoder | ImportedEncoder) -> Tensor:
    """Two clips of zeros in the shape that the encoder takes."""
    if isinstance(encoder, ImportedEncoder):
        how = encoder.preparation
        blocks = (how.num_blocks,) if how.num_blocks else ()
        frames, side = how.num_frames // max(how.num_blocks, 1), how.crop
        return torch.zeros(2, *blocks, getattr(encoder.backbone, "in_channels", 3), frames, side, side)
    side = type(encoder.method).views(encoder.config.method).groups[0].augmentation.size_pixels
    return torch.zeros(2, getattr(encoder.backbone, "in_channels", 3), encoder.clip_spec.num_frames, side, side)


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


def _torchvision(backbone: nn.Module, out: Path, classifier: nn.Module | None) -> list[str]:
    state = _plain(_resnet(backbone, "torchvision", ("2d",)))
    if classifier is not None:
        state |= {f"fc.{key}": tensor for key, tensor in _plain(classifier).items()}
    torch.save(state, out)
    return [f"{len(state)} tensors with torchvision's keys" + ("" if classifier is not None else ", without fc")]


def _pytorchvideo(backbone: nn.Module, out: Path, classifier: nn.Module | None) -> list[str]:
    own = _resnet(backbone, "pytorchvideo", ("slow", "c2d", "i3d"))
    state = {theirs(key): tensor for key, tensor in _plain(own).items()}
    if classifier is not None:
        state |= {f"blocks.5.proj.{key}": tensor for key, tensor in _plain(classifier).items()}
    torch.save({"model_state": state}, out)
    return [f"{len(state)} tensors with PyTorchVideo's keys" + ("" if classifier is not None else ", without blocks.5.proj")]


def _safetensors(backbone: nn.Module, out: Path, metadata: dict[str, str]) -> list[str]:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    state, mode = _plain(backbone), out.stat().st_mode
    try:
        save_file(state, out, metadata=metadata)
    except SafetensorError as error:
        raise OSError(str(error)) from None
    out.chmod(mode)  # save_file makes a file of its own that nobody else can read
    return [f"{len(state)} tensors with our keys"]


@contextmanager
def _silent(logger: str) -> Iterator[None]:
    """Nothing below an error from this logger."""
    of, level = logging.getLogger(logger), logging.getLogger(logger).level
    of.setLevel(logging.ERROR)
    try:
        yield
    finally:
        of.setLevel(level)


def _onnx(encoder: Encoder | ImportedEncoder, branch: str | None, out: Path) -> list[str]:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError:
        raise SettingError("--to onnx needs onnx and onnxscript. Install them: pip install 'fullrank[onnx]'.") from None
    pixels = example(encoder)
    module = Function(encoder, branch, pixels).eval()
    names = ["representation", "embedding"] if module.has_embedding else ["representation"]
    with warnings.catch_warnings(), _silent(ABOUT_TORCHVISION):
        warnings.simplefilter("ignore")
        program: Any = torch.onnx.export(
            module,
            (pixels,),
            out,
            input_names=["pixels"],
            output_names=names,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    batch = program.model.graph.inputs[0].shape[0]
    first = batch if isinstance(batch, int) else "batch"  # a backbone of somebody's own may fix it
    return [f"pixels [{', '.join(map(str, (first, *pixels.shape[1:])))}] -> {', '.join(names)}"]

"""Write the backbone of a run, or of a checkpoint file, for torchvision, PyTorchVideo, safetensors or ONNX."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from fullrank.cli import _io


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to convert, and into what."""

    path: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="CHECKPOINT")]]
    """a run folder, or a checkpoint file of another codebase (`fullrank inspect` says which are known)"""
    to: Literal["torchvision", "pytorchvideo", "safetensors", "onnx"]
    """torchvision: 2D ResNets; pytorchvideo: Slow, C2D and I3D ResNets; safetensors, onnx: any backbone"""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    """the file to write"""
    layout: str | None = None
    """of a file of another codebase: which, where its keys do not tell"""
    json: _io.OptionalFile = None
    """write what is printed to this file as JSON"""


def main(argv: Sequence[str]) -> None:
    """`fullrank convert runs/first --to onnx --out first.onnx`."""
    args = _io.parse(Arguments, argv, "fullrank convert", description=__doc__)
    import torch

    from fullrank.checkpoint.export import export
    from fullrank.checkpoint.imported import ImportedEncoder
    from fullrank.checkpoint.load import load

    encoder = load(args.path, layout=args.layout)
    classifier: Any = None
    if isinstance(encoder, ImportedEncoder):
        how = encoder.preparation
        frames, side = how.num_frames // max(how.num_blocks, 1), how.crop
        found = encoder.network.classifier if hasattr(encoder.network, "classifier") else None
        classifier = found[0] if isinstance(found, torch.nn.Sequential) else None
    else:
        augmentation = type(encoder.method).views(encoder.config.method).groups[0].augmentation
        frames, side = encoder.clip_spec.num_frames, augmentation.size_pixels
    channels = getattr(encoder.backbone, "in_channels", 3)
    pixels = torch.zeros(2, channels, frames, side, side)
    metadata = {"fullrank": encoder.name, "checkpoint_hash": encoder.checkpoint_hash}
    said = export(encoder.backbone, args.to, args.out, pixels=pixels, classifier=classifier, metadata=metadata)
    size = args.out.stat().st_size
    _io.console.print(f"{args.out}: {'; '.join(said)}, {size / 2**20:.1f} MiB, from {encoder.name}", markup=False)
    _io.write_json(args.json, {"out": str(args.out), "to": args.to, "bytes": size, "from": encoder.name, "holds": said})

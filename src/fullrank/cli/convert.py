"""Write the encoder of a run, or of a checkpoint file, for torchvision, PyTorchVideo, safetensors or ONNX."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from fullrank.cli import _io


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to convert, and into what."""

    path: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="CHECKPOINT")]]
    """a run folder, or a checkpoint file of another codebase (`fullrank inspect` says which are known)"""
    to: Literal["torchvision", "pytorchvideo", "safetensors", "onnx"]
    """torchvision: 2D ResNets; pytorchvideo: Slow, C2D and I3D ResNets; safetensors: any backbone; onnx: any encoder, from
    normalised pixels to the representation and the embedding"""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    """the file to write"""
    layout: str | None = None
    """of a file of another codebase: which, where its keys do not tell"""
    branch: str | None = None
    """"teacher", "momentum", ... (`fullrank methods NAME` lists a method's); not given: what is evaluated"""
    json: _io.OptionalFile = None
    """write what is printed to this file as JSON"""


def main(argv: Sequence[str]) -> None:
    """`fullrank convert runs/first --to onnx --out first.onnx`."""
    args = _io.parse(Arguments, argv, "fullrank convert", description=__doc__)
    from fullrank.checkpoint.export import export
    from fullrank.checkpoint.load import load

    encoder = load(args.path, layout=args.layout)
    said = export(encoder, args.to, args.out, branch=args.branch)
    size = args.out.stat().st_size
    _io.console.print(f"{args.out}: {'; '.join(said)}, {size / 2**20:.1f} MiB, from {encoder.name}", markup=False)
    _io.write_json(args.json, {"out": str(args.out), "to": args.to, "bytes": size, "from": encoder.name, "holds": said})

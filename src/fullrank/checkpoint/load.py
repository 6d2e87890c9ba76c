"""An encoder from whatever holds one: ``fullrank.load("runs/first")``, ``fullrank.load("moco_v2_800ep_pretrain.pth.tar")``."""

from pathlib import Path

from fullrank.checkpoint import encoder
from fullrank.checkpoint.imported import ImportedEncoder, load_imported
from fullrank.checkpoint.save import OURS


def load(
    path: str | Path, device: str = "cpu", *, layout: str | None = None, config: str | Path | None = None
) -> encoder.Encoder | ImportedEncoder:
    """The encoder of a run folder, or of a file of another codebase.

    ``layout``: which codebase's, where the file's keys do not tell (`fullrank inspect FILE` says). ``config``: a YAML file of
    PySlowFast that goes with it. ``CheckpointError`` where there is none, where it belongs to another method, or where its
    layout is not known.
    """
    if is_foreign(Path(path), layout):
        return load_imported(Path(path), layout, device, config)
    return encoder.load(path, device)


def is_foreign(path: Path, layout: str | None = None) -> bool:
    """Whether ``path`` is a file, and not a checkpoint in a run folder of ours."""
    return path.is_file() and (layout is not None or path.name not in OURS or not (path.parent / "config.json").exists())

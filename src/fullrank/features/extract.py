"""From an encoder and a source to a feature table on disk; the same checkpoint, data and settings are a cache hit."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from fullrank.allocation import keep_memory
from fullrank.checkpoint.encoder import Encoder, load
from fullrank.config import settings_hash
from fullrank.data.clips import uniform_fractions
from fullrank.data.loader import in_order
from fullrank.data.open import open_source
from fullrank.data.source import Source
from fullrank.errors import DataError
from fullrank.features.table import branch_folder, is_current, read_table
from fullrank.features.write import TableWriter, check_same
from fullrank.types import ClipBatch, ClipSpec, FeatureTable
from fullrank.views.plan import center_views

THUMBNAIL_PIXELS = 72
ALL = "all"
"""as a branch: every branch of the method"""


def extract(
    encoder: Encoder | str | Path,
    source: Source | str | Path,
    out: str | Path,
    *,
    num_clips: int = 1,
    batch_size: int = 32,
    num_workers: int = 0,
    branch: str | None = None,
    thumbnails: bool = False,
    device: str = "cpu",
    bf16: bool = False,
    command: str | None = None,
    replace: bool = True,
) -> FeatureTable:
    """Encode ``num_clips`` evenly spaced clips of every record and write the table to ``out``.

    float32 unless ``bf16``; the centre crop of each frame; unreadable files are left out and named in the manifest. A table
    that is there already with the same hashes is read instead; one with others is replaced, or with ``replace`` False a
    ``SettingError``. ``DataError`` where nothing could be read.

    ``branch`` "all" decodes once for every branch that the method has: the table of what the paper evaluates goes to ``out``
    and is returned, those of the others to ``out``-<branch> (``features.table.branch_folder``).
    """
    encoder = load(encoder, device) if isinstance(encoder, str | Path) else encoder
    source = open_source(Path(source)) if isinstance(source, str | Path) else source
    out, spec = Path(out), encoder.clip_spec
    branches = encoder.method.branches
    wanted = {None: out} | {name: branch_folder(out, name) for name in branches[1:]} if branch == ALL else {branch: out}
    keys = {name: manifest_key(encoder, source, num_clips=num_clips, branch=name, bf16=bf16) for name in wanted}
    if not replace:
        for name, key in keys.items():
            check_same(wanted[name], key | {"encoded": encoder.method.resolve_branch(name)})
    current = all(is_current(wanted[name], key) for name, key in keys.items())
    if current and (not thumbnails or (out / "thumbnails.npy").exists()):
        return read_table(out)
    augmentation = type(encoder.method).views(encoder.config.method).groups[0].augmentation
    where = next(encoder.method.parameters()).device
    if where.type == "cpu":
        keep_memory()
    small: list[NDArray[np.uint8]] = []
    skipped: list[dict[str, str]] = []
    healthy_std = getattr(encoder.config.method, "target_std", None)  # of a method that fixes the scale of its embedding
    manifest = {"encoder": encoder.name, "steps": encoder.steps, "healthy_std": healthy_std, "command": command}
    manifest |= {"branches": list(branches), "skipped": []}
    progress = Progress(console=Console(stderr=True), transient=True, disable=len(source) * num_clips < 500)
    with ExitStack() as stack, progress:
        writers = {
            name: stack.enter_context(
                TableWriter(
                    folder,
                    record_ids=source.record_ids,
                    classes=source.classes,
                    manifest={**keys[name], **manifest, "encoded": encoder.method.resolve_branch(name)},
                )
            )
            for name, folder in wanted.items()
        }
        task = progress.add_task(f"features of {encoder.name}", total=len(source))
        for batch in in_order(source, spec, uniform_fractions(num_clips), batch_size=batch_size, num_workers=num_workers):
            skipped += [{"record": record, "reason": reason} for record, reason in batch.skipped]
            progress.advance(task, len(batch.index) + len(batch.skipped))
            if not len(batch.index):
                continue
            pixels = center_views(batch, augmentation.size_pixels, augmentation.mean, augmentation.std, where)
            index = np.repeat(batch.index.numpy(), num_clips)
            for name, writer in writers.items():
                with torch.autocast(where.type, torch.bfloat16, enabled=bf16):
                    encoding = encoder(pixels.flatten(0, 1), name)
                writer.append(
                    representation=encoding.representation.cpu().numpy(),
                    embedding=None if encoding.embedding is None else encoding.embedding.cpu().numpy(),
                    labels={label: values[index] for label, values in source.labels.items()},
                    record=index,
                    start_seconds=batch.start_seconds.flatten().numpy(),
                )
            if thumbnails:
                small.append(_thumbnails(batch))
        for writer in writers.values():
            writer.manifest["skipped"] = skipped
        if len(skipped) == len(source):
            first = f"; first reason: {skipped[0]['record']}: {skipped[0]['reason']}" if skipped else ""
            raise DataError(
                f"At least one of the {len(source)} files must be readable. Got none{first}. `fullrank scan` lists them."
            )
    (out / "thumbnails.npy").unlink(missing_ok=True)  # of the table that was here before
    if thumbnails:
        temporary = out / "thumbnails.tmp.npy"
        np.save(temporary, np.concatenate(small))
        os.replace(temporary, out / "thumbnails.npy")
    return read_table(out)


def manifest_key(encoder: Encoder, source: Source, *, num_clips: int, branch: str | None, bf16: bool) -> dict[str, Any]:
    """What decides the content of a table."""
    spec: ClipSpec = encoder.clip_spec
    settings = {
        "num_clips": num_clips,
        "num_frames": spec.num_frames,
        "frames_per_second": spec.frames_per_second,
        "canvas_pixels": spec.canvas_pixels,
        "augmentation": type(encoder.method).views(encoder.config.method).groups[0].augmentation.model_dump(mode="json"),
        "bf16": bf16,
    }
    return {
        "checkpoint_hash": encoder.checkpoint_hash,
        "data_fingerprint": source.fingerprint,
        "settings_hash": settings_hash(settings),
        "branch": branch,
    }


def _thumbnails(batch: ClipBatch) -> NDArray[np.uint8]:
    """The middle frame of each clip, centre-cropped: uint8 [rows, 72, 72, 3]."""
    middle = batch.frames[:, :, batch.frames.shape[2] // 2]
    single = ClipBatch(frames=middle[:, :, None], sizes=batch.sizes, start_seconds=batch.start_seconds, index=batch.index)
    pixels = center_views(single, THUMBNAIL_PIXELS, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), torch.device("cpu"), crop_ratio=1.0)
    small = (pixels[:, :, :, 0].flatten(0, 1).clamp(0, 1) * 255).round().to(torch.uint8)
    return small.permute(0, 2, 3, 1).contiguous().numpy()

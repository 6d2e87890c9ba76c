"""Writing and reading the state of a run: atomic, exact, and never code."""

import errno
import hashlib
import json
import os
import pickle
import shutil
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from fullrank import __version__
from fullrank.errors import CheckpointError, StorageError

FORMAT = 1
UNREADABLE = (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, IndexError, AttributeError, OSError)
"""what torch.load raises on damaged or hostile files"""
FILE, BEST, HEALTHY = "checkpoint.pt", "best.pt", "healthy.pt"
"""the newest state; the best one by a measure without labels; the last one after which training went on without a suspicion"""
OURS = (FILE, BEST, HEALTHY)


def save_checkpoint(folder: Path, state: dict[str, Any]) -> Path:
    """Write ``state`` to folder/checkpoint.pt, whole or not at all: the previous file stays until the new one is on disk."""
    target = folder / FILE
    temporary = folder / (FILE + ".tmp")
    try:
        with open(temporary, "wb") as file:
            torch.save({"fullrank": __version__, "format": FORMAT, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except (OSError, RuntimeError) as error:
        # torch's zip writer reports a full disk as RuntimeError
        with suppress(OSError):  # what could not be written says more than what could not be taken away
            temporary.unlink(missing_ok=True)
        reason = os.strerror(errno.ENOSPC) if _is_full(folder, error) else brief(error)
        kept = f"The previous checkpoint, {target}, is intact." if target.exists() else "There is no earlier checkpoint."
        raise StorageError(f"The checkpoint could not be written to {folder}: {reason}. {kept}") from None
    return target


def keep_copy(folder: Path, name: str) -> None:
    """folder/``name`` becomes the state of folder/checkpoint.pt as it is now, whole or not at all.

    A second name of the same file where the file system has them: the next checkpoint is another file.
    """
    temporary = folder / (name + ".tmp")
    temporary.unlink(missing_ok=True)
    try:
        try:
            os.link(folder / FILE, temporary)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
                raise
            shutil.copyfile(folder / FILE, temporary)
        os.replace(temporary, folder / name)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StorageError(f"{folder / name} could not be written: {brief(error)}. {folder / FILE} is intact.") from None


def _is_full(folder: Path, error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    stat = os.statvfs(folder)
    return stat.f_bavail * stat.f_frsize < 1 << 20 or "enforce fail" in str(error) or "write" in str(error)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The state of a run folder or checkpoint file; tensors on the CPU. Runs no code from the file."""
    file = path / FILE if path.is_dir() else path
    if not file.exists():
        failed = (file.parent / "config.json").exists()
        do = (
            "the run in this folder ended before its first one: start it again with the same --out"
            if failed
            else ("check the path, or train first")
        )
        raise CheckpointError(f"There must be a checkpoint at {file}. Got nothing there; {do}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch thinks of a pickle's protocol tells a user nothing
            state = torch.load(file, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise CheckpointError(
            f"{file} is not a readable checkpoint of fullrank ({brief(error)}). `fullrank inspect` says what a file holds."
        ) from None
    if not isinstance(state, dict) or "fullrank" not in state or "method" not in state:
        raise CheckpointError(f"{file} is not a checkpoint of fullrank. `fullrank inspect` says what a file holds.")
    if state["format"] != FORMAT:
        raise CheckpointError(f"{file} has format {state['format']}; this version reads format {FORMAT}.")
    return state


def brief(error: Exception) -> str:
    """The first line of an error, shortened; its kind where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


def hash_of_tensors(state: dict[str, torch.Tensor]) -> str:
    """Twelve hex digits of names, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.view(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    return digest.hexdigest()[:12]


def read_run(folder: Path) -> dict[str, Any]:
    """config.json of a run folder."""
    file = folder / "config.json"
    if not file.exists():
        raise CheckpointError(
            f"{folder} must be a run folder (with config.json). Got none; name the folder that training wrote."
        )
    return json.loads(file.read_text(encoding="utf-8"))  # type: ignore[no-any-return]

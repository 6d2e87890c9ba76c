"""Every error a user can meet: one sentence that says what must be which, what it got, and what to do next."""

import difflib
from collections.abc import Iterable


class FullrankError(Exception):
    """A failure with a sentence for the user. ``exit_code`` is what the command line ends with."""

    exit_code = 2


class SettingError(FullrankError):
    """A setting that is unknown, of the wrong type, out of range, or impossible together with another."""


class DataError(FullrankError):
    """A data set that cannot be used as a whole: missing, empty, or without a single readable file."""


class MediaError(FullrankError):
    """One file that cannot be decoded. Training counts it and goes on; `fullrank scan` lists it."""

    def __init__(self, path: object, reason: str):
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = str(path), reason

    def __reduce__(self) -> tuple[type["MediaError"], tuple[str, str]]:
        return MediaError, (self.path, self.reason)


class ShapeError(FullrankError):
    """A tensor whose axes are not the ones that a function asks for."""


class CheckpointError(FullrankError):
    """A checkpoint or feature table that is missing, damaged, or belongs to something else."""


class NonFiniteError(FullrankError):
    """A loss term became NaN or infinite. The last good checkpoint stays."""

    exit_code = 1


class StorageError(FullrankError):
    """Writing failed (disk full, no permission). What was there before is intact."""

    exit_code = 1


class CollapseError(FullrankError):
    """Training was stopped by `--monitor.on_collapse stop`."""

    exit_code = 1


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` for the nearest of ``choices``, or the empty string where none is near.

    >>> did_you_mean("barlow_twin", ["vicreg", "barlow_twins"])
    " Did you mean 'barlow_twins'?"
    >>> did_you_mean("zzz", ["vicreg"])
    ''
    """
    near = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""

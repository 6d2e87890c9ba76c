"""Records that training does not see, chosen by their names."""

import hashlib

from fullrank.data.source import Source
from fullrank.data.subset import Subset
from fullrank.errors import SettingError


def held_out(source: Source, count: int) -> tuple[Subset, Subset]:
    """(the records to train on, ``count`` others): those with the smallest hash of their name are held out.

    The same names give the same choice in every run and on every machine, whatever the order of the files. ``SettingError``
    where fewer than two records would be left to train on.
    """
    if count > len(source) - 2:
        raise SettingError(
            f"monitor.held_out_records must leave records to train on. Got {count} of {len(source)}; lower "
            "--monitor.held-out-records."
        )
    order = sorted(range(len(source)), key=lambda i: (_hash(source.record_ids[i]), i))
    return Subset(source, sorted(order[count:])), Subset(source, sorted(order[:count]))


def _hash(name: str) -> bytes:
    return hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()

"""The newest features of each space and view: what the spectra are computed from."""

from collections.abc import Mapping

import torch
from torch import Tensor

from fullrank.spectrum.rules import SPACES, space_of

VIEWS = 2
"""of a record that are kept, apart: the views of a record are no independent samples. Of predictions and teachers, one"""
Place = tuple[str, int]
"""(name of the feature, number of the view)"""


class Ring:
    """The newest rows of one space."""

    def __init__(self, rows: int):
        self.rows, self.used, self._next = rows, 0, 0
        self._data: Tensor | None = None

    def push(self, x: Tensor) -> None:
        """Append [n, d], overwriting the oldest."""
        if self._data is None:
            self._data = torch.empty(self.rows, x.shape[1], device=x.device)
        x = x[-self.rows :]
        first = min(len(x), self.rows - self._next)
        self._data[self._next : self._next + first] = x[:first]
        if first < len(x):
            self._data[: len(x) - first] = x[first:]
        self._next = (self._next + len(x)) % self.rows
        self.used = min(self.used + len(x), self.rows)

    def contents(self) -> Tensor:
        """[used, d], in no particular order; rings that were pushed alike have the same order."""
        if self._data is None:
            return torch.empty(0, 0)
        return self._data[: self.used]

    def newest(self, count: int) -> Tensor:
        """[at most count, d]: the rows pushed last."""
        rows = self.contents()
        count = min(count, len(rows))
        return rows.roll(-self._next, dims=0)[-count:] if count else rows


class Rings:
    """One ring for each feature and each of its first views."""

    def __init__(self, rows: int):
        self.rows = rows
        self.by_place: dict[Place, Ring] = {}

    def push(self, batches: Mapping[str, Tensor]) -> None:
        """Append {feature: [batch, views, d]}."""
        for name, batch in batches.items():
            for view in range(min(VIEWS if space_of(name) in SPACES else 1, batch.shape[1])):
                ring = self.by_place.setdefault((name, view), Ring(self.rows))
                ring.push(batch[:, view])

    def of_view(self, view: int) -> dict[str, Tensor]:
        """{feature: [n, d]} of one view of each record, on the CPU; rows that are not finite are left out."""
        found = {}
        for (name, number), ring in self.by_place.items():
            if number == view:
                rows = ring.contents().cpu()
                rows = rows[rows.isfinite().all(dim=1)]
                if len(rows) > 1:
                    found[name] = rows
        return found

    def newest(self, count: int) -> dict[str, Tensor]:
        """{feature: [at most count, d]} of the first view, the newest; on the CPU."""
        return {name: ring.newest(count).cpu() for (name, view), ring in self.by_place.items() if view == 0}

    def pairs(self, name: str) -> Tensor | None:
        """[n, views, d] of a feature on the CPU; None where there is one view only."""
        rings = [ring.contents() for (other, _), ring in sorted(self.by_place.items()) if other == name]
        return torch.stack(rings, dim=1).cpu() if len(rings) > 1 and len(rings[0]) > 1 else None

    def flops(self) -> float:
        """A guess of what all spectra cost."""
        found = 0.0
        for ring in self.by_place.values():
            n, d = ring.contents().shape
            found += 3 * (n * d * min(n, d) + 10 * min(n, d) ** 3)
        return found

    def hold(self, count: int) -> bool:
        """Whether each has so many rows, or as many as it can."""
        return all(ring.used >= min(count, ring.rows) for ring in self.by_place.values())

    @property
    def filled(self) -> bool:
        """Whether a spectrum can be computed."""
        return any(ring.used > 1 for ring in self.by_place.values())

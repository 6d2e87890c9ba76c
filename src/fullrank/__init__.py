"""fullrank: self-supervised training of image and video encoders that shows whether they collapsed.

The five-line example of the README works with what is named here; names are imported when they are used.
"""

from importlib import import_module
from importlib.metadata import version
from typing import Any

__version__ = version("fullrank")

_PUBLIC = {
    "train": "fullrank.engine.loop",
    "load": "fullrank.checkpoint.load",
    "recipe": "fullrank.recipes",
    "open_source": "fullrank.data.open",
    "extract": "fullrank.features.extract",
    "read_table": "fullrank.features.table",
    "knn": "fullrank.evaluation.knn",
    "linear": "fullrank.evaluation.linear",
    "spectrum_of": "fullrank.spectrum.covariance",
    "measure": "fullrank.spectrum.measures",
    "survey": "fullrank.spectrum.survey",
}
__all__ = [
    "__version__",
    "extract",
    "knn",
    "linear",
    "load",
    "measure",
    "open_source",
    "read_table",
    "recipe",
    "spectrum_of",
    "survey",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'fullrank' has no attribute '{name}'")

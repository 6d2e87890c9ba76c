"""All measures."""

from fullrank.spectrum.definition import Definition
from fullrank.spectrum.sampled import SAMPLED
from fullrank.spectrum.spectral import SPECTRAL

MEASURES: dict[str, Definition] = SPECTRAL | SAMPLED
"""every scalar measure by its file-safe name"""

"""What an encoder gives, of our own runs and of other codebases' files."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """What an encoder gives for a batch of clips."""

    representation: Tensor
    """[batch, embed_dim]: the backbone's output"""
    embedding: Tensor | None
    """[batch, d]: the projector's output, as it is; None for a method without a projector. Of a file of another codebase:
    as that codebase calls it, which ``embedding_is_normalized`` tells"""
    embedding_raw: Tensor | None = None
    """[batch, d]: the projector's output as it is, where the codebase's embedding is the L2-normalised one"""
    embedding_is_normalized: bool = False
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    """what else a file of another codebase holds, by name ("prediction", "momentum_representation", "prototype_scores",
    "logits", DPC's contexts); computed when it is asked for"""

"""What a foreign file holds, as modules of ours: a backbone, what sits on it, and a second copy of both."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fullrank.checkpoint.interop._heads import check_width


class Extras(Mapping[str, Tensor]):
    """Further outputs by name, each computed when it is first asked for."""

    def __init__(self, makers: Mapping[str, Callable[[], Tensor]]):
        self._makers, self._made = dict(makers), dict[str, Tensor]()

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._made:
            with torch.no_grad():
                self._made[name] = self._makers[name]()
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


class Network(nn.Module):
    """pixels [batch, channels, time, height, width] -> {"representation", "embedding", "embedding_raw", extras}.

    Args:
        backbone: one of ours.
        projector, predictor, scores, classifier, embedding_norm: heads, where the file holds them. ``scores`` turn the
            projector's output into the embedding (DINO), or stand beside it (SwAV: ``scores_beside``).
        normalizes: the codebase's embedding is the L2-normalised projection.
        pool: kernel of the average pool (stride 1) between the last map and the representation; None: the global average.
        softmax: the classifier's scores are softmax'ed at each place before they are averaged.
        second, second_name: the other copy (momentum encoder, target network, student); its outputs carry its name.
        own_name: what outputs of this copy are called beside their plain names ("teacher_representation").
        more: {name: function of (network, pixels)}, outputs that only this kind of backbone has.
    """

    def __init__(
        self,
        backbone: nn.Module,
        *,
        projector: nn.Module | None = None,
        predictor: nn.Module | None = None,
        scores: nn.Module | None = None,
        scores_beside: bool = False,
        classifier: nn.Module | None = None,
        embedding_norm: nn.Module | None = None,
        normalizes: bool = False,
        pool: tuple[int, int, int] | None = None,
        softmax: bool = False,
        second: "Network | None" = None,
        second_name: str = "momentum",
        own_name: str = "",
        more: "Mapping[str, Callable[[Network, Tensor], Tensor]] | None" = None,
    ):
        super().__init__()
        self.backbone, self.projector, self.predictor, self.scores = backbone, projector, predictor, scores
        self.classifier, self.embedding_norm, self.second = classifier, embedding_norm, second
        self.normalizes, self.pool, self.softmax, self.scores_beside = normalizes, pool, softmax, scores_beside
        self.second_name, self.own_name, self.more = second_name, own_name, dict(more or {})
        z = check_width(projector, self.embed_dim, "projector")
        check_width(scores, z, "layer of prototypes")
        check_width(predictor, z, "predictor")
        check_width(classifier, self.embed_dim, "classifier")

    @property
    def embed_dim(self) -> int:
        """Width of the representation."""
        return self.backbone.embed_dim  # type: ignore[return-value]

    def represent(self, pixels: Tensor) -> Tensor:
        """[batch, embed_dim]."""
        if self.pool is None:
            return self.backbone(pixels)  # type: ignore[no-any-return]
        return self._pooled(pixels).mean((2, 3, 4))

    def _pooled(self, pixels: Tensor) -> Tensor:
        """The last map under the head's pool; a map smaller than the kernel is averaged whole."""
        x = list(self.backbone.maps(pixels).values())[-1]  # type: ignore[operator]
        kernel = tuple(min(k, size) for k, size in zip(self.pool or (), x.shape[2:], strict=True))
        return F.avg_pool3d(x, kernel, 1)

    def embed(self, representation: Tensor) -> Tensor | None:
        """What the heads make of a representation, as they give it: [batch, d]; None without a projector."""
        if self.projector is None:
            return None
        z = self.projector(representation)
        return self.scores(z) if self.scores is not None and not self.scores_beside else z  # type: ignore[no-any-return]

    def forward(self, pixels: Tensor) -> dict[str, Any]:
        """{"representation", "embedding", "embedding_raw" (None where there is none), "extras"}."""
        h = self.represent(pixels)
        z = self.embed(h)
        raw = z if self.normalizes else None
        embedding = F.normalize(z, dim=1) if self.normalizes and z is not None else z
        return {"representation": h, "embedding": embedding, "embedding_raw": raw, "extras": Extras(self._makers(pixels, h, z))}

    def _makers(self, pixels: Tensor, h: Tensor, z: Tensor | None) -> dict[str, Callable[[], Tensor]]:
        makers: dict[str, Callable[[], Tensor]] = {}
        if z is not None:
            makers |= self._of_embedding(h, z)
        if self.classifier is not None:
            makers["scores" if self.softmax else "logits"] = lambda: self._classify(pixels, h)
        if self.pool is not None:
            makers["representation_global_avg"] = lambda: self.backbone(pixels)
        makers |= {name: lambda function=function: function(self, pixels) for name, function in self.more.items()}  # type: ignore[misc]
        if self.own_name:
            makers |= {f"{self.own_name}_{name}": make for name, make in makers.items()}
            makers[f"{self.own_name}_representation"] = lambda: h
            if z is not None:
                makers[f"{self.own_name}_embedding"] = lambda: z
        if self.second is not None:
            makers |= self._of_second(pixels)
        return makers

    def _of_embedding(self, h: Tensor, z: Tensor) -> dict[str, Callable[[], Tensor]]:
        makers: dict[str, Callable[[], Tensor]] = {}
        if self.predictor is not None:
            predictor = self.predictor
            makers["prediction_raw"] = lambda: predictor(z)
            makers["prediction"] = lambda: F.normalize(predictor(z), dim=1)
        if self.embedding_norm is not None:
            makers["embedding_bn"] = lambda: self.embedding_norm(z)  # type: ignore[misc]
        if self.scores is not None and self.scores_beside:
            makers["prototype_scores"] = lambda: self.scores(z)  # type: ignore[misc]
        elif self.scores is not None:
            makers["bottleneck"] = lambda: F.normalize(self.projector(h), dim=1)  # type: ignore[misc]
        return makers

    def _classify(self, pixels: Tensor, h: Tensor) -> Tensor:
        if not self.softmax:  # linear: the mean of the scores is the score of the mean
            return self.classifier(h)  # type: ignore[misc, no-any-return]
        places = self._pooled(pixels).flatten(2).transpose(1, 2)
        return self.classifier(places).softmax(-1).mean(1)  # type: ignore[misc, no-any-return]

    def _of_second(self, pixels: Tensor) -> dict[str, Callable[[], Tensor]]:
        other: Any = self.second
        name = self.second_name
        run = cache(lambda: other(pixels))
        makers: dict[str, Callable[[], Tensor]] = {f"{name}_representation": lambda: run()["representation"]}
        if other.projector is not None:
            makers[f"{name}_embedding"] = lambda: run()["embedding"]
            if other.normalizes:
                makers[f"{name}_embedding_raw"] = lambda: run()["embedding_raw"]
        inner = [*other.more, *(["bottleneck"] if other.scores is not None and not other.scores_beside else [])]
        makers |= {f"{name}_{key}": lambda key=key: run()["extras"][key] for key in inner}  # type: ignore[misc]
        return makers

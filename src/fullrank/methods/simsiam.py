"""SimSiam: a siamese network with a predictor and a stop-gradient (Chen and He, CVPR 2021, arXiv 2011.10566).

Idea: predict the embedding of one view from another, with one network for both; no negatives, no teacher.
Data flow: view i -> backbone -> h -> projector -> z_i -> predictor -> p_i; -cos(p_i, stop-gradient(z_j)), both ways.
What prevents collapse: no term of the loss does (its minimum, -1, is reached by a constant); the stop-gradient and the
predictor keep training away from that solution.
What breaks it: no stop-gradient, or no predictor (the paper, 100 epochs, linear: 0.1 % each); heads without BatchNorm train
badly, without collapse (table 3: 34.6 % instead of 68.1 %); BatchNorm after the predictor is unstable. The BatchNorm of the
embedding forbids one point for a whole batch: what is left then is one record opposite to all others, so in training sqrt(d)
x normalised std falls to 2 / sqrt(batch) and not to 0 (0.35 for 32 records; measured on the embedded world), while eval mode
shows the point.
At complete collapse: -1 once the predictor has learned the constant, so watch the spectra and not the loss.
Deviations: with more than two views the mean over all ordered pairs. The predictor's learning rate decays like all others
(the paper's 67.7 %; 68.1 % with a constant one). The embedding's BatchNorm has no scale and shift, as in the authors' code
(the paper: 68.1 % with them, 68.2 % without, section 4.4). Biases and norms do not decay, which they do there.
The paper's number: ResNet-50, ImageNet, batch 256, 100 / 800 epochs, linear 68.1 / 71.3 % top-1. Ours: docs/results.md.
"""

from itertools import permutations
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from fullrank.config import Augmentation, Settings
from fullrank.heads import mlp
from fullrank.methods._method import BackboneFactory, Guard, Method, wide
from fullrank.objectives import distillation
from fullrank.types import Output, StepContext, ViewPlan, Views
from fullrank.views.plan import multi_view


class SimSiam(Method):
    """See the top of this file."""

    guards = {
        "stop-gradient": Guard(
            off={"stop_gradient": False},
            expect="complete",
            source="Chen and He, 2021, section 4.1 and figure 2: collapses, 0.1 %",
        ),
        "predictor": Guard(
            off={"predictor": False}, expect="complete", source="Chen and He, 2021, section 4.2 and table 1a: collapses, 0.1 %"
        ),
        "batch norm": Guard(
            off={"batch_norm": "none"},
            expect="no collapse",
            source="Chen and He, 2021, section 4.4, table 3a: no BatchNorm in the heads, 34.6 %, not collapsed (with warm-up)",
        ),
    }

    class Config(Settings):
        """Settings of SimSiam."""

        rho: Annotated[int, Field(ge=1)] = 1
        """temporal clips of a record that are positives of each other (1: two views of one clip)"""
        augmentation: Augmentation = Augmentation()
        """how views are made"""
        projector: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (2048, 2048, 2048)
        """widths of the projector's layers (with the backbone: f)"""
        predictor: bool = True
        """whether there is a predictor (h); without it the embedding collapses"""
        predictor_hidden: Annotated[int, Field(ge=1)] = 512
        """width of the predictor's hidden layer, a bottleneck; its output is as wide as the embedding"""
        stop_gradient: bool = True
        """whether targets are constants (stopgrad); without it the embedding collapses"""
        batch_norm: Literal["none", "hidden", "all"] = "all"
        """where the heads have BatchNorm; all: after the projector's last layer too (never after the predictor's)"""

    @classmethod
    def views(cls, cfg: Config) -> ViewPlan:  # type: ignore[override]
        """Two views of one clip, or one view of each of rho clips."""
        return multi_view(cfg.rho, cfg.augmentation)

    def __init__(self, cfg: Config, backbone: BackboneFactory, num_records: int):
        super().__init__(cfg, backbone, num_records)
        self.cfg = cfg
        self.backbone = backbone("student")
        normed, width = cfg.batch_norm != "none", cfg.projector[-1]
        self.projector = mlp(
            (self.backbone.embed_dim, *cfg.projector),  # type: ignore[arg-type]
            batch_norm=normed,
            last_batch_norm=cfg.batch_norm == "all",
        )
        self.predictor = mlp((width, cfg.predictor_hidden, width), batch_norm=normed) if cfg.predictor else nn.Identity()

    def forward(self, views: Views, ctx: StepContext) -> Output:
        """Term "similarity": a mean over samples, so nothing is gathered."""
        representations, embeddings, predictions = [], [], []
        for pixels in views.group("view").unbind(dim=1):
            representations.append(self.backbone(pixels))
            embeddings.append(wide(self.projector(representations[-1])))
            predictions.append(wide(self.predictor(embeddings[-1])))
        targets = [z.detach() for z in embeddings] if self.cfg.stop_gradient else embeddings
        pairs = [distillation.negative_cosine(predictions[i], targets[j]) for i, j in permutations(range(len(predictions)), 2)]
        return Output(
            losses={"similarity": torch.stack(pairs).mean()},
            features={
                "representation": torch.stack(representations, dim=1).detach().float(),
                "embedding": torch.stack(embeddings, dim=1).detach().float(),
                "prediction": torch.stack(predictions, dim=1).detach().float(),
            },
        )

    def at_collapse(self, batch_size: int) -> dict[str, float]:
        """-1, the minimum."""
        return {"similarity": -1.0}

    def encode(self, pixels: Tensor, branch: str | None = None) -> Tensor:
        """The backbone's output."""
        self.resolve_branch(branch)
        return self.backbone(pixels)  # type: ignore[no-any-return]

    def embed(self, representation: Tensor, branch: str | None = None) -> Tensor:
        """The projector's output."""
        self.resolve_branch(branch)
        return self.projector(representation)  # type: ignore[no-any-return]

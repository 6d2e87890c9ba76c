"""Jigsaw: solve a puzzle of tiles (Noroozi and Favaro, ECCV 2016, arXiv 1603.09246).

Idea: cut a picture into a grid of tiles, show them in one of some fixed orders, and say which order it is.
Data flow: clip -> view -> tiles in a drawn order -> each through the backbone -> h -> linear layer and ReLU -> features
of all tiles side by side -> hidden layer -> scores of the orders; cross-entropy with the order that was drawn.
What prevents collapse: the label, which equal features cannot tell; it is made from the data.
What breaks it: shortcuts. Edges that go on from tile to tile (``gap_ratio`` 0), the brightness of neighbouring tiles
(``normalize_tiles`` off), colour fringes of the lens.
At complete collapse: at least log(orders), and that where all orders score equal; metric "accuracy" 1 / orders.
Deviations: the paper drops colour in some pictures and jitters channels, here the augmentation policy decides; all frames
of a clip are cut alike; the orders are chosen greedily as the paper's algorithm 1 does, from the identity on.
The paper's number: AlexNet, ImageNet, fine-tuned on PASCAL VOC 2007, classification 67.6 % mAP, detection 53.2 %. Ours:
docs/results.md.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from fullrank.config import Augmentation, Settings
from fullrank.heads import mlp
from fullrank.methods._method import BackboneFactory, Method, wide
from fullrank.objectives import classification
from fullrank.types import Output, StepContext, TileSpec, ViewPlan, Views, ViewSpec

GROUP = "tiles"


class Jigsaw(Method):
    """See the top of this file."""

    class Config(Settings):
        """Settings of Jigsaw."""

        augmentation: Augmentation = Augmentation(size_pixels=225, min_scale=0.8, grayscale_prob=(0.3,), blur_prob=(0.0,))
        """how the picture that is cut is made"""
        grid: Annotated[int, Field(ge=2, le=3)] = 3
        """tiles along each side"""
        gap_ratio: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.15
        """room in which a tile is moved within its cell, as a share of the cell's side (11 of 75 pixels in the paper)"""
        permutations: Annotated[int, Field(ge=2)] = 100
        """orders that there are to tell apart (the paper: up to 1000)"""
        normalize_tiles: bool = True
        """give each tile mean 0 and standard deviation 1, so that brightness does not tell neighbours"""
        tile_features: Annotated[int, Field(ge=1)] = 512
        """width of a tile's features (fc6)"""
        hidden: Annotated[int, Field(ge=1)] = 4096
        """width of the layer that sees all tiles (fc7)"""

    @classmethod
    def views(cls, cfg: Config) -> ViewPlan:  # type: ignore[override]
        """The tiles of one view of one clip, in an order that is a target."""
        tiles = TileSpec(grid=cfg.grid, gap_ratio=cfg.gap_ratio, permutations=cfg.permutations)
        return ViewPlan(groups=(ViewSpec(name=GROUP, augmentation=cfg.augmentation, tiles=tiles),))

    def __init__(self, cfg: Config, backbone: BackboneFactory, num_records: int):
        super().__init__(cfg, backbone, num_records)
        self.cfg = cfg
        self.backbone = backbone("student")
        self.tile = nn.Sequential(nn.Linear(self.backbone.embed_dim, cfg.tile_features), nn.ReLU())  # type: ignore[arg-type]
        self.classifier = mlp((cfg.grid**2 * cfg.tile_features, cfg.hidden, cfg.permutations), batch_norm=False)

    def forward(self, views: Views, ctx: StepContext) -> Output:
        """Term "permutation": a mean over records, so nothing is gathered."""
        pixels = views.group(GROUP)
        if self.cfg.normalize_tiles:
            var, mean = torch.var_mean(pixels, dim=(2, 3, 4, 5), keepdim=True)
            pixels = (pixels - mean) / (var + 1e-4).sqrt()
        h = self.backbone(pixels.flatten(0, 1)).unflatten(0, pixels.shape[:2])
        logits = wide(self.classifier(self.tile(h).flatten(1)))
        terms = classification.cross_entropy(logits, views.targets[f"permutation:{GROUP}"][:, 0])
        return Output(
            losses={"permutation": terms.loss},
            features={"representation": h.detach().float()},
            metrics={"accuracy": terms.accuracy},
        )

    def encode(self, pixels: Tensor, branch: str | None = None) -> Tensor:
        """The backbone's output for whole pictures."""
        self.resolve_branch(branch)
        return self.backbone(pixels)  # type: ignore[no-any-return]

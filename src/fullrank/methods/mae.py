"""MAE: put most of a picture back from the rest (He et al., CVPR 2022, arXiv 2111.06377); clips: VideoMAE (Tong et al., 2022).

Idea: hide most patches, encode the visible ones alone, and let a small decoder paint the hidden ones.
Data flow: clip -> view and mask -> visible patches -> backbone -> tokens -> linear layer, mask tokens in the gaps, positions
-> decoder blocks -> pixels of each patch; mean squared error over the hidden patches.
What prevents collapse: the target, which is the picture itself: a constant encoder cannot paint it.
What breaks it: a mask ratio so low that neighbours tell a patch; for clips, masks that leave a patch visible at another
time (``mask`` "random" with a low ratio).
At complete collapse: the variance of the targets, about 1 where they are normalised; the loss tells little, watch the
spectrum of the representation.
Deviations: positions of the decoder are the sines and cosines of the encoder's grid. VideoMAE's clip-wise settings are
``patch_frames`` 2, ``mask`` "tube", ``mask_ratio`` 0.9 and a backbone with patch_frames 2 and no class token.
The paper's number: ViT-B/16, ImageNet, 1600 epochs, fine-tuned 83.6 %, linear 68.0 % top-1 (67.8 % with the authors' PyTorch
code). VideoMAE ViT-B, Kinetics-400, 800 epochs, fine-tuned 80.0 % (its model zoo). Ours: docs/results.md.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from fullrank.backbones.positions import sincos_by_axis
from fullrank.backbones.transformer import Block, as_transformer, initialise
from fullrank.config import Augmentation, Settings
from fullrank.errors import SettingError
from fullrank.methods._method import BackboneFactory, Method, wide
from fullrank.objectives import reconstruction
from fullrank.types import MaskSpec, Output, StepContext, ViewPlan, Views, ViewSpec

NORM_EPS = 1e-6


class MAE(Method):
    """See the top of this file."""

    class Config(Settings):
        """Settings of MAE."""

        augmentation: Augmentation = Augmentation(min_scale=0.2, jitter_prob=(0.0,), grayscale_prob=(0.0,), blur_prob=(0.0,))
        """how the view is made"""
        mask_ratio: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.75
        """share of hidden patches"""
        mask: Literal["random", "tube"] = "random"
        """tube: the same places at all times (VideoMAE)"""
        patch_pixels: Annotated[int, Field(ge=1)] = 16
        """side of a patch; the backbone's own"""
        patch_frames: Annotated[int, Field(ge=1)] = 1
        """frames of a patch; the backbone's own"""
        decoder_dim: Annotated[int, Field(ge=2)] = 512
        """width of the decoder"""
        decoder_layers: Annotated[int, Field(ge=0)] = 8
        """blocks of the decoder"""
        decoder_heads: Annotated[int, Field(ge=1)] = 16
        """attention heads of the decoder"""
        normalize_targets: bool = True
        """each patch's pixels are brought to mean 0 and variance 1 before they are compared"""

    @classmethod
    def views(cls, cfg: Config) -> ViewPlan:  # type: ignore[override]
        """One view of one clip, and its mask."""
        mask = MaskSpec(ratio=cfg.mask_ratio, patch_pixels=cfg.patch_pixels, patch_frames=cfg.patch_frames, kind=cfg.mask)
        return ViewPlan(groups=(ViewSpec(name="view", augmentation=cfg.augmentation, mask=mask),))

    def __init__(self, cfg: Config, backbone: BackboneFactory, num_records: int):
        super().__init__(cfg, backbone, num_records)
        self.cfg = cfg
        self.backbone = backbone("student")
        self.patch = (cfg.patch_frames, cfg.patch_pixels, cfg.patch_pixels)
        patch = as_transformer(self.backbone, "MAE").patch
        if tuple(patch) != self.patch:
            raise SettingError(
                f"The patches of MAE must be the backbone's, {tuple(patch)} (frames, rows, columns). Got {self.patch}; set "
                "--method.patch-pixels and --method.patch-frames like --backbone.patch-pixels and --backbone.patch-frames."
            )
        values = cfg.patch_frames * cfg.patch_pixels**2 * 3
        self.to_decoder = nn.Linear(self.backbone.embed_dim, cfg.decoder_dim)  # type: ignore[arg-type]
        self.mask_token = nn.Parameter(torch.zeros(1, 1, cfg.decoder_dim))
        self.decoder = nn.ModuleList(Block(cfg.decoder_dim, cfg.decoder_heads) for _ in range(cfg.decoder_layers))
        self.decoder_norm = nn.LayerNorm(cfg.decoder_dim, NORM_EPS)
        self.to_pixels = nn.Linear(cfg.decoder_dim, values)
        for part in (self.to_decoder, self.decoder, self.to_pixels):
            initialise(part)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, views: Views, ctx: StepContext) -> Output:
        """Term "reconstruction": a mean over records, so nothing is gathered."""
        pixels, hidden = views.group("view")[:, 0], views.masks["view"][:, 0]
        tokens = self.backbone.tokens(pixels, hidden)  # type: ignore[operator]
        first = tokens.shape[1] - int((~hidden[0]).sum())
        predicted = self._decode(tokens, hidden, first, self.backbone.grid(pixels))  # type: ignore[operator]
        target = reconstruction.patches(wide(pixels), self.patch)
        loss = reconstruction.masked_mse(wide(predicted), target, hidden, normalize=self.cfg.normalize_targets)
        h = tokens[:, 0] if first else tokens.mean(1)
        return Output(losses={"reconstruction": loss}, features={"representation": h.detach().float()[:, None]})

    def _decode(self, tokens: Tensor, hidden: Tensor, first: int, grid: tuple[int, int, int]) -> Tensor:
        """Visible tokens at their places, mask tokens at the others, through the decoder -> [batch, tokens, values]."""
        x = self.to_decoder(tokens)
        whole = self.mask_token.to(x.dtype).expand(*hidden.shape, -1).clone()
        whole[~hidden] = x[:, first:].flatten(0, 1)
        whole = whole + sincos_by_axis(self.cfg.decoder_dim, grid).to(whole)
        whole = torch.cat([x[:, :first], whole], dim=1)
        for block in self.decoder:
            whole = block(whole)
        return self.to_pixels(self.decoder_norm(whole[:, first:]))  # type: ignore[no-any-return]

    def encode(self, pixels: Tensor, branch: str | None = None) -> Tensor:
        """The backbone's output, with nothing hidden."""
        self.resolve_branch(branch)
        return self.backbone(pixels)  # type: ignore[no-any-return]

"""BraVe: broaden your views (Recasens, Luc, Alayrac et al., ICCV 2021, arXiv 2103.16559).

Idea: a narrow view, some frames of a video, predicts a broad one, which spans a longer time and may show another stream
(brightness, change, flow), and the broad one predicts the narrow; two networks, no negatives, no EMA.
Data flow: clip -> narrow view -> narrow backbone -> h_n -> projector -> z_n -> predictor -> p_n; broad view -> broad
backbone -> h_b -> projector -> z_b -> predictor -> p_b; 2 - 2 cos(p_n, sg(z_b)) + 2 - 2 cos(p_b, sg(z_n)).
What prevents collapse: no term of the loss does (its minimum, 0, is reached by constants); the predictors and the
stop-gradient keep training away from them, as in SimSiam, and BatchNorm in the heads.
What breaks it: no stop-gradient, no predictors, heads without BatchNorm; views that are not of the same moments.
At complete collapse: 0 in both directions once the predictors have learned the constants, so watch the spectra and not
the loss.
Deviations: the starts of the views are drawn apart within one clip, which the broad view fills (the authors begin both
together where the broad view is sound, and say that for pictures apart is better). Each side has a projector and a
predictor of its own, as the paper; the authors' released code shares one pair. That code halves the squared distance and
takes the mean over both directions, a quarter of ours. The last BatchNorm of a projector has no scale and shift. No random
convolution of the broad view, no sound. With rho >= 2 every narrow view of a record is paired with every broad one.
The paper's number: TSM-ResNet-50, Kinetics-600, broad view of video: linear UCF-101 92.6 %, HMDB-51 65.4 %, K600 70.8 %
(README of the authors' code); with sound and flow 92.9 / 69.2 / 69.3 %. Ours: docs/results.md.
"""

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from fullrank.config import Augmentation, Settings
from fullrank.errors import SettingError
from fullrank.heads import mlp
from fullrank.methods._method import BackboneFactory, Guard, Method, wide
from fullrank.objectives import distillation
from fullrank.types import Output, StepContext, Stream, ViewPlan, Views, ViewSpec
from fullrank.views.streams import CHANNELS, to_stream
from fullrank.views.temporal import span_frames


class BraVe(Method):
    """See the top of this file."""

    branches = ("narrow", "broad")
    guards = {
        "predictor": Guard(
            off={"predictor": False},
            expect="complete",
            source="Chen and He (SimSiam), CVPR 2021, table 1: without a predictor 0.1 % with the same loss",
        ),
        "stop-gradient": Guard(
            off={"stop_gradient": False},
            expect="complete",
            source="Chen and He (SimSiam), CVPR 2021, figure 2: without stop-gradient 0.1 % with the same loss",
        ),
        "batch norm": Guard(
            off={"batch_norm": False},
            expect="complete",
            source="Richemond et al., 2020, arXiv 2010.10241: BYOL without any normalisation collapses",
        ),
    }

    class Config(Settings):
        """Settings of BraVe."""

        rho: Annotated[int, Field(ge=1)] = 1
        """temporal clips of a record, each with a narrow and a broad view"""
        augmentation: Augmentation = Augmentation(
            min_scale=0.3, min_aspect=0.5, max_aspect=2.0, hue=0.2, brightness=0.125, blur_prob=(1.0,)
        )
        """how narrow views are made"""
        narrow_frames: Annotated[int, Field(ge=1)] = 16
        """frames of a narrow view"""
        narrow_stride: Annotated[int, Field(ge=1)] = 1
        """clip frames from one of them to the next"""
        broad_augmentation: Augmentation = Augmentation(
            size_pixels=112, min_scale=0.3, min_aspect=0.5, max_aspect=2.0, hue=0.2, brightness=0.125, blur_prob=(1.0,)
        )
        """how broad views are made; before they become another stream"""
        broad_frames: Annotated[int, Field(ge=1)] = 64
        """frames of a broad view"""
        broad_stride: Annotated[int, Field(ge=1)] = 2
        """clip frames from one of them to the next"""
        broad_stream: Stream = "rgb"
        """what a broad view shows"""
        projector: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (4096, 128)
        """widths of the projectors' layers (f), BatchNorm after each"""
        predictor: bool = True
        """a predictor (h) on each side"""
        predictor_hidden: Annotated[int, Field(ge=1)] = 4096
        """width of the predictors' hidden layer; their output is as wide as the embedding"""
        stop_gradient: bool = True
        """what is predicted carries no gradient (sg)"""
        batch_norm: bool = True
        """BatchNorm in projectors and predictors"""

    @classmethod
    def views(cls, cfg: Config) -> ViewPlan:  # type: ignore[override]
        """A clip as long as the broad view, and a narrow and a broad view of it."""
        narrow = ViewSpec(
            name="narrow", augmentation=cfg.augmentation, num_frames=cfg.narrow_frames, strides=(cfg.narrow_stride,)
        )
        broad = ViewSpec(
            name="broad",
            augmentation=cfg.broad_augmentation,
            num_frames=cfg.broad_frames,
            strides=(cfg.broad_stride,),
            stream=cfg.broad_stream,
        )
        span = max(span_frames(cfg.narrow_frames, cfg.narrow_stride), span_frames(cfg.broad_frames, cfg.broad_stride))
        return ViewPlan(groups=(narrow, broad), num_clips=cfg.rho, num_frames=span)

    def __init__(self, cfg: Config, backbone: BackboneFactory, num_records: int):
        super().__init__(cfg, backbone, num_records)
        self.cfg = cfg
        self.backbone = backbone("narrow")
        self.broad_backbone = backbone("broad", in_channels=CHANNELS[cfg.broad_stream])
        self.projector, self.broad_projector = self._projector(self.backbone), self._projector(self.broad_backbone)
        self.predictor, self.broad_predictor = self._predictor(), self._predictor()

    def _projector(self, backbone: nn.Module) -> nn.Module:
        dims = (backbone.embed_dim, *self.cfg.projector)
        return mlp(dims, batch_norm=self.cfg.batch_norm, last_batch_norm=self.cfg.batch_norm)  # type: ignore[arg-type]

    def _predictor(self) -> nn.Module:
        width = self.cfg.projector[-1]
        if not self.cfg.predictor:
            return nn.Identity()
        return mlp((width, self.cfg.predictor_hidden, width), batch_norm=self.cfg.batch_norm)

    def forward(self, views: Views, ctx: StepContext) -> Output:
        """Terms "narrow_to_broad" and "broad_to_narrow": means over samples, so nothing is gathered."""
        narrow, broad = views.group("narrow"), views.group("broad")
        h, z, p = self._side(narrow, self.backbone, self.projector, self.predictor)
        h_broad, z_broad, p_broad = self._side(broad, self.broad_backbone, self.broad_projector, self.broad_predictor)
        return Output(
            losses={"narrow_to_broad": self._regression(p, z_broad), "broad_to_narrow": self._regression(p_broad, z)},
            features={
                "representation": h.detach().float(),
                "embedding": z.detach(),
                "prediction": p.detach(),
                "broad_representation": h_broad.detach().float(),
                "broad_embedding": z_broad.detach(),
            },
        )

    def _side(self, pixels: Tensor, *modules: nn.Module) -> list[Tensor]:
        """[n, views, ...] -> what backbone, projector and predictor put out, each [n, views, d]."""
        shape, x, found = pixels.shape[:2], pixels.flatten(0, 1), []
        for module in modules:
            x = module(x)
            found.append(x.unflatten(0, shape))
        return [found[0], *(wide(part) for part in found[1:])]

    def _regression(self, prediction: Tensor, target: Tensor) -> Tensor:
        """2 - 2 cos of every prediction of a record with every target."""
        n, narrow, d = prediction.shape
        shape = (n, narrow, target.shape[1], d)
        prediction, target = prediction[:, :, None].expand(shape), target[:, None].expand(shape)
        return 2 + 2 * distillation.negative_cosine(prediction, target.detach() if self.cfg.stop_gradient else target)

    def encode(self, pixels: Tensor, branch: str | None = None) -> Tensor:
        """The narrow backbone's output, which the paper evaluates, or the broad one's: always from RGB, at its frame rate.

        ``SettingError`` for the broad branch where it sees flow, which is not made from pixels.
        """
        if self.resolve_branch(branch) == "narrow":
            return self.backbone(pixels[:, :, :: self.cfg.narrow_stride])  # type: ignore[no-any-return]
        if self.cfg.broad_stream == "flow":
            raise SettingError(
                "branch 'broad' of this run sees optical flow, and encode gets pixels. Take branch 'narrow', or train with "
                "--method.broad-stream difference."
            )
        shown = to_stream(pixels[:, :, :: self.cfg.broad_stride], self.cfg.broad_stream)
        return self.broad_backbone(shown)  # type: ignore[no-any-return]

    def embed(self, representation: Tensor, branch: str | None = None) -> Tensor:
        """The output of the branch's projector."""
        network = self.projector if self.resolve_branch(branch) == "narrow" else self.broad_projector
        return network(representation)  # type: ignore[no-any-return]

    def at_collapse(self, batch_size: int) -> dict[str, float]:
        """0 and 0, which is their minimum too."""
        return {"narrow_to_broad": 0.0, "broad_to_narrow": 0.0}

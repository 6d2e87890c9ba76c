"""Supervised: the same network trained with the labels, the ceiling that encoders without labels are held against.

Idea: what this backbone, these views and this many steps reach when they may see the answer.
Data flow: clips -> one view -> backbone -> h -> linear classifier -> cross-entropy with the record's label.
What prevents collapse: the labels. Dimensional collapse towards (classes - 1) dimensions is what it converges to
(neural collapse: Papyan, Han, Donoho, PNAS 2020).
What breaks it: few or wrong labels.
With equal logits: log(classes).
Not a method of its own and the only one that sees labels; records with label -1 are ignored. Ours: docs/results.md.
"""

from typing import Annotated, Any, ClassVar

import torch
from jaxtyping import Int64
from pydantic import Field
from torch import Tensor, nn

from fullrank.config import Augmentation, Settings
from fullrank.errors import SettingError
from fullrank.methods._method import BackboneFactory, Method
from fullrank.objectives import classification
from fullrank.types import Output, StepContext, ViewPlan, Views, ViewSpec


class Supervised(Method):
    """See the top of this file."""

    needs_labels: ClassVar[bool] = True
    labels: Tensor
    classifier: nn.Linear | None

    class Config(Settings):
        """Settings of the supervised baseline."""

        augmentation: Augmentation = Augmentation()
        """how the view is made"""
        label_name: Annotated[str, Field(min_length=1)] = "label"
        """which of the source's label sets (a folder's is named "label")"""

    @classmethod
    def views(cls, cfg: Config) -> ViewPlan:  # type: ignore[override]
        """One view of one clip."""
        return ViewPlan(groups=(ViewSpec(name="view", augmentation=cfg.augmentation),))

    def __init__(self, cfg: Config, backbone: BackboneFactory, num_records: int):
        super().__init__(cfg, backbone, num_records)
        self.cfg = cfg
        self.backbone = backbone("student")
        self.register_module("classifier", None)
        self.register_load_state_dict_pre_hook(_make_classifier_of)
        # not saved: the source has them, and a checkpoint must not carry labels
        self.register_buffer("labels", torch.full((num_records,), -1, dtype=torch.int64), persistent=False)

    def set_labels(self, labels: Int64[Tensor, " records"], num_classes: int) -> None:
        """The label of each record (-1: unknown); makes the classifier. Called before the first step."""
        if labels.shape != self.labels.shape or num_classes < 1 or int(labels.max()) >= num_classes or int(labels.min()) < -1:
            raise SettingError(
                f"labels must be {len(self.labels)} numbers from -1 (unknown) to the number of classes - 1. "
                f"Got {len(labels)} from {int(labels.min())} to {int(labels.max())} for {num_classes} classes."
            )
        if not bool((labels >= 0).any()):
            raise SettingError(
                f"At least one record must have a label '{self.cfg.label_name}'. Got none; sort files by folder."
            )
        self.labels = labels.to(self.labels.device)
        self.make_classifier(num_classes)

    def forward(self, views: Views, ctx: StepContext) -> Output:
        """Term "cross_entropy" over the labelled records of the global batch; metric "accuracy" of the same."""
        if self.classifier is None:
            raise SettingError("The supervised baseline must be given labels before the first step. Got none; call set_labels.")
        h = self.backbone(views.group("view").flatten(0, 1))
        logits = self.classifier(h).float()
        # gathered, because processes may hold different numbers of labelled records
        terms = classification.cross_entropy(ctx.gather(logits), ctx.gather(self.labels[views.index]))
        return Output(
            losses={"cross_entropy": terms.loss},
            features={"representation": h.detach().float().unsqueeze(1)},
            metrics={"accuracy": terms.accuracy},
        )

    def encode(self, pixels: Tensor, branch: str | None = None) -> Tensor:
        """The backbone's output."""
        self.resolve_branch(branch)
        return self.backbone(pixels)  # type: ignore[no-any-return]

    def make_classifier(self, num_classes: int) -> None:
        """A new linear layer, unless there is one of this width."""
        if self.classifier is None or self.classifier.out_features != num_classes:
            width: int = self.backbone.embed_dim  # type: ignore[assignment]
            self.classifier = nn.Linear(width, num_classes).to(self.labels.device)


def _make_classifier_of(module: Supervised, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    # a checkpoint brings its classifier, so that an encoder can be read where there are no labels
    weight = state_dict.get(prefix + "classifier.weight")
    if weight is not None:
        module.make_classifier(weight.shape[0])

"""Supervised: the same network trained with the labels, the ceiling that encoders without labels are held against.

Idea: what this backbone, these views and this many steps reach when they may see the answer.
Data flow: clips -> one view -> backbone -> h -> a linear classifier for each label set -> cross-entropy with the label.
What prevents collapse: the labels. Dimensional collapse towards (classes - 1) dimensions is what it converges to
(neural collapse: Papyan, Han, Donoho, PNAS 2020).
What breaks it: few or wrong labels.
With equal logits: log(classes).
Not a method of its own and the only one that sees labels; records with label -1 are ignored. Ours: docs/results.md.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, cast

import torch
from jaxtyping import Int64
from pydantic import Field
from torch import Tensor, nn

from fullrank.config import Augmentation, Settings
from fullrank.errors import SettingError
from fullrank.methods._method import BackboneFactory, Method, wide
from fullrank.objectives import classification
from fullrank.types import Output, StepContext, ViewPlan, Views, ViewSpec


class Supervised(Method):
    """See the top of this file."""

    needs_labels: ClassVar[bool] = True
    knows_records: ClassVar[bool] = True
    labels: Tensor
    classifiers: nn.ModuleDict

    class Config(Settings):
        """Settings of the supervised baseline."""

        augmentation: Augmentation = Augmentation()
        """how the view is made"""
        label_names: Annotated[tuple[str, ...], Field(min_length=1)] = ("label",)
        """which of the source's label sets (a folder's is named "label"); of several the cross-entropies are added"""

    @classmethod
    def views(cls, cfg: Config) -> ViewPlan:  # type: ignore[override]
        """One view of one clip."""
        return ViewPlan(groups=(ViewSpec(name="view", augmentation=cfg.augmentation),))

    def __init__(self, cfg: Config, backbone: BackboneFactory, num_records: int):
        super().__init__(cfg, backbone, num_records)
        self.cfg = cfg
        self.backbone = backbone("student")
        self.classifiers = nn.ModuleDict()
        # not saved: the source has them, and a checkpoint must not carry labels
        empty = torch.full((num_records, len(cfg.label_names)), -1, dtype=torch.int64)
        self.register_buffer("labels", empty, persistent=False)

    def set_labels(self, labels: Mapping[str, Int64[Tensor, " records"]], num_classes: Mapping[str, int]) -> None:
        """The labels of each record in every set (-1: unknown); makes the classifiers. Called before the first step."""
        columns = []
        for name in self.cfg.label_names:
            values, classes = labels[name], num_classes[name]
            fits = len(values) == len(self.labels) and classes >= 1
            if not fits or int(values.max()) >= classes or int(values.min()) < -1:
                raise SettingError(
                    f"labels '{name}' must be {len(self.labels)} numbers from -1 (unknown) to the number of classes - 1. "
                    f"Got {len(values)} from {int(values.min())} to {int(values.max())} for {classes} classes."
                )
            if not bool((values >= 0).any()):
                raise SettingError(f"At least one record must have a label '{name}'. Got none; sort files by folder.")
            columns.append(values)
            self.make_classifier(name, classes)
        self.labels = torch.stack(columns, dim=1).to(self.labels.device)

    def forward(self, views: Views, ctx: StepContext) -> Output:
        """Term "cross_entropy" (of several sets "cross_entropy_<name>") over the labelled records of the global batch."""
        if not self.classifiers:
            raise SettingError("The supervised baseline must be given labels before the first step. Got none; call set_labels.")
        h = self.backbone(views.group("view").flatten(0, 1))
        losses, metrics = {}, {}
        for i, name in enumerate(self.cfg.label_names):
            suffix = f"_{name}" if len(self.cfg.label_names) > 1 else ""
            # gathered, because processes may hold different numbers of labelled records
            logits = ctx.gather(wide(self.classifiers[name](h)))
            terms = classification.cross_entropy(logits, ctx.gather(self.labels[views.index, i]))
            losses[f"cross_entropy{suffix}"], metrics[f"accuracy{suffix}"] = terms.loss, terms.accuracy
        return Output(losses=losses, features={"representation": h.detach().float().unsqueeze(1)}, metrics=metrics)

    def encode(self, pixels: Tensor, branch: str | None = None) -> Tensor:
        """The backbone's output."""
        self.resolve_branch(branch)
        return self.backbone(pixels)  # type: ignore[no-any-return]

    def make_classifier(self, name: str, num_classes: int) -> None:
        """A new linear layer for a label set, unless there is one of this width."""
        old = dict(self.classifiers.items()).get(name)
        if not isinstance(old, nn.Linear) or old.out_features != num_classes:
            self.classifiers[name] = nn.Linear(cast(int, self.backbone.embed_dim), num_classes).to(self.labels.device)

    def fit_classifiers_to(self, state: Mapping[str, Tensor]) -> None:
        """Classifiers of the widths of a checkpoint, so that its encoder can be read where there are no labels."""
        for name in self.cfg.label_names:
            weight = state.get(f"classifiers.{name}.weight")
            if weight is not None:
                self.make_classifier(name, weight.shape[0])

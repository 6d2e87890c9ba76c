"""The teacher: an exponential moving average (EMA) of the student. The only EMA of the package.

Every paper has its own words for the pair: online / target (BYOL), query / key encoder (MoCo), context / target encoder
(V-JEPA), student / teacher (DINO).
"""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from fullrank.backbones.transformer import DropPath
from fullrank.errors import SettingError, ShapeError


class Teacher(nn.Module):
    """Frozen copies of one or more modules (backbone, projector, ...), applied one after the other.

    The equation (MoCo, He et al., CVPR 2020, arXiv 1911.05722, equation 2; BYOL, Grill et al., NeurIPS 2020, arXiv
    2006.07733, equation 1): teacher = momentum * teacher + (1 - momentum) * student, over the parameters.

    Buffers (the running statistics of batch norm) are not averaged: they are the teacher's own, and change when it runs in
    train mode, as in PySlowFast and lightly. It follows ``train()`` and ``eval()`` of the method it belongs to: the
    teachers of MoCo and BYOL normalise by the batch in train mode. Stochastic depth is the student's alone, as in DINO's code:
    the copies skip nothing.

    >>> student = nn.Linear(1, 1, bias=False)
    >>> _ = student.weight.data.fill_(1.0)
    >>> teacher = Teacher(student)
    >>> _ = student.weight.data.fill_(2.0)
    >>> teacher.update(student, momentum=0.75)
    >>> teacher(torch.ones(1, 1))[0].item()
    1.25
    """

    def __init__(self, *modules: nn.Module):
        super().__init__()
        if not modules:
            raise SettingError("Teacher must be given at least one module to copy. Got none; pass the backbone.")
        self.copies = nn.ModuleList(deepcopy(module) for module in modules)
        self.copies.requires_grad_(False)
        for part in self.copies.modules():
            if isinstance(part, DropPath):
                part.prob = 0.0

    def __getitem__(self, position: int) -> nn.Module:
        """The copy of the module given at ``position``."""
        return self.copies[position]

    @torch.no_grad()
    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """What each module puts out, the first fed with ``x`` and each other with the one before; without gradient."""
        outputs: list[Tensor] = []
        for module in self.copies:
            x = module(x)
            outputs.append(x)
        return tuple(outputs)

    @torch.no_grad()
    def update(self, *modules: nn.Module, momentum: float) -> None:
        """Move towards the student's ``modules``, given as at construction; ``momentum`` = the fraction kept, 0..1.

        Momentum 1 changes nothing, 0 copies. ``ShapeError`` where the modules are not those that were copied.
        """
        if not 0.0 <= momentum <= 1.0:
            raise SettingError(f"momentum of the teacher must be in [0, 1]. Got {momentum}; 0.99 keeps 99 %.")
        teacher, student = list(self.copies.parameters()), list(_parameters(modules))
        if [p.shape for p in teacher] != [p.shape for p in student]:
            raise ShapeError(
                f"Teacher.update must be given the modules that were copied: {len(self.copies)} with {len(teacher)} "
                f"parameters. Got {len(modules)} with {len(student)} (or other shapes); pass them in the same order."
            )
        _lerp(teacher, student, 1.0 - momentum)


def _parameters(modules: tuple[nn.Module, ...]) -> Iterator[nn.Parameter]:
    # One list, so that a parameter shared by two modules counts once, as in the copies.
    yield from nn.ModuleList(modules).parameters()


def _lerp(into: list[Any], towards: list[Any], weight: float) -> None:
    """All tensors in a few calls instead of one each (torch.optim does the same)."""
    torch._foreach_lerp_(into, towards, weight)

"""Many linear classifiers on the same features, trained as one: a wide linear layer whose gradient is written by hand.

All settings see the same batches, so x W is one product for all of them and so is the gradient. The result is what
training them one after the other gives.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float32, Int64
from torch import Tensor
from torch.nn import functional as F

from fullrank.draws import permutation
from fullrank.errors import SettingError, ShapeError
from fullrank.schedules import cosine

SMALLEST = 1e-30
"""odds below this are 0"""
MOMENTUM = 0.9
MAX_WIDTH = 8192
"""widest layer trained at once: settings * classes"""

Progress = Callable[[float], None]
"""called with the share that is done, 0..1"""


class Setting(NamedTuple):
    """One point of the grid."""

    learning_rate: float
    weight_decay: float


class Probes(NamedTuple):
    """Linear classifiers, one a setting: logits = x @ weight[i].T + bias[i]."""

    weight: Float32[Tensor, "settings classes d"]
    bias: Float32[Tensor, "settings classes"]

    def logits(self, features: Float32[Tensor, "n d"]) -> Float32[Tensor, "settings n classes"]:
        """Of every setting for every row."""
        return torch.einsum("nd,scd->snc", features, self.weight) + self.bias[:, None]


@torch.no_grad()
def train_probes(
    features: Float32[Tensor, "n d"],
    labels: Int64[Tensor, " n"],
    settings: Sequence[Setting],
    *,
    num_classes: int,
    epochs: int = 100,
    batch_size: int = 256,
    seed: int = 0,
    progress: Progress | None = None,
) -> Probes:
    """Softmax regression for every setting, from zero weights, by SGD with momentum 0.9 and a cosine to 0 over all steps.

    The loss is the mean cross-entropy of a batch; weight decay is added to the gradient as torch.optim.SGD does it, for
    weights, not for biases. Order: ``draws.permutation(seed, epoch, n)``; the last, smaller batch is kept. Wide grids are
    trained in parts, which changes nothing but rounding.
    """
    _check(features, labels, settings, num_classes, epochs, batch_size)
    part = max(1, MAX_WIDTH // num_classes)
    parts = [settings[start : start + part] for start in range(0, len(settings), part)]
    trained = []
    for i, some in enumerate(parts):

        def report(done: float, before: int = i) -> None:
            if progress is not None:
                progress((before + done) / len(parts))

        trained.append(_train(features, labels, some, num_classes, epochs, min(batch_size, len(features)), seed, report))
    return Probes(torch.cat([p.weight for p in trained]), torch.cat([p.bias for p in trained]))


def _train(
    features: Tensor,
    labels: Tensor,
    settings: Sequence[Setting],
    classes: int,
    epochs: int,
    batch: int,
    seed: int,
    report: Progress,
) -> Probes:
    """All settings are columns of one matrix: column s * classes + c is class c of setting s."""
    n, d = features.shape
    count = len(settings)
    rates = features.new_tensor([s.learning_rate for s in settings]).repeat_interleave(classes)
    decays = features.new_tensor([s.weight_decay for s in settings]).repeat_interleave(classes)
    weight, bias = features.new_zeros(d, count * classes), features.new_zeros(count * classes)
    speed, bias_speed = torch.zeros_like(weight), torch.zeros_like(bias)
    decayed = bool((decays > 0).any())
    per_epoch = -(-n // batch)
    total, step = epochs * per_epoch, 0
    for epoch in range(epochs):
        order = torch.from_numpy(permutation(seed, epoch, n)).to(features.device)
        for rows in order.split(batch):
            x, y = features[rows], labels[rows]
            # d loss / d logits = (softmax - one-hot) / rows of the batch
            residual = _softmax(torch.addmm(bias, x, weight).view(-1, count, classes))
            # Sure classifiers (large rates) give subnormal odds, which a CPU multiplies up to a hundred times slower.
            residual = F.threshold(residual, SMALLEST, 0.0, inplace=True)
            residual.scatter_add_(2, y[:, None, None].expand(-1, count, 1), residual.new_full((len(y), count, 1), -1.0))
            residual = residual.view(-1, count * classes).div_(len(y))
            speed.addmm_(x.T, residual, beta=MOMENTUM)
            if decayed:
                speed.addcmul_(weight, decays)
            bias_speed.mul_(MOMENTUM).add_(residual.sum(dim=0))
            rate = rates * cosine(step / total, 1.0, 0.0)
            weight.addcmul_(speed, rate, value=-1.0)
            bias.addcmul_(bias_speed, rate, value=-1.0)
            step += 1
        report((epoch + 1) / epochs)
    return Probes(weight.view(d, count, classes).permute(1, 2, 0).contiguous(), bias.view(count, classes))


def _softmax(logits: Tensor) -> Tensor:
    """Over the last axis, where torch's own is 2 to 8 times slower if that axis is short (measured: 10 against 100)."""
    if logits.shape[-1] >= 32:
        return logits.softmax(dim=-1)
    odds = logits.sub_(logits.amax(dim=-1, keepdim=True)).exp_()
    return odds.div_(odds.sum(dim=-1, keepdim=True))


@torch.no_grad()
def judge(
    probes: Probes, features: Float32[Tensor, "n d"], labels: Int64[Tensor, " n"]
) -> tuple[Float32[Tensor, " settings"], Float32[Tensor, " settings"]]:
    """Accuracy and mean cross-entropy of every setting; a setting that diverged has accuracy 0 and infinite loss."""
    right, loss = probes.bias.new_zeros(len(probes.bias)), probes.bias.new_zeros(len(probes.bias))
    rows = max(1, 2**24 // probes.bias.numel())
    for x, y in zip(features.split(rows), labels.split(rows), strict=True):
        logits = probes.logits(x)
        right += (logits.argmax(dim=2) == y).sum(dim=1)
        wanted = y.expand(len(logits), -1).reshape(-1)
        loss += F.cross_entropy(logits.flatten(0, 1), wanted, reduction="none").view(len(logits), -1).sum(dim=1)
    finite = loss.isfinite() & probes.weight.flatten(1).isfinite().all(dim=1)
    return torch.where(finite, right / len(labels), 0.0), torch.where(finite, loss / len(labels), torch.inf)


def _check(
    features: Tensor, labels: Tensor, settings: Sequence[Setting], num_classes: int, epochs: int, batch_size: int
) -> None:
    if features.ndim != 2 or len(features) != len(labels) or not len(features):
        raise ShapeError(f"features and labels must be [n, d] and [n]. Got {list(features.shape)} and {list(labels.shape)}.")
    if int(labels.min()) < 0 or int(labels.max()) >= num_classes:
        raise ShapeError(f"labels must be in 0..{num_classes - 1}. Got {int(labels.min())}..{int(labels.max())}.")
    if not settings or epochs < 1 or batch_size < 1:
        got = f"{len(settings)} settings, {epochs} epochs, batches of {batch_size}"
        raise SettingError(f"a linear probe must have at least one setting, one epoch and one record a batch. Got {got}.")
    for setting in settings:
        if not setting.learning_rate > 0.0 or not setting.weight_decay >= 0.0:
            raise SettingError(f"learning rates must be above 0 and weight decays at least 0. Got {tuple(setting)}.")

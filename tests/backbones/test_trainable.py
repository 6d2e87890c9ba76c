"""Every backbone is there to be trained, not only to be imported: one step of SimCLR gives each parameter a gradient."""

from typing import Any

import pytest
import torch

from fullrank.checkpoint.encoder import build_method
from fullrank.config import Augmentation, BackboneConfig, RunConfig
from fullrank.methods.simclr import SimCLR
from fullrank.types import StepContext, Views

NARROW: dict[str, Any] = {"width": 1 / 16}
SMALL: dict[str, Any] = {"size": "micro", "layers": 2, "patch_pixels": 16, "image_pixels": 32, "max_frames": 8}
KINDS: dict[str, tuple[dict[str, Any], int]] = {
    "2d": (NARROW, 1),
    "slow": (NARROW | {"temporal": "slow", "depth": 50}, 4),
    "c2d": (NARROW | {"temporal": "c2d"}, 4),
    "i3d": (NARROW | {"temporal": "i3d", "depth": 50}, 4),
    "r2plus1d": (NARROW | {"temporal": "r2plus1d"}, 8),
    "2d3d": (NARROW | {"temporal": "2d3d"}, 8),
    "s3d": ({"name": "s3d"}, 16),
    "s3dg": ({"name": "s3d", "gating": True}, 16),
    "vit": (SMALL | {"name": "vit", "max_frames": 1}, 1),
    "tubelet_vit": (SMALL | {"name": "vit", "patch_frames": 2}, 8),
    "timesformer": (SMALL | {"name": "timesformer"}, 8),
}
"""{kind: settings, frames}"""


@pytest.mark.parametrize("kind", KINDS)
def test_one_step_of_simclr(kind) -> None:
    settings, frames = KINDS[kind]
    torch.manual_seed(0)
    method = SimCLR.Config(rho=2, augmentation=Augmentation(size_pixels=32), projector=(16, 16))
    config = RunConfig[SimCLR.Config](method=method, backbone=BackboneConfig(**settings))
    model = build_method(config, num_records=4).train()
    views = Views(pixels={"view": torch.randn(4, 2, 3, frames, 32, 32)}, index=torch.arange(4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    losses = []
    for _ in range(2):
        loss = sum(model(views, StepContext()).losses.values())
        optimizer.zero_grad()
        loss.backward()
        without = [name for name, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
        assert not without
        optimizer.step()
        losses.append(loss.item())
    assert all(map(torch.isfinite, torch.tensor(losses)))
    assert losses[1] != losses[0]

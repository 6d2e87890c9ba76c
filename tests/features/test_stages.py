"""The stages of a network are its maps, averaged, in the order of the data flow."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fullrank.backbones.resnet import ResNet
from fullrank.checkpoint.encoder import Encoder, untrained
from fullrank.checkpoint.load import load
from fullrank.config import RunConfig
from fullrank.data.open import open_source
from fullrank.data.sources.arrays import ArraySource
from fullrank.errors import SettingError
from fullrank.features.stages import stage_features


@pytest.fixture
def encoder(vicreg_settings: Callable[..., RunConfig[Any]]) -> Encoder:
    return untrained(vicreg_settings())


def test_the_last_stage_averaged_is_the_representation(encoder: Encoder, memory_source: Callable[..., ArraySource]) -> None:
    found = stage_features(encoder, memory_source(records=6), batch_size=4)
    assert list(found) == ["layer1", "layer2", "layer3", "layer4", "representation", "embedding"]
    assert [rows.shape for rows in found.values()] == [(6, 8), (6, 16), (6, 32), (6, 64), (6, 64), (6, 16)]
    np.testing.assert_allclose(found["layer4"], found["representation"], atol=1e-6)


def test_batches_don_t_matter(encoder: Encoder, memory_source: Callable[..., ArraySource]) -> None:
    once, one_by_one = (stage_features(encoder, memory_source(records=5), batch_size=size) for size in (5, 1))
    for name, rows in once.items():
        np.testing.assert_allclose(rows, one_by_one[name], atol=1e-5)


def test_a_network_without_stages_is_refused(encoder: Encoder, memory_source: Callable[..., ArraySource]) -> None:
    encoder.method.backbone = nn.Identity()
    with pytest.raises(SettingError, match="must have stages.*Got Identity"):
        stage_features(encoder, memory_source())


def test_a_file_of_another_codebase_has_stages_too(video_folder: Path, tmp_path: Path) -> None:
    """A narrow ResNet-18 in MoCo's layout, seen with MoCo's own preparation."""
    torch.manual_seed(0)
    backbone, projector = ResNet(18, 0.125), nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 8))
    state = {f"module.encoder_q.{key}": tensor for key, tensor in backbone.state_dict().items()}
    state |= {f"module.encoder_q.fc.{key}": tensor for key, tensor in projector.state_dict().items()}
    torch.save({"epoch": 200, "state_dict": state}, tmp_path / "moco.pth.tar")
    encoder = load(tmp_path / "moco.pth.tar")
    found = stage_features(encoder, open_source(video_folder))
    assert [rows.shape for rows in found.values()] == [(12, 8), (12, 16), (12, 32), (12, 64), (12, 64), (12, 8)]
    np.testing.assert_allclose(found["layer4"], found["representation"], atol=1e-5)
    own = encoder(encoder.preprocess(video_folder / "left"))
    names = [i for i, name in enumerate(open_source(video_folder).record_ids) if name.startswith("left")]
    np.testing.assert_allclose(found["representation"][names], own.representation, atol=1e-4)

"""The stages of a network are its maps, averaged, in the order of the data flow."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fullrank.checkpoint.encoder import Encoder, untrained
from fullrank.config import RunConfig
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


def test_a_file_of_another_codebase_has_stages_too(shared: Any, tmp_path: Any) -> None:
    from PIL import Image

    from fullrank.checkpoint.load import load
    from fullrank.data.open import open_source

    files = sorted((shared / "parity" / "moco_v2_resnet50").glob("*.pth*"))
    if not files:
        pytest.skip("the parity fixture is absent")
    (tmp_path / "images").mkdir()
    for i in range(3):
        Image.effect_noise((64, 48), 40 + i).convert("RGB").save(tmp_path / "images" / f"{i}.png")
    with torch.inference_mode():
        found = stage_features(load(files[0]), open_source(tmp_path / "images"))
    np.testing.assert_allclose(found["layer4"], found["representation"], atol=1e-4)
    assert len(found["layer1"]) == 3

from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from fullrank.backbones.resnet import ResNet
from fullrank.checkpoint.encoder import build_method
from fullrank.config import BackboneConfig
from fullrank.errors import SettingError

TINY: dict[str, Any] = {"width": 1 / 16, "stem": "cifar"}


@pytest.fixture
def file(tmp_path):
    """A weights file of ``TINY``, and its first convolution."""
    torch.manual_seed(7)
    net = ResNet(**TINY)
    save_file(net.state_dict(), tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors", net.conv1.weight.detach()


def test_the_weights_file_is_read_when_asked_for(vicreg_settings, file):
    path, conv = file
    config = vicreg_settings(backbone=BackboneConfig(**TINY, weights=path))
    torch.testing.assert_close(build_method(config, 8, weights=True).backbone.conv1.weight, conv)
    path.unlink()  # a run that goes on needs it no more
    assert not torch.equal(build_method(config, 8).backbone.conv1.weight, conv)


def test_a_role_has_its_own_settings_and_weights_file(vicreg_settings, file):
    path, conv = file
    config = vicreg_settings(roles={"student": BackboneConfig(**TINY, weights=path)})
    torch.testing.assert_close(build_method(config, 8, weights=True).backbone.conv1.weight, conv)
    assert build_method(config, 8).backbone.conv1.weight.shape == conv.shape


def test_a_role_that_the_method_does_not_have_is_a_sentence(vicreg_settings):
    config = vicreg_settings(roles={"broad": BackboneConfig(**TINY)})
    with pytest.raises(SettingError, match="roles must be among those that the method has: student. Got 'broad'"):
        build_method(config, 8)

"""Backbones for the next tool, and back."""

import numpy as np
import pytest
import torch
from torch import nn

from fullrank.backbones.resnet import ResNet
from fullrank.backbones.vit import ViT
from fullrank.checkpoint.export import export
from fullrank.checkpoint.interop.identify import identify
from fullrank.errors import SettingError


def pixels(frames=1):
    torch.manual_seed(1)
    return torch.randn(3, 3, frames, 64, 64)


def warm(module):
    """Statistics and weights that are not the initial ones."""
    torch.manual_seed(2)
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.running_mean.uniform_(-0.5, 0.5)
            part.running_var.uniform_(0.5, 1.5)
    return module.eval()


@pytest.mark.parametrize(
    ("to", "temporal", "layout"), [("torchvision", "2d", "torchvision"), ("pytorchvideo", "slow", "pytorchvideo")]
)
def test_state_dicts_come_back(tmp_path, to, temporal, layout) -> None:
    backbone, classifier = warm(ResNet(50, 0.125, temporal=temporal)), nn.Linear(256, 5)
    export(backbone, to, tmp_path / "x.pth", classifier=classifier)
    found = identify(tmp_path / "x.pth")
    assert found.layout.name == layout
    x = pixels(8 if temporal == "slow" else 1)
    with torch.no_grad():
        assert torch.equal(found.network.backbone(x), backbone(x))
        assert torch.equal(found.network.classifier(torch.ones(1, 256)), classifier(torch.ones(1, 256)))


def test_safetensors_hold_any_backbone(tmp_path) -> None:
    from safetensors.torch import load_file

    backbone = ViT("micro", layers=2, patch_pixels=8, image_pixels=32)
    export(backbone, "safetensors", tmp_path / "x.safetensors", metadata={"a": "b"})
    back = load_file(tmp_path / "x.safetensors")
    assert all(torch.equal(back[key], tensor) for key, tensor in backbone.state_dict().items())


@pytest.mark.parametrize("temporal", ["2d", "slow"])
def test_onnx_gives_the_same_numbers_for_any_batch(tmp_path, temporal) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    backbone = warm(ResNet(18, 0.125, temporal=temporal))
    x = pixels(4 if temporal == "slow" else 1)
    export(backbone, "onnx", tmp_path / "x.onnx", pixels=x[:2])
    session = onnxruntime.InferenceSession(tmp_path / "x.onnx")
    (got,) = session.run(None, {"pixels": x.numpy()})
    with torch.no_grad():
        want = backbone(x).numpy()
    assert np.abs(got - want).max() / np.abs(want).max() < 1e-4


def test_a_target_without_such_a_network(tmp_path) -> None:
    with pytest.raises(SettingError, match="temporal 2d. Got a ResNet with temporal slow"):
        export(ResNet(18, 0.125, temporal="slow"), "torchvision", tmp_path / "x.pth")
    with pytest.raises(SettingError, match="Got ViT"):
        export(ViT("micro", layers=1, patch_pixels=8, image_pixels=32), "pytorchvideo", tmp_path / "x.pth")
    assert list(tmp_path.iterdir()) == []

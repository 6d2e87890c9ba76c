"""Encoders for the next tool, and back."""

import numpy as np
import pytest
import torch
from torch import nn

from fullrank.backbones.resnet import ResNet
from fullrank.checkpoint.encoder import Encoder, build_method
from fullrank.checkpoint.export import example, export
from fullrank.checkpoint.imported import ImportedEncoder, load_imported
from fullrank.config import BackboneConfig
from fullrank.errors import SettingError, StorageError


def warm(module):
    """Statistics that are not the initial ones."""
    torch.manual_seed(2)
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.running_mean.uniform_(-0.5, 0.5)
            part.running_var.uniform_(0.5, 1.5)
    return module.eval()


def imported(tmp_path, temporal: str) -> ImportedEncoder:
    """A narrow ResNet-50 with a classifier, in torchvision's layout."""
    backbone = warm(ResNet(50, 0.125, temporal=temporal))
    state = backbone.state_dict() | {f"fc.{k}": v for k, v in nn.Linear(256, 5).state_dict().items()}
    torch.save(state, tmp_path / "from.pth")
    return load_imported(tmp_path / "from.pth")


def trained(vicreg_settings, **changes) -> Encoder:
    """As after training: a run of ours."""
    torch.manual_seed(3)
    config = vicreg_settings(backbone=BackboneConfig(width=1 / 16, stem="cifar"), **changes)
    return Encoder(config, warm(build_method(config, 8)), steps=1, checkpoint_hash="0", name="vicreg")


@pytest.mark.parametrize(("to", "temporal"), [("torchvision", "2d"), ("pytorchvideo", "slow")])
def test_state_dicts_come_back(tmp_path, to, temporal) -> None:
    encoder = imported(tmp_path, temporal)
    export(encoder, to, tmp_path / "x.pth")
    found = load_imported(tmp_path / "x.pth")
    assert found.found.layout.name == to
    x = torch.randn(3, 3, 8 if temporal == "slow" else 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(found.backbone(x), encoder.backbone(x))
        h = torch.ones(1, 256)
        assert torch.equal(found.network.classifier(h), encoder.network.classifier(h))


def test_a_backbone_alone_comes_back_too(tmp_path) -> None:
    torch.save(warm(ResNet(50, 0.125, temporal="slow")).state_dict(), tmp_path / "from.pth")
    encoder = load_imported(tmp_path / "from.pth")
    export(encoder, "pytorchvideo", tmp_path / "x.pth")
    found = load_imported(tmp_path / "x.pth")
    assert (found.found.layout.name, found.found.method) == ("pytorchvideo", "a backbone alone")
    x = torch.randn(2, 3, 8, 64, 64)
    assert torch.equal(found(x).representation, encoder(x).representation)


def test_safetensors_hold_the_backbone(tmp_path, vicreg_settings) -> None:
    from safetensors.torch import load_file

    encoder = trained(vicreg_settings)
    export(encoder, "safetensors", tmp_path / "x.safetensors")
    back = load_file(tmp_path / "x.safetensors")
    assert all(torch.equal(back[key], tensor) for key, tensor in encoder.backbone.state_dict().items())


@pytest.mark.parametrize("to", ["safetensors", "torchvision"])
def test_a_file_follows_the_umask_and_one_that_cannot_be_is_said(tmp_path, vicreg_settings, to) -> None:
    encoder = trained(vicreg_settings)
    (tmp_path / "usual").touch()
    export(encoder, to, tmp_path / "x")
    assert (tmp_path / "x").stat().st_mode == (tmp_path / "usual").stat().st_mode
    with pytest.raises(StorageError, match="usual/x must be a place to write to"):
        export(encoder, to, tmp_path / "usual" / "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="folder must be a place to write to. Got 'Is a directory'"):
        export(encoder, to, tmp_path / "folder")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["folder", "usual", "x"]


def test_onnx_gives_representation_and_embedding_for_any_batch(tmp_path, vicreg_settings, caplog) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    encoder = trained(vicreg_settings)
    export(encoder, "onnx", tmp_path / "x.onnx")
    assert not [said for said in caplog.records if "torchvision" in said.getMessage()], "none is used, so none is missed"
    x = torch.randn(5, *example(encoder).shape[1:])
    got = onnxruntime.InferenceSession(tmp_path / "x.onnx").run(["representation", "embedding"], {"pixels": x.numpy()})
    want = encoder(x)
    for ours, theirs in zip((want.representation, want.embedding), got, strict=True):
        assert np.abs(ours.numpy() - theirs).max() / np.abs(theirs).max() < 1e-4


def test_a_target_without_such_a_network(tmp_path) -> None:
    with pytest.raises(SettingError, match="temporal 2d. Got a ResNet with temporal slow"):
        export(imported(tmp_path, "slow"), "torchvision", tmp_path / "x.pth")
    with pytest.raises(SettingError, match="branch must be one of own for this file"):
        export(imported(tmp_path, "slow"), "pytorchvideo", tmp_path / "x.pth", branch="teacher")
    assert [file.name for file in tmp_path.iterdir()] == ["from.pth"]

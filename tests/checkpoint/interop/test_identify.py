"""Layouts: told apart by their keys, and one sentence where a file has none."""

import argparse

import pytest
import torch
from torch import nn

import fullrank
from fullrank.backbones.resnet import ResNet
from fullrank.checkpoint.encoder import backbone_weights, build_method
from fullrank.checkpoint.interop._heads import head
from fullrank.checkpoint.interop._layout import flat, match
from fullrank.checkpoint.interop.identify import LAYOUTS, describe, identify
from fullrank.config import BackboneConfig
from fullrank.errors import CheckpointError


def small_vicreg(tmp_path, **changes):
    """A file in VICReg's layout around a narrow ResNet-18."""
    torch.manual_seed(0)
    backbone = ResNet(18, 0.125)
    projector = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 16, bias=False))
    state = {f"module.backbone.{key}": tensor for key, tensor in backbone.state_dict().items()}
    state |= {f"module.projector.{key}": tensor for key, tensor in projector.state_dict().items()}
    state |= changes
    file = tmp_path / "model.pth"
    torch.save({"epoch": 7, "model": {k: v for k, v in state.items() if v is not None}, "optimizer": {"state": {}}}, file)
    return file, backbone.eval(), projector.eval()


def test_a_file_is_loaded_without_any_flag(tmp_path) -> None:
    file, backbone, projector = small_vicreg(tmp_path)
    encoder = fullrank.load(file)
    pixels = torch.randn(2, 3, 1, 32, 32)
    with torch.no_grad():
        h = backbone(pixels)
        torch.testing.assert_close(encoder(pixels).representation, h)  # channels last, so to rounding
        torch.testing.assert_close(encoder(pixels).embedding, projector(h))
    about = describe(encoder.found)
    assert about["layout"] == "vicreg"
    assert about["epoch"] == 7
    assert about["backbone"] == "--backbone.width 0.125"
    assert (about["representation"], about["embedding"]) == (64, 16)
    assert about["dropped"] == {}


def test_any_training_starts_from_it(tmp_path) -> None:
    file, backbone, _ = small_vicreg(tmp_path)
    weights = backbone_weights(file)
    assert set(weights) == set(backbone.state_dict())
    assert all(torch.equal(weights[key], tensor) for key, tensor in backbone.state_dict().items())


def test_a_recipe_with_another_backbone_is_told_the_flags(tmp_path, vicreg_settings) -> None:
    file, *_ = small_vicreg(tmp_path)
    config = vicreg_settings(backbone=BackboneConfig(width=0.25, stem="cifar", temporal="slow", weights=file))
    with pytest.raises(
        CheckpointError, match=r"Its own: --backbone.width 0.125 --backbone.stem imagenet --backbone.temporal 2d$"
    ):
        build_method(config, 8, weights=True)
    own = BackboneConfig(width=0.125, weights=file)
    assert build_method(vicreg_settings(backbone=own), 8, weights=True)


def test_ballast_is_dropped_with_a_reason_and_unknown_keys_make_it_likely(tmp_path) -> None:
    file, *_ = small_vicreg(tmp_path, **{"knn_mem.memory": torch.zeros(3), "module.mystery.weight": torch.zeros(2)})
    found = identify(file)
    assert found.match.dropped == {"knn_mem.memory": "memory of the kNN monitor"}
    assert found.certainty.startswith("likely")
    assert "mystery.weight" in found.certainty
    assert found.method == "unknown method, with a network like VICReg's"


def test_a_missing_key_is_named(tmp_path) -> None:
    file, *_ = small_vicreg(tmp_path, **{"module.backbone.layer2.0.bn1.weight": None})
    with pytest.raises(CheckpointError, match=r"looks like 'vicreg'.*1 missing \(layer2.0.bn1.weight\)"):
        identify(file)


def test_a_shape_that_does_not_fit_is_named(tmp_path) -> None:
    file, *_ = small_vicreg(tmp_path, **{"module.backbone.layer2.0.bn1.weight": torch.zeros(99)})
    with pytest.raises(CheckpointError, match=r"1 of another shape \(layer2.0.bn1.weight \[99\] instead of \[16\]"):
        identify(file)


def test_an_unknown_layout_names_the_nearest(tmp_path) -> None:
    torch.save({"state_dict": {"encoder_q.stem.weight": torch.zeros(3), "other": torch.zeros(2)}}, tmp_path / "x.pth")
    with pytest.raises(
        CheckpointError, match=r"The nearest: .*moco lacks encoder_q.conv1.weight and has no place for 1 of 2 keys \(other\)"
    ):
        identify(tmp_path / "x.pth")
    torch.save({"a": torch.zeros(3)}, tmp_path / "y.pth")
    with pytest.raises(CheckpointError, match=r"known layout \(pyslowfast_contrastive, .*fit none: a"):
        identify(tmp_path / "y.pth")


def test_a_layout_can_be_insisted_on(tmp_path) -> None:
    file, *_ = small_vicreg(tmp_path)
    assert identify(file, "vicreg").layout.name == "vicreg"
    with pytest.raises(CheckpointError, match="must have the keys of layout 'moco'"):
        identify(file, "moco")
    with pytest.raises(CheckpointError, match="Did you mean 'vicreg'"):
        identify(file, "vicregg")


def test_settings_beside_the_weights_are_data(tmp_path) -> None:
    torch.save({"model": {"a": torch.zeros(2)}, "args": argparse.Namespace(lr=0.1)}, tmp_path / "n.pth")
    with pytest.raises(CheckpointError, match="known layout"):  # it was read
        identify(tmp_path / "n.pth")


class Evil:
    """Runs code where it is unpickled without care."""

    def __reduce__(self):
        return print, ("code ran",)


def test_a_file_that_wants_to_run_code_is_refused_by_name(tmp_path, capsys) -> None:
    torch.save({"model": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match=r"wants to run .*print"):
        identify(tmp_path / "evil.pth")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "Git LFS pointer"),
        (b"PK\x03\x04 cut", "damaged or cut off"),
    ],
)
def test_files_that_are_no_checkpoints(tmp_path, content, sentence) -> None:
    (tmp_path / "f.pyth").write_bytes(content)
    with pytest.raises(CheckpointError, match=sentence):
        fullrank.load(tmp_path / "f.pyth")
    with pytest.raises(CheckpointError, match="a folder"):
        identify(tmp_path)


def test_a_truncated_file(tmp_path) -> None:
    file, *_ = small_vicreg(tmp_path)
    (tmp_path / "cut.pth").write_bytes(file.read_bytes()[:20_000])
    with pytest.raises(CheckpointError, match="damaged or cut off"):
        identify(tmp_path / "cut.pth")


def test_wrappers_and_prefixes_leave_the_keys() -> None:
    tensors, rest = flat(
        {"state_dict": {"module._orig_mod.a": torch.zeros(1)}, "teacher": {"module.b": torch.zeros(1)}, "epoch": 3}
    )
    assert list(tensors) == ["a", "teacher/b"]
    assert rest == {"epoch": 3}


def test_no_key_belongs_to_two_layouts_needs() -> None:
    """A layout that asked for nothing would fit everything."""
    assert all(layout.needs for layout in LAYOUTS.values())
    assert match(LAYOUTS["moco"], {"encoder_q.conv1.weight": torch.zeros(1)}).missing == ()


def test_heads_follow_the_keys() -> None:
    made = nn.Sequential(nn.Linear(4, 8, bias=False), nn.BatchNorm1d(8, affine=False), nn.ReLU(), nn.Linear(8, 2)).eval()
    x = torch.randn(3, 4)
    assert torch.equal(head(made.state_dict()).eval()(x), made(x))
    single = nn.Linear(4, 2)
    assert torch.equal(head(single.state_dict())(x), single(x))
    with pytest.raises(CheckpointError, match="linear layers and batch norms"):
        head({"0.gamma": torch.zeros(3)})

import sys

import pytest
import torch
from torch import nn

from fullrank.backbones.build import backbone_factory, frames_averaged, load_weights
from fullrank.backbones.resnet import ResNet
from fullrank.config import BackboneConfig
from fullrank.errors import CheckpointError, SettingError, ShapeError

TINY = BackboneConfig(width=1 / 16, stem="cifar")


def test_every_role_gets_a_network_of_its_own_with_these_settings():
    factory = backbone_factory(BackboneConfig(depth=50, width=1 / 16, stem="cifar", temporal="slow", zero_init_residual=True))
    student, teacher = factory("student"), factory("teacher")
    assert student.embed_dim == 128
    assert student.layer1[0].bn3.weight.max() == 0
    assert student.conv1.weight.shape == (4, 3, 1, 3, 3)
    assert student.conv1.weight.data_ptr() != teacher.conv1.weight.data_ptr()


def test_weights_reach_every_role():
    source = ResNet(width=1 / 16, stem="cifar")
    factory = backbone_factory(TINY, source.state_dict())
    for role in ("student", "teacher"):
        assert all(torch.equal(got, want) for got, want in zip(factory(role).parameters(), source.parameters(), strict=True))


def test_an_unknown_name_is_an_error_with_the_nearest():
    with pytest.raises(SettingError, match="Did you mean 'resnet'"):
        backbone_factory(BackboneConfig(name="resnt"))


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of the user's in the working folder, which is not on the import path."""
    (tmp_path / "own_backbone.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    embed_dim = 3\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.scale = nn.Linear(1, 1)\n"
        "    def forward(self, pixels):\n"
        "        return pixels.mean((2, 3, 4))\n"
        "def bare():\n"
        "    return nn.Linear(1, 1)\n"
        "def text():\n"
        "    return 'resnet'\n"
        "width = 4\n"
    )
    (tmp_path / "own_broken.py").write_text("import no_such_package_anywhere\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", str(tmp_path))])
    yield
    for name in ("own_backbone", "own_broken"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("own")
def test_a_factory_by_import_path_is_found_in_the_working_folder():
    net = backbone_factory(BackboneConfig(name="own_backbone:Net"))("student")
    assert net(torch.ones(2, 3, 1, 4, 4)).shape == (2, 3)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("no_such_module:Net", "must be a module that can be imported"),
        ("own_broken:Net", "no_such_package_anywhere"),
        ("own_backbone:", "must be 'package.module:factory'"),
        ("own_backbone:Nett", "has no 'Nett'. Did you mean 'Net'"),
        ("own_backbone:width", "must be callable without arguments. Got int"),
        ("own_backbone:text", "must return an nn.Module. Got str"),
        ("own_backbone:bare", r"must have an int attribute embed_dim.*frames_averaged"),
    ],
)
def test_a_bad_import_path_is_a_sentence(name, sentence):
    with pytest.raises(SettingError, match=sentence):
        backbone_factory(BackboneConfig(name=name))("student")


def test_weights_that_do_not_fit_name_the_first_keys_and_change_nothing():
    net = ResNet(width=1 / 16, stem="cifar")
    before = {key: value.clone() for key, value in net.state_dict().items()}
    state = {key: torch.full_like(value, 7) for key, value in before.items()}
    for key in [key for key in before if key.startswith("layer1")][:7]:
        del state[key]
    state |= {"fc.weight": torch.zeros(2, 2), "conv1.weight": torch.zeros(1, 2)}
    with pytest.raises(CheckpointError) as error:
        load_weights(net, state, "file.safetensors")
    sentence = str(error.value)
    assert sentence.startswith("file.safetensors")
    assert "6 missing (layer1.0.conv1.weight, layer1.0.bn1.weight" in sentence
    assert "layer1.0.bn1.running_var, ...)" in sentence
    assert "1 unexpected (fc.weight)" in sentence
    assert "1 of another shape (conv1.weight [1, 2] instead of [4, 3, 3, 3])" in sentence
    assert all(torch.equal(net.state_dict()[key], value) for key, value in before.items())


def test_a_single_wrong_shape_is_enough():
    state = ResNet(width=1 / 16).state_dict() | {"bn1.weight": torch.ones(5)}
    with pytest.raises(CheckpointError, match=r"Got 120 for 120: 1 of another shape \(bn1.weight \[5\] instead of \[4\]\)"):
        load_weights(ResNet(width=1 / 16), state, "file")


def test_files_without_num_batches_tracked_load():
    net, other = ResNet(width=1 / 16), ResNet(width=1 / 16)
    load_weights(net, {k: v for k, v in other.state_dict().items() if not k.endswith("num_batches_tracked")}, "old file")
    assert torch.equal(net.layer4[1].conv2.weight, other.layer4[1].conv2.weight)


def test_frames_averaged_makes_a_clip_backbone_of_an_image_module():
    torch.manual_seed(0)
    image = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net, pixels = frames_averaged(image, 5), torch.randn(2, 3, 4, 8, 8)
    assert net.embed_dim == 5
    torch.testing.assert_close(net(pixels), torch.stack([image(pixels[:, :, t]) for t in range(4)]).mean(0))
    with pytest.raises(ShapeError, match="embed_dim = 6"):
        frames_averaged(image, 6)(pixels)

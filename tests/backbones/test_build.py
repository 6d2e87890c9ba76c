import sys

import pytest
import torch
from torch import nn

from fullrank.backbones.build import backbone_factory, frames_averaged, load_weights
from fullrank.backbones.resnet import ResNet
from fullrank.backbones.timesformer import TimeSformer
from fullrank.backbones.transformer import as_transformer
from fullrank.backbones.vit import ViT
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


def test_settings_reach_the_vision_transformer():
    settings = {"size": "micro", "layers": 3, "heads": 4, "patch_pixels": 4, "image_pixels": 16, "drop_path": 0.1}
    vit = backbone_factory(
        BackboneConfig(name="vit", **settings, patch_frames=2, max_frames=6, positions="sincos", class_token=False)
    )("student")
    assert isinstance(vit, ViT)
    assert (len(vit.blocks), vit.blocks[0].attn.heads, vit.patch, vit.made_for) == (3, 4, (2, 4, 4), (3, 4, 4))
    assert vit.blocks[-1].drop_path.prob == 0.1
    assert vit.cls_token is None
    assert not isinstance(vit.pos_embed, nn.Parameter)
    timesformer = backbone_factory(BackboneConfig(name="timesformer", **settings, max_frames=6))("student", in_channels=2)
    assert isinstance(timesformer, TimeSformer)
    assert (timesformer.time_embed.shape[1], timesformer.patch_embed.proj.weight.shape) == (6, (64, 2, 4, 4))
    assert len(timesformer.blocks) == 3


def test_a_role_may_have_its_own_settings_weights_and_channels():
    default, broad = ResNet(width=1 / 16, stem="cifar"), ViT("micro", layers=1)
    factory = backbone_factory(
        TINY,
        default.state_dict(),
        roles={"broad": BackboneConfig(name="vit", size="micro", layers=1), "flow": TINY},
        role_weights={"broad": broad.state_dict()},
    )
    assert torch.equal(factory("narrow").conv1.weight, default.conv1.weight)
    assert torch.equal(factory("broad").cls_token, broad.cls_token)
    flow = factory("flow", in_channels=2)  # its own settings, so its own (here: random) weights
    assert flow.conv1.weight.shape == (4, 2, 3, 3)
    assert not torch.equal(flow.layer1[0].conv1.weight, default.layer1[0].conv1.weight)
    assert factory.asked == ["narrow", "broad", "flow"]
    factory.check_roles()
    other = backbone_factory(TINY, roles={"flow": TINY.model_copy(update={"weights": "flow.pt"})}, role_weights={"flow": {}})
    with pytest.raises(CheckpointError, match=r"^flow.pt \(backbone of the flow\)"):
        other("flow")


def test_settings_of_a_role_that_nobody_asks_for_name_those_there_are():
    factory = backbone_factory(TINY, roles={"brod": TINY})
    factory("narrow")
    factory("broad")
    factory("narrow")
    with pytest.raises(SettingError, match="among those that the method has: narrow, broad. Got 'brod'. Did you mean 'broad'"):
        factory.check_roles()
    with pytest.raises(SettingError, match="Did you mean 'vit'"):
        backbone_factory(TINY, roles={"broad": BackboneConfig(name="vitt")})


@pytest.mark.parametrize(
    ("name", "settings", "sentence"),
    [
        (
            "resnet",
            {"patch_pixels": 8},
            "resnet must not be given settings it does not use. Got patch_pixels 8; set back to patch_pixels 16",
        ),
        ("vit", {"temporal": "slow", "width": 0.5}, "Got width 0.5, temporal slow; set back to width 1.0, temporal 2d"),
        ("timesformer", {"class_token": False}, "Got class_token False"),
        ("package.module:factory", {"depth": 50}, "package.module:factory must not be given .* Got depth 50"),
    ],
)
def test_a_backbone_rejects_settings_it_does_not_use(name, settings, sentence):
    with pytest.raises(SettingError, match=sentence):
        BackboneConfig(name=name, **settings)


def test_defaults_and_saved_settings_of_any_backbone_are_accepted():
    for name in ("resnet", "vit", "timesformer", "package.module:factory"):
        cfg = BackboneConfig(name=name, weights="file.safetensors")
        assert BackboneConfig.model_validate_json(cfg.model_dump_json()) == cfg


def test_a_masked_method_asks_for_a_transformer():
    vit = ViT("micro", layers=1)
    assert as_transformer(vit, "MAE") is vit
    with pytest.raises(
        SettingError, match="the backbone must be a transformer: MAE hides tokens of it. Got ResNet; set --backbone.name vit"
    ):
        as_transformer(ResNet(width=1 / 16), "MAE")


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
        "class Any(Net):\n"
        "    def __init__(self, in_channels=3):\n"
        "        super().__init__()\n"
        "        self.embed_dim = in_channels\n"
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
def test_other_channels_reach_a_factory_by_import_path_that_takes_them():
    assert backbone_factory(BackboneConfig(name="own_backbone:Any"))("student", in_channels=2).embed_dim == 2
    with pytest.raises(SettingError, match="must take in_channels, because the method shows it pixels of 2 channels"):
        backbone_factory(BackboneConfig(name="own_backbone:Net"))("student", in_channels=2)


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

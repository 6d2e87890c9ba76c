"""Features in files of tensors, told from weights."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fullrank.errors import DataError, SettingError
from fullrank.spectrum.files import read_features

N, D = 30, 4
X = torch.tensor(np.random.default_rng(0).normal(size=(N, D)), dtype=torch.float32)
CONV = {"conv1.weight": torch.zeros(8, 3, 3, 3), "bn1.running_mean": torch.zeros(8), "bn1.num_batches_tracked": torch.tensor(3)}

WEIGHTS = {
    "a network with one matrix": CONV | {"fc.weight": torch.zeros(10, 8), "fc.bias": torch.zeros(10)},
    "a layer, whose bias has a number a row": {"weight": torch.zeros(N, D), "bias": torch.zeros(N)},
    "a matrix alone": {"classifier.1.weight": torch.zeros(N, D)},
    "no matrix": CONV,
    "below state_dict": {"state_dict": CONV | {"fc.weight": torch.zeros(10, 8)}, "epoch": 3},
    "below model, with keys that say nothing": {"model": {"a": torch.zeros(N, D)}},
    "deep": {"classy_state_dict": {"base_model": {"model": {"trunk": CONV}}}},
    "several matrices": {"blocks.0.attn.qkv.weight": torch.zeros(12, 4), "blocks.0.mlp.fc1.weight": torch.zeros(16, 4)},
    "keys with dots and other axes": {"a.b": torch.zeros(N, D), "a.c": torch.zeros(1, 5, D)},
    "attention": {"attn.in_proj_weight": torch.zeros(12, 4)},
}
FEATURES = {
    "alone": {"features": X},
    "with labels": {"features": X, "labels": torch.arange(N)},
    "with labels and scores": {"z": X, "labels": torch.arange(N), "scores": torch.zeros(N)},
    "with a weight for each sample": {"features": X, "weight": torch.ones(N)},
    "with words beside it": {"features": X, "names": ["a"] * N, "epoch": 3, "args": {"lr": 0.1}},
    "by the name of a layer": {"layer4.avgpool": X},
    "a parameter": {"prototypes": torch.nn.Parameter(X)},
}


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("suffix", [".pth", ".ckpt", ".pth.tar"])
def test_weights_are_no_features(tmp_path, name, suffix) -> None:
    file = tmp_path / f"w{suffix}"
    torch.save(WEIGHTS[name], file)
    with pytest.raises(DataError, match=r"must be features \[n, d\]. Got what looks like the weights of a network") as raised:
        read_features(file)
    assert f"`fullrank inspect {file}` says whose, `fullrank diagnose {file} --data.path DATA`" in str(raised.value)


def test_how_many_tensors_and_one_of_them_are_named(tmp_path) -> None:
    torch.save(WEIGHTS["a network with one matrix"], tmp_path / "w.pth")
    with pytest.raises(DataError, match=r"\(5 tensors, for example fc.weight\)"):
        read_features(tmp_path / "w.pth")


def test_weights_in_safetensors_are_no_features(tmp_path) -> None:
    save_file(WEIGHTS["a network with one matrix"], tmp_path / "w.safetensors")
    with pytest.raises(DataError, match="weights of a network"):
        read_features(tmp_path / "w.safetensors")
    assert read_features(f"{tmp_path / 'w.safetensors'}#fc.weight").shape == (10, 8)


@pytest.mark.parametrize("name", FEATURES)
def test_features_are_features(tmp_path, name) -> None:
    torch.save(FEATURES[name], tmp_path / "f.pt")
    assert np.array_equal(read_features(tmp_path / "f.pt"), X.numpy())


def test_features_with_labels_in_safetensors(tmp_path) -> None:
    save_file({"features": X, "labels": torch.arange(N)}, tmp_path / "F.SAFETENSORS")
    assert np.array_equal(read_features(tmp_path / "F.SAFETENSORS"), X.numpy())


def test_a_named_tensor_is_taken_whatever_is_beside_it(tmp_path) -> None:
    torch.save({"state_dict": {"fc.weight": X, "fc.bias": torch.zeros(N)}}, tmp_path / "w.pth")
    assert np.array_equal(read_features(f"{tmp_path / 'w.pth'}#state_dict.fc.weight"), X.numpy())
    with pytest.raises(SettingError, match=r"must hold 'fc.weight'. It holds state_dict.fc.weight, state_dict.fc.bias"):
        read_features(f"{tmp_path / 'w.pth'}#fc.weight")
    torch.save(X, tmp_path / "x.pt")
    with pytest.raises(SettingError, match="without '#a'. It holds one array only"):
        read_features(f"{tmp_path / 'x.pt'}#a")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"features": {"a": X, "b": X}}, r"Got 2: features.a \[30, 4\], features.b \[30, 4\]. Name one: x.pt#features.a"),
        ({"a": X, "b": X}, r"Name one: x.pt#a"),
        ({"features": X, "tokens": X[:, None]}, r"Got 2: features \[30, 4\], tokens \[30, 1, 4\]. Name one: x.pt#features"),
        ({"features": X, "labels": torch.arange(N + 1)}, r"labels \[31\]. Name one"),
        ({"a.jpg": X[0], "b.jpg": X[1]}, r"Got 2: a.jpg \[4\], b.jpg \[4\]; save one with two axes"),
        ({"epoch": 3, "loss": 0.5}, r"Got a dict without one \(epoch, loss\)"),
        ({}, r"Got a dict without one \(nothing\)"),
        ([X, X], r"Got list; save torch.cat of its parts"),
        ("hello", r"must hold a tensor \[n, d\]. Got str"),
    ],
)
def test_what_else_a_file_holds_is_said(tmp_path, content, sentence) -> None:
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(DataError, match=sentence):
        read_features(tmp_path / "x.pt")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2])
def test_narrow_numbers_are_widened(tmp_path, dtype) -> None:
    torch.save(X.to(dtype), tmp_path / "x.pt")
    save_file({"x": X.to(dtype)}, tmp_path / "x.safetensors")
    for name in ("x.pt", "x.safetensors"):
        assert np.array_equal(read_features(tmp_path / name), X.to(dtype).float().numpy())


def test_a_tensor_that_wants_a_gradient_is_its_values(tmp_path) -> None:
    torch.save(X.clone().requires_grad_(), tmp_path / "x.pt")
    assert np.array_equal(read_features(tmp_path / "x.pt"), X.numpy())


@pytest.mark.filterwarnings("ignore")
def test_tensors_without_plain_numbers_are_refused(tmp_path) -> None:
    for kind, tensor in (
        ("sparse", X.to_sparse()),
        ("sparse", X.to_sparse_csr()),
        ("quantised", torch.quantize_per_tensor(X, 0.1, 0, torch.qint8)),
        ("meta", X.to("meta")),
    ):
        torch.save(tensor, tmp_path / "x.pt")
        with pytest.raises(DataError, match=f"dense tensor of plain numbers. Got a {kind} one; save its"):
            read_features(tmp_path / "x.pt")


def test_arrays_of_numpy_are_read_as_data(tmp_path) -> None:
    for array in (X.numpy(), X.numpy().astype(">f8"), np.asfortranarray(X.numpy()).astype(np.float16)):
        torch.save({"x": array, "mean": np.float64(0.5)}, tmp_path / "x.pt")
        assert np.array_equal(read_features(tmp_path / "x.pt"), array)
    torch.save({"x": np.array([{}])}, tmp_path / "x.pt")
    with pytest.raises(DataError, match="numpy array of Python objects, whose reading could run code"):
        read_features(tmp_path / "x.pt")

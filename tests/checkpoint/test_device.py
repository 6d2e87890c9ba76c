"""Devices by name."""

import pytest
import torch

from fullrank.checkpoint import encoder
from fullrank.checkpoint.device import check_device
from fullrank.checkpoint.imported import load_imported
from fullrank.errors import SettingError


def test_the_cpu_is_always_there() -> None:
    assert check_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["auto", "gpu", "meta", ""])
def test_names_that_cannot_compute_are_a_sentence(name) -> None:
    with pytest.raises(SettingError, match=f"device must be cpu or cuda. Got '{name}'"):
        check_device(name)


def test_both_ways_to_an_encoder_check_it_before_they_read(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for read in (encoder.load, lambda path, device: load_imported(path, device=device)):
        with pytest.raises(SettingError, match="torch sees no GPU"):
            read(tmp_path / "nothing.pth", "cuda")


def test_a_gpu_that_is_not_there_is_a_sentence(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SettingError, match="device must be cpu on this machine. Got cuda, and torch sees no GPU"):
        check_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(SettingError, match="device must be one of 2 GPUs, counted from 0. Got cuda:2"):
        check_device("cuda:2")

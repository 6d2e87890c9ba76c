"""Settings that cannot work are named before any data are touched; what is compiled stays the same network."""

from dataclasses import replace

import pytest
import torch

from fullrank.config import OptimizerConfig
from fullrank.engine.loop import train
from fullrank.engine.run import check_settings, compile_backbones
from fullrank.errors import SettingError
from fullrank.methods.moco_v2 import MoCoV2
from fullrank.methods.vicreg import VICReg
from fullrank.recipes import recipe
from fullrank.testing.lab import Subject, context


class Picky(VICReg):
    asked: list[tuple[object, int, int]] = []

    @classmethod
    def check(cls, cfg, *, batch_size, world):
        cls.asked.append((cfg, batch_size, world))


def test_a_method_is_asked_about_a_micro_batch_over_all_processes(vicreg_settings):
    config = vicreg_settings(optimizer=OptimizerConfig(accumulate_steps=2))
    check_settings(config, Picky, 4)
    assert Picky.asked == [(config.method, 4, 4)]


@pytest.mark.parametrize(("batch", "accumulate", "world"), [(100, 1, 1), (512, 2, 1), (512, 1, 2)])
def test_moco_refuses_records_that_do_not_fill_its_blocks(batch, accumulate, world):
    config = recipe("moco_v2.cifar10")
    config = config.model_copy(
        update={
            "data": config.data.model_copy(update={"batch_size": batch}),
            "optimizer": config.optimizer.model_copy(update={"accumulate_steps": accumulate}),
        }
    )
    check_settings(recipe("moco_v2.cifar10"), MoCoV2, 1)
    with pytest.raises(SettingError, match=f"multiple of method.shuffle_block, 512 .* Got {batch // accumulate // world}"):
        check_settings(config, MoCoV2, world)


def test_the_check_comes_before_data_and_folder(tmp_path):
    config = recipe("moco_v2.cifar10")
    data = config.data.model_copy(update={"batch_size": 100, "path": tmp_path / "nowhere"})
    with pytest.raises(SettingError, match="shuffle_block"):
        train(config.model_copy(update={"data": data, "out": tmp_path / "run"}))
    assert not (tmp_path / "run").exists()


def test_a_micro_batch_of_one_record_is_refused(vicreg_settings):
    config = vicreg_settings(optimizer=OptimizerConfig(accumulate_steps=8))
    with pytest.raises(SettingError, match="at least 2 records. Got 8 / 8"):
        check_settings(config, VICReg, 1)


def test_a_plan_that_the_clips_cannot_give_is_refused(vicreg_settings, monkeypatch):
    plan = VICReg.views(vicreg_settings().method)
    blocks = replace(plan, groups=(replace(plan.groups[0], num_blocks=3),))
    monkeypatch.setattr(VICReg, "views", classmethod(lambda cls, cfg: blocks))
    with pytest.raises(SettingError, match="2 frames for 3 blocks"):
        check_settings(vicreg_settings(), VICReg, 1)


def test_compiled_backbones_give_the_same_loss_gradient_and_state(monkeypatch, wrong_shapes):
    """With a backend that generates no code, which would take half a minute; shapes are not checked, which it cannot trace."""
    compiled = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **options: compiled(self, backend="aot_eager", **options))
    subject, found = Subject(MoCoV2), []
    for wanted in (False, True):
        method = subject.build().train()
        if wanted:
            compile_backbones(method)
        loss = method(subject.views(), context()).loss
        loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in method.parameters() if p.grad is not None])
        compiled_parts = [part for part in method.modules() if part._compiled_call_impl is not None]
        found.append((loss.detach(), gradient, method.state_dict().keys(), len(compiled_parts)))
    (loss, gradient, keys, none), (other_loss, other_gradient, other_keys, both) = found
    torch.testing.assert_close(other_loss, loss)
    torch.testing.assert_close(other_gradient, gradient, rtol=1e-4, atol=1e-5)
    assert other_keys == keys
    assert (none, both) == (0, 2)  # student and teacher

import pytest
import torch
from torch import nn

from fullrank.backbones.transformer import DropPath
from fullrank.errors import SettingError, ShapeError
from fullrank.heads import mlp
from fullrank.teacher import Teacher


def pair():
    torch.manual_seed(0)
    backbone, projector = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), mlp((4, 5, 2))
    return backbone, projector, Teacher(backbone, projector)


def move(*modules):
    with torch.no_grad():
        for module in modules:
            for parameter in module.parameters():
                parameter.add_(torch.randn_like(parameter))


def test_starts_equal_apart_and_without_gradient():
    backbone, projector, teacher = pair()
    x = torch.randn(6, 3, requires_grad=True)
    h, z = teacher(x)
    torch.testing.assert_close(h, backbone(x))
    torch.testing.assert_close(z, projector(backbone(x)))
    assert not h.requires_grad
    assert not z.requires_grad
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    move(backbone)
    assert not torch.equal(teacher[0][0].weight, backbone[0].weight)


def test_update_is_the_equation_for_every_parameter_over_several_steps():
    backbone, projector, teacher = pair()
    want = [p.detach().clone().double() for p in teacher.parameters()]
    for momentum in (0.9, 0.5, 0.996):
        move(backbone, projector)
        student = [*backbone.parameters(), *projector.parameters()]
        want = [momentum * t + (1 - momentum) * s.detach().double() for t, s in zip(want, student, strict=True)]
        teacher.update(backbone, projector, momentum=momentum)
    for got, expected in zip(teacher.parameters(), want, strict=True):
        torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-6)


def test_momentum_one_keeps_and_zero_copies_exactly():
    backbone, projector, teacher = pair()
    before = [p.clone() for p in teacher.parameters()]
    move(backbone, projector)
    teacher.update(backbone, projector, momentum=1.0)
    assert all(torch.equal(a, b) for a, b in zip(teacher.parameters(), before, strict=True))
    teacher.update(backbone, projector, momentum=0.0)
    assert all(torch.equal(a, b) for a, b in zip(teacher[0].parameters(), backbone.parameters(), strict=True))


def test_running_statistics_are_the_teachers_own_and_follow_its_mode():
    backbone, projector, teacher = pair()
    backbone(torch.randn(6, 3) + 5)
    teacher.update(backbone, projector, momentum=0.5)
    assert teacher[0][1].running_mean.abs().max() == 0
    holder = nn.ModuleDict({"teacher": teacher}).eval()
    teacher(torch.randn(6, 3))
    assert teacher[0][1].num_batches_tracked == 0
    holder.train()
    teacher(torch.randn(6, 3))
    assert teacher[0][1].num_batches_tracked == 1


def test_gradients_held_by_the_student_are_not_copied():
    student = nn.Linear(2, 2)
    student(torch.ones(1, 2)).sum().backward()
    assert Teacher(student)[0].weight.grad is None


def test_channels_last_weights_keep_their_layout():
    student = nn.Conv2d(3, 4, 3)
    student.weight.data = student.weight.data.contiguous(memory_format=torch.channels_last)
    teacher = Teacher(student)
    student.weight.data.add_(1.0)
    teacher.update(student, momentum=0.5)
    assert teacher[0].weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(teacher[0].weight, student.weight - 0.5)


def test_wrong_use_is_a_sentence():
    backbone, projector, teacher = pair()
    with pytest.raises(ShapeError, match="the modules that were copied"):
        teacher.update(backbone, momentum=0.5)
    with pytest.raises(ShapeError, match="the modules that were copied"):
        teacher.update(projector, backbone, momentum=0.5)
    with pytest.raises(SettingError, match=r"must be in \[0, 1\]. Got 99"):
        teacher.update(backbone, projector, momentum=99)
    with pytest.raises(SettingError, match="at least one module"):
        Teacher()


def test_the_copies_have_no_stochastic_depth():
    student = nn.Sequential(nn.Linear(3, 3), DropPath(0.5))
    teacher = Teacher(student).train()
    assert student[1].prob == 0.5
    x = torch.randn(64, 3)
    assert torch.equal(teacher(x)[0], student[0](x))

"""SVT: the views of its plan, the four directions, and clips of other lengths."""

import pytest
import torch

from fullrank.errors import SettingError
from fullrank.methods.svt import DIRECTIONS, SVT
from fullrank.types import Views

SMALL = {"projector": (16, 8), "num_dimensions": 10, "num_local": 3, "num_frames": 2, "local_frames": 1, "strides": (1, 2)}


def build(lab, **settings):
    torch.manual_seed(0)
    return SVT(SVT.Config(**(SMALL | settings)), lambda role: lab.TinyNet(), 40)


def make_views(method, batch=8):
    random = torch.Generator().manual_seed(0)
    pixels = {"global": torch.randn(batch, 2, 3, 2, 8, 8, generator=random)}
    if method.cfg.uses_local:
        pixels["local"] = torch.randn(batch, method.cfg.num_local, 3, 1, 6, 6, generator=random)
    return Views(pixels=pixels, index=torch.arange(batch))


def naive(method, views, directions):
    """{direction: its share of the mean over all pairs}, their number, and their teachers' mean entropy, by a loop."""
    views = [(kind, p) for kind in views.pixels for p in views.pixels[kind].unbind(1)]
    sums, count = dict.fromkeys(directions, 0.0), 0
    entropy = 0.0
    for t, (teacher, seen) in enumerate(views):
        p_t = (method.last(method.projector(method.backbone(seen))) / 0.04).softmax(1).detach()
        for s, (student, shown) in enumerate(views):
            name = f"{student}_to_{teacher}"
            if s != t and name in directions:
                log_p = (method.last(method.projector(method.backbone(shown))) / 0.1).log_softmax(1)
                sums[name] += float(-(p_t * log_p).sum(1).mean().detach())
                entropy += float(torch.special.entr(p_t).sum(1).mean())
                count += 1
    return {name: value / count for name, value in sums.items()}, count, entropy / count


@pytest.mark.parametrize(
    ("on", "pairs"),
    [
        (("local_to_global",), 6),
        (("global_to_global",), 2),
        (("local_to_global", "global_to_global"), 8),
        (("local_to_global", "global_to_global", "local_to_local"), 14),
        (("local_to_global", "global_to_global", "global_to_local"), 14),
        (DIRECTIONS, 20),
        (("global_to_local",), 6),
    ],
)
def test_each_direction_is_its_pairs_of_views(lab, on, pairs):
    method = build(lab, **{name: name in on for name in DIRECTIONS}).eval()
    views = make_views(method)
    expected, count, entropy = naive(method, views, on)
    assert count == pairs
    output = method(views, lab.context())
    assert set(output.losses) == set(on)
    for name, value in expected.items():
        assert float(output.losses[name].detach()) == pytest.approx(value, abs=1e-5)
    assert float(output.metrics["assignment_entropy"]) == pytest.approx(entropy, abs=1e-5)
    kl = float(output.loss.detach()) - float(output.metrics["assignment_entropy"])
    assert float(output.metrics["kl"]) == pytest.approx(kl, abs=1e-5)
    assert kl > -1e-5, "a cross-entropy is at least the entropy, whatever the pairs"


def test_the_plan_has_frame_rates_and_short_local_views():
    cfg = SVT.Config(num_frames=4, strides=(2, 5), num_local=3, local_frames=2, local_strides=(1, 3))
    plan = SVT.views(cfg)
    large, small = plan.groups
    assert (large.name, large.views_per_clip, large.num_frames, large.strides) == ("global", 2, 4, (2, 5))
    assert (small.name, small.views_per_clip, small.num_frames, small.strides) == ("local", 3, 2, (1, 3))
    assert (plan.num_clips, plan.num_frames) == (1, 3 * 5 + 1)
    assert SVT.views(cfg.model_copy(update={"rho": 2})).groups[0].views_per_clip == 1
    motion = cfg.model_copy(update={"local_to_global": False})
    assert [group.name for group in SVT.views(motion).groups] == ["global"]


def test_encode_takes_the_frames_of_a_global_view_evenly(lab):
    method = build(lab).eval()
    clip = torch.randn(2, 3, 9, 8, 8)
    torch.testing.assert_close(method.encode(clip), method.encode(clip[:, :, [0, 8]]))
    torch.testing.assert_close(method.encode(clip[:, :, :1]), method.teacher[0](clip[:, :, :1]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({name: False for name in DIRECTIONS}, "at least one of local_to_global"),
        ({"strides": (4,)}, "two global views: give strides two values"),
        ({"num_local": 0}, "num_local must be at least 1"),
        ({"num_local": 1, "local_to_local": True}, "num_local must be at least 2"),
    ],
)
def test_impossible_directions_are_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        SVT.Config(**settings)


def test_all_teacher_views_move_the_centre(lab):
    method = build(lab, local_to_local=True).eval()
    views, ctx = make_views(method), lab.context()
    output = method(views, ctx)
    logits = torch.cat(
        [
            method.last(method.projector(method.backbone(p.flatten(0, 1)))).unflatten(0, p.shape[:2])
            for p in views.pixels.values()
        ],
        dim=1,
    )
    torch.testing.assert_close(output.carry["mean_logits"][0], logits.mean((0, 1)).detach())
    method.after_step([output], ctx)
    torch.testing.assert_close(method.centre.value, 0.1 * logits.mean((0, 1)).detach())

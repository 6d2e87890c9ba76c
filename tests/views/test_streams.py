"""Brightness, change and flow: equal to their definitions, and flow agrees with the picture under every placement."""

import numpy as np
import pytest
import torch

from fullrank.data.flow import STEPS_PER_PIXEL, STILL
from fullrank.errors import SettingError, ShapeError
from fullrank.views.geometry import Placement
from fullrank.views.streams import CHANNELS, flow_views, to_stream


@pytest.mark.parametrize("stream", ["rgb", "gray", "difference"])
@pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
def test_shapes_are_those_of_the_stream(stream, lead):
    assert to_stream(torch.randn(*lead, 3, 4, 5, 5), stream).shape == (*lead, CHANNELS[stream], 4, 5, 5)


def test_gray_is_the_luma_of_the_channels():
    x = torch.randn(2, 3, 4, 5, 5)
    expected = 0.299 * x[:, 0] + 0.587 * x[:, 1] + 0.114 * x[:, 2]
    torch.testing.assert_close(to_stream(x, "gray")[:, 0], expected)


def test_difference_is_the_change_from_the_frame_before():
    x = torch.randn(2, 3, 4, 5, 5)
    change = to_stream(x, "difference")
    for t in range(1, 4):
        assert torch.equal(change[:, :, t], x[:, :, t] - x[:, :, t - 1])
    assert torch.equal(change[:, :, 0], change[:, :, 1])


def test_a_stream_does_not_change_the_pixels_given():
    x = torch.randn(3, 4, 5, 5)
    before = x.clone()
    assert to_stream(x, "rgb") is x
    for stream in ("gray", "difference"):
        to_stream(x, stream)
    assert torch.equal(x, before)


def test_what_has_no_such_stream_is_refused():
    with pytest.raises(ShapeError, match="at least 2 frames. Got 1; raise --data.num-frames"):
        to_stream(torch.zeros(3, 1, 4, 4), "difference")
    with pytest.raises(ShapeError, match=r"must be \[..., 3, time, height, width\].*Got \[1, 2, 4, 4\]"):
        to_stream(torch.zeros(1, 2, 4, 4), "gray")
    with pytest.raises(SettingError, match="comes with the clips"):
        to_stream(torch.zeros(3, 2, 4, 4), "flow")


def placement(**changes):
    whole = {"top": 0, "left": 0, "height": 24, "width": 24, "flip": False, "turns": 0} | changes
    return Placement(**{k: np.array([v], dtype=np.bool_ if k == "flip" else np.int64) for k, v in whole.items()})


def moving(right, down, height=24, width=24):
    """Flow of a picture that moves as a whole, in pixels a frame."""
    flow = torch.empty(1, 2, height, width, 2, dtype=torch.uint8)
    flow[..., 0], flow[..., 1] = STILL + STEPS_PER_PIXEL * right, STILL + STEPS_PER_PIXEL * down
    return flow


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (3, -1)),
        ({"flip": True}, (-3, -1)),
        ({"height": 12, "width": 6, "top": 3, "left": 9}, (12, -2)),  # enlarged 2 and 4 times
        ({"turns": 1}, (-1, -3)),  # what moves right moves up after a quarter turn counter-clockwise
        ({"turns": 2}, (-3, 1)),
        ({"turns": 3}, (1, 3)),
        ({"turns": 1, "flip": True}, (-1, 3)),
    ],
)
def test_vectors_follow_the_placement(changes, expected):
    seen = flow_views(moving(3, -1), placement(**changes), 24)
    assert seen.shape == (1, 2, 2, 24, 24)
    for axis in (0, 1):
        torch.testing.assert_close(seen[0, axis], torch.full((2, 24, 24), expected[axis] / 20), atol=1e-5, rtol=0)


def test_flow_is_read_where_the_picture_is():
    """A spot of motion ends where the same crop, flip and turn take a spot of light."""
    flow = torch.full((1, 1, 20, 20, 2), STILL, dtype=torch.uint8)
    flow[0, 0, 4:8, 10:14, 0] += 60
    seen = flow_views(flow, placement(height=20, width=20, flip=True, turns=1), 20)[0, :, 0].norm(dim=0)
    light = torch.zeros(20, 20)
    light[4:8, 10:14] = 0.5
    torch.testing.assert_close(seen, torch.rot90(light.flip(1), 1), atol=1e-5, rtol=0)


def test_padding_is_never_read():
    place = placement(height=10, width=12)
    other = moving(2, 1)
    other[:, :, 10:], other[:, :, :, 12:] = 255, 0
    torch.testing.assert_close(flow_views(other, place, 24), flow_views(moving(2, 1), place, 24))


def test_many_views_made_in_parts_equal_each_alone(monkeypatch):
    flow = torch.randint(0, 256, (7, 2, 24, 24, 2), dtype=torch.uint8)
    one = placement(flip=True, turns=1, height=15)
    seven = Placement(**{name: values.repeat(7) for name, values in vars(one).items()})
    monkeypatch.setattr("fullrank.views.streams._CHUNK_BYTES", 3 * 4 * 2 * 24 * 24 * 2)
    whole = flow_views(flow, seven, 16)
    for row in range(7):
        torch.testing.assert_close(whole[row], flow_views(flow[row : row + 1], one, 16)[0], atol=1e-5, rtol=0)

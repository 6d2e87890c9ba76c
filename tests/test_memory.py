from collections import deque

import pytest
import torch

from fullrank.errors import SettingError, ShapeError
from fullrank.memory import Centre, Queue


def test_starts_with_random_unit_vectors_of_torchs_generator_none_of_them_valid():
    torch.manual_seed(0)
    queue = Queue(50, 8)
    torch.testing.assert_close(queue.contents.norm(dim=1), torch.ones(50))
    assert queue.contents.mean(0).norm() < 0.5
    assert queue.valid().shape == (0, 8)
    torch.manual_seed(0)
    assert torch.equal(Queue(50, 8).contents, queue.contents)


@pytest.mark.parametrize("sizes", [(2, 2, 2, 2), (3, 3, 3), (5,), (7,), (12,), (0, 4, 0, 4), (1,) * 11, (4, 13, 2)])
def test_holds_the_newest_rows_where_pushing_one_by_one_puts_them(sizes):
    torch.manual_seed(0)
    queue, newest, places, count = Queue(5, 2), deque(maxlen=5), {}, 0
    for size in sizes:
        rows = torch.randn(size, 2)
        for row in rows:
            newest.append(row.tolist())
            places[count % 5] = row
            count += 1
        queue.push(rows)
        assert int(queue.pointer) == count % 5
        assert int(queue.filled) == min(count, 5)
        assert sorted(queue.valid().tolist()) == sorted(newest)
        for place, row in places.items():
            assert torch.equal(queue.contents[place], row)


def test_all_of_it_is_in_the_state_dict():
    queue, other = Queue(5, 2), Queue(5, 2)
    queue.push(torch.randn(3, 2))
    other.load_state_dict(queue.state_dict())
    rows = torch.randn(4, 2)
    queue.push(rows)
    other.push(rows)
    assert set(queue.state_dict()) == {"contents", "pointer", "filled"}
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in queue.state_dict().items())


def test_takes_rows_of_another_type_and_with_a_gradient():
    queue = Queue(3, 2)
    queue.push(torch.ones(1, 2, dtype=torch.bfloat16, requires_grad=True))
    assert queue.contents.dtype == torch.float32
    assert not queue.contents.requires_grad


@pytest.mark.usefixtures("wrong_shapes")
def test_wrong_use_is_a_sentence():
    with pytest.raises(ShapeError, match=r"must be \[n, 2\]. Got \[4, 3, 2\]"):
        Queue(5, 2).push(torch.ones(4, 3, 2))
    with pytest.raises(SettingError, match="at least 1"):
        Queue(0, 2)


def test_the_centre_is_a_moving_average_from_zero():
    torch.manual_seed(0)
    centre, expected = Centre(3), torch.zeros(3)
    for _ in range(4):
        logits = torch.randn(5, 3)
        centre.update(logits, momentum=0.9)
        expected = 0.9 * expected + 0.1 * logits.sum(0) / 5
    torch.testing.assert_close(centre.value, expected)
    assert set(centre.state_dict()) == {"value"}
    before = centre.value.clone()
    centre.update(torch.randn(5, 3), momentum=1.0)
    assert torch.equal(centre.value, before)
    centre.update(torch.ones(2, 3, dtype=torch.bfloat16), momentum=0.0)
    assert torch.equal(centre.value, torch.ones(3))


def test_wrong_use_of_a_centre_is_a_sentence():
    with pytest.raises(SettingError, match=r"must be in \[0, 1\]. Got 90; 0.9 keeps 90 %"):
        Centre(3).update(torch.ones(1, 3), momentum=90)
    with pytest.raises(SettingError, match="at least 1"):
        Centre(0)

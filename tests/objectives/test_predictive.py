"""The objectives of DPC, PIRL and the triplet network, against loops over the papers' equations."""

import math

import pytest
import torch
from torch.nn import functional as F

from fullrank.errors import ShapeError
from fullrank.objectives.contrastive import dense_nce, memory_nce, triplet


def wide(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def test_dense_nce_equals_a_loop():
    predicted, found = wide(2, 2, 3, 4), wide(2, 2, 3, 4)
    p, z = predicted.reshape(-1, 4), found.reshape(-1, 4)
    loss = sum(-math.log(math.exp(p[i] @ z[i]) / sum(math.exp(p[i] @ z[j]) for j in range(12))) for i in range(12)) / 12
    assert float(dense_nce(predicted, found).loss) == pytest.approx(loss, abs=1e-10)


def test_dense_nce_counts_places_times_and_records_as_negatives():
    same = torch.ones(2, 3, 4, 5)
    assert float(dense_nce(same, same).loss) == pytest.approx(math.log(2 * 3 * 4), abs=1e-5)
    assert float(dense_nce(same, same).accuracy) == 0.0


def test_memory_nce_equals_a_loop():
    v, own, others = wide(3, 4), wide(3, 4), wide(5, 4)
    usable = torch.ones(3, 5, dtype=torch.bool)
    usable[1, 2] = False
    t, total = 0.3, 0.0
    unit, m, bank = F.normalize(v, dim=1), F.normalize(own, dim=1), F.normalize(others, dim=1)
    for i in range(3):
        ks = [k for k in range(5) if usable[i, k]]
        own_term = math.exp(unit[i] @ m[i] / t)
        terms = {k: math.exp(unit[i] @ bank[k] / t) for k in ks}
        whole = own_term + sum(terms.values())
        total += -math.log(own_term / whole) - sum(math.log(1 - terms[k] / whole) for k in ks)
    assert float(memory_nce(v, own, others, usable, temperature=t)) == pytest.approx(total / 3, abs=1e-10)


def test_memory_nce_at_collapse():
    one, k = torch.ones(4, 3), 6
    value = float(memory_nce(one, one, torch.ones(k, 3), torch.ones(4, k, dtype=torch.bool)))
    assert value == pytest.approx(math.log(k + 1) - k * math.log(k / (k + 1)), abs=1e-5)


@pytest.mark.parametrize("mining", ["semi_hard", "hardest", "all"])
@pytest.mark.parametrize("normalize", [True, False])
def test_triplet_equals_a_loop(mining, normalize):
    z, margin = wide(4, 3, 2), 0.3
    x = (F.normalize(z, dim=-1) if normalize else z).reshape(-1, 2)
    record = [i // 3 for i in range(12)]
    d = [[float(((x[i] - x[j]) ** 2).sum()) for j in range(12)] for i in range(12)]
    terms = []
    for a in range(12):
        others = [n for n in range(12) if record[n] != record[a]]
        for p in range(12):
            if p == a or record[p] != record[a]:
                continue
            if mining == "all":
                terms += [max(d[a][p] - d[a][n] + margin, 0) for n in others]
                continue
            farther = [d[a][n] for n in others if mining == "hardest" or d[a][n] > d[a][p]]
            negative = min(farther) if farther else max(d[a][n] for n in others)
            terms.append(max(d[a][p] - negative + margin, 0))
    got = triplet(z, margin=margin, mining=mining, normalize=normalize)
    assert float(got.loss) == pytest.approx(sum(terms) / len(terms), abs=1e-10)
    assert float(got.active) == pytest.approx(sum(t > 0 for t in terms) / len(terms))


def test_triplet_at_collapse_is_the_margin_and_one_record_is_refused():
    assert float(triplet(torch.ones(3, 2, 4), margin=0.7).loss) == pytest.approx(0.7)
    with pytest.raises(ShapeError, match="at least 2 records"):
        triplet(torch.ones(1, 2, 4))


def test_gradients():
    z = wide(3, 2, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: triplet(x, margin=5.0, mining="all").loss, (z,))
    own, others, usable = wide(3, 3), wide(4, 3), torch.ones(3, 4, dtype=torch.bool)
    assert torch.autograd.gradcheck(lambda x: memory_nce(x[:, 0], own, others, usable, temperature=0.5), (z,))
    assert torch.autograd.gradcheck(lambda x: dense_nce(x[:, :, None], own[:, None, None].expand(3, 2, 1, 3)).loss, (z,))

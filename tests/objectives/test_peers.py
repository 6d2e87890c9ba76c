"""Values and gradients of the objectives beside those of lightly, solo-learn, pytorch-metric-learning and stable-pretraining.

And beside the authors' own code, where the environment variable AUTHORS names a folder of checkouts (see author_losses.py).
"""

import os
import subprocess
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fullrank.memory import Centre
from fullrank.objectives import (
    clustering,
    contrastive,
    decorrelation,
    distillation,
    gaussianity,
    reconstruction,
)

ROOT = Path(__file__).resolve().parents[2]
PYTHON = Path(os.environ.get("PEERS") or ROOT / ".venv-peers") / "bin" / "python"
pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(not PYTHON.exists(), reason=f"no environment of peers at {PYTHON} (`make test-peers` makes it)"),
]
SHAPES = [(4, 3), (7, 16), (24, 5)]
"""records and width of the embedding"""
SEEDS = [0, 1]
EXACT, FLOAT32 = 1e-10, 1e-6
"""largest difference, as a share of the largest entry; the second where the other library computes in float32"""

Draw = Callable[[torch.Generator, int, int], dict[str, Tensor]]


class Case(NamedTuple):
    """One loss of another library beside ours."""

    peer: str
    ours: Callable[..., Tensor]
    draw: Draw
    settings: dict[str, float] = {}
    tolerance: float = EXACT
    without: tuple[str, ...] = ()
    """inputs whose gradient differs by design: ours has none there, or theirs"""


def normal(g: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=g)


def views(count: int) -> Draw:
    return lambda g, n, d: {"z": normal(g, n, count, d)}


def two(first: str, second: str) -> Draw:
    return lambda g, n, d: {first: normal(g, n, d), second: normal(g, n, d)}


def against_bank(g: torch.Generator, n: int, d: int) -> dict[str, Tensor]:
    return {"query": normal(g, n, d), "key": normal(g, n, d), "bank": F.normalize(normal(g, 11, d), dim=1)}


def queue(g: torch.Generator, n: int, d: int) -> dict[str, Tensor]:
    """Rows of length 1: of others theirs gives back the length too."""
    return {"query": normal(g, n, d), "bank": F.normalize(normal(g, 11, d), dim=1)}


def logits(students: int) -> Draw:
    return lambda g, n, d: {
        "student": normal(g, n, students, d),
        "teacher": normal(g, n, 2, d),
        "centre": 0.3 * normal(g, d),
    }


def parts(count: int) -> Draw:
    """Two parts of eight times the width, because theirs refuses fewer than twice."""
    return lambda g, n, d: {"v": normal(g, 16 * d, count, d), "order": torch.randperm(16 * d, generator=g).view(2, -1)}


def slices(g: torch.Generator, n: int, d: int) -> dict[str, Tensor]:
    return {"z": 1.3 * normal(g, n, 4, d) + 0.2, "slices": F.normalize(normal(g, d, 6), dim=0)}


def masked(g: torch.Generator, n: int, d: int) -> dict[str, Tensor]:
    hidden = torch.rand(n, 9, generator=g) < 0.7
    return {"predicted": normal(g, n, 9, 3 * d), "target": normal(g, n, 9, 3 * d), "hidden": hidden}


def coded(g: torch.Generator, n: int, d: int) -> dict[str, Tensor]:
    return {"scores": normal(g, n, 2, d).tanh(), "codes": normal(g, n, 2, d).softmax(dim=-1)}


def dino(student: Tensor, teacher: Tensor, centre: Tensor, **temperatures: float) -> Tensor:
    cross = distillation.self_distillation(student, teacher, centre, **temperatures).cross_entropy
    return cross[~torch.eye(*cross.shape, dtype=torch.bool)].mean()


def swav(scores: Tensor, coded: float, temperature: float, epsilon: float) -> Tensor:
    codes = [clustering.sinkhorn(view, epsilon=epsilon) for view in scores[:, : int(coded)].unbind(1)]
    return clustering.swapped_prediction(torch.stack(codes, dim=1), scores, temperature=temperature)


def tico(z: Tensor, target: Tensor, memory: Tensor, beta: float, rho: float) -> Tensor:
    now = beta * memory + (1 - beta) * decorrelation.second_moment(z)
    terms = decorrelation.tico(z, target, now)
    return terms.invariance + rho * terms.covariance


def vicreg(z: Tensor, invariance: float, variance: float, covariance: float) -> Tensor:
    terms = decorrelation.vicreg(z)
    return invariance * terms.invariance + variance * terms.variance + covariance * terms.covariance


def barlow_twins(z0: Tensor, z1: Tensor, weight: float, scale: float = 1.0) -> Tensor:
    terms = decorrelation.barlow_twins(z0, z1)
    return scale * (terms.invariance + weight * terms.redundancy)


def lejepa(z: Tensor, slices: Tensor, num_global: float, weight: float, **points: Any) -> Tensor:
    terms = gaussianity.lejepa(z, slices, num_global=int(num_global), **points)
    return (1 - weight) * terms.prediction + weight * terms.sigreg


def info_nce(query: Tensor, key: Tensor, bank: Tensor, temperature: float) -> Tensor:
    return contrastive.info_nce(query, key[:, None], bank, temperature=temperature).loss


def triplets(mining: Any) -> Callable[..., Tensor]:
    return lambda z, margin, normalize: contrastive.triplet(z, margin=margin, mining=mining, normalize=bool(normalize)).loss


def direct_clr(h: Tensor, width: float) -> Tensor:
    z0, z1 = h[..., : int(width)].unbind(1)
    return (contrastive.paired_nce(z0, z1).loss + contrastive.paired_nce(z1, z0).loss) / 2


def mae(pixels: Tensor, predicted: Tensor, hidden: Tensor, side: float) -> Tensor:
    target = reconstruction.patches(pixels[:, :, None], (1, int(side), int(side)))
    return reconstruction.masked_mse(predicted, target, hidden)


def pictures(g: torch.Generator, n: int, d: int) -> dict[str, Tensor]:
    return {"pixels": normal(g, n, 3, 12, 12), "predicted": normal(g, n, 9, 48), "hidden": torch.rand(n, 9, generator=g) < 0.7}


def near(g: torch.Generator, n: int, d: int) -> dict[str, Tensor]:
    """Views of a record so close that every anchor has a negative farther than its positive."""
    z = normal(g, n, 1, d)
    return {"z": z + 0.05 * normal(g, n, 2, d)}


def centre(student: Tensor, teacher: Tensor, centre: Tensor, momentum: float) -> Tensor:
    ours = Centre(len(centre)).double()
    ours.value.copy_(centre.detach())
    ours.update(teacher.detach().flatten(0, 1), momentum=momentum)
    return ours.value


CASES = [
    *(
        Case(f"{peer}", contrastive.nt_xent, views(2), {"temperature": t})
        for peer in ("lightly_nt_xent", "solo_simclr")
        for t in (0.1, 0.5)
    ),
    *(Case("pml_nt_xent", contrastive.nt_xent, views(v), {"temperature": 0.2}) for v in (2, 3)),
    Case("lightly_nt_xent_with_a_bank", info_nce, against_bank, {"temperature": 0.2}, without=("bank",)),
    Case("solo_moco", info_nce, against_bank, {"temperature": 0.07}),
    Case(
        "solo_nnclr",
        lambda a, b, temperature: contrastive.paired_nce(a, b, temperature=temperature).loss,
        two("a", "b"),
        {"temperature": 0.1},
    ),
    Case("lightly_nearest", contrastive.nearest, queue),
    Case("lightly_dcl", contrastive.decoupled, views(2), {"temperature": 0.1}),
    Case("lightly_dclw", contrastive.decoupled, views(2), {"temperature": 0.1, "sigma": 0.5}),
    Case(
        "lightly_direct_clr",
        lambda h, width, temperature: contrastive.nt_xent(h[..., : int(width)], temperature=temperature),
        lambda g, n, d: {"h": normal(g, n, 2, d)},
        {"width": 2, "temperature": 0.1},
    ),
    *(
        Case("pml_triplets_all", triplets("all"), views(v), {"margin": 0.3, "normalize": normalize})
        for v in (2, 3)
        for normalize in (0, 1)
    ),
    Case("pml_triplets_hardest", triplets("hardest"), views(2), {"margin": 0.3, "normalize": 1}),
    Case("lightly_negative_cosine", distillation.negative_cosine, two("p", "z")),
    Case("solo_simsiam", lambda p, z: distillation.negative_cosine(p, z.detach()), two("p", "z")),
    Case("solo_byol", distillation.regression, two("p", "z")),
    *(
        Case(
            "lightly_dino",
            dino,
            logits(s),
            {"student_temperature": 0.1, "teacher_temperature": 0.04},
            without=("teacher", "centre"),
        )
        for s in (2, 5)
    ),
    Case("solo_dino", dino, logits(2), {"student_temperature": 0.1, "teacher_temperature": 0.07}, without=("centre",)),
    Case("lightly_barlow_twins", barlow_twins, two("z0", "z1"), {"weight": 0.0051}),
    Case("solo_barlow_twins", barlow_twins, two("z0", "z1"), {"weight": 0.0051, "scale": 0.1}),
    Case(
        "lightly_vicreg",
        vicreg,
        lambda g, n, d: {"z": 0.7 * normal(g, n, 2, d)},
        {"invariance": 25.0, "variance": 25.0, "covariance": 1.0},
    ),
    *(
        Case(
            "lightly_w_mse", lambda v, order, epsilon: decorrelation.w_mse(v, order, epsilon=epsilon), parts(v), {"epsilon": e}
        )
        for v in (2, 3)
        for e in (0.0, 0.01)
    ),
    Case("solo_normalized_mse", decorrelation.normalized_mse, views(2)),
    Case(
        "lightly_tico",
        tico,
        lambda g, n, d: {**two("z", "target")(g, n, d), "memory": decorrelation.second_moment(normal(g, 9, d))},
        {"beta": 0.9, "rho": 8.0},
        without=("target", "memory"),
    ),
    *(
        Case(
            "lightly_swav",
            swav,
            lambda g, n, d, v=v: {"scores": normal(g, n, v, d).tanh()},
            {"coded": 2, "temperature": 0.1, "epsilon": 0.05},
        )
        for v in (2, 5)
    ),
    *(
        Case(f"{library}_sinkhorn", clustering.sinkhorn, lambda g, n, d: {"scores": normal(g, n, d).tanh()}, {"epsilon": 0.05})
        for library in ("lightly", "solo")
    ),
    Case(
        "solo_swav",
        lambda scores, codes, temperature: clustering.swapped_prediction(codes, scores, temperature=temperature),
        coded,
        {"temperature": 0.1},
    ),
    *(
        Case("lightly_lejepa", lejepa, slices, {"num_global": 2, "weight": 0.05, "t_max": t, "num_points": p}, FLOAT32)
        for t, p in ((5.0, 17), (3.0, 33))
    ),
    Case("lightly_masked_error", reconstruction.masked_mse, masked),
    Case("stable_pretraining_masked_error", reconstruction.masked_mse, masked),
    Case(
        "lightly_patches",
        lambda pixels, side: reconstruction.patches(pixels[:, :, None], (1, int(side), int(side))),
        lambda g, n, d: {"pixels": normal(g, n, 3, 12, 12)},
        {"side": 4},
    ),
    Case("lightly_centre", centre, logits(2), {"momentum": 0.9}, without=("student", "teacher", "centre")),
    # the authors' code, where AUTHORS has it
    Case("authors_barlow_twins", barlow_twins, two("z0", "z1"), {"weight": 0.0051}),
    Case(
        "authors_vicreg",
        vicreg,
        lambda g, n, d: {"z": 0.7 * normal(g, n, 2, d)},
        {"invariance": 25.0, "variance": 25.0, "covariance": 1.0},
    ),
    Case("authors_dino", dino, logits(5), {"student_temperature": 0.1, "teacher_temperature": 0.04}, without=("centre",)),
    Case("authors_sinkhorn", clustering.sinkhorn, lambda g, n, d: {"scores": normal(g, n, d).tanh()}, {"epsilon": 0.05}),
    Case(
        "authors_moco_v3",
        lambda query, key, temperature: 2 * temperature * contrastive.paired_nce(query, key, temperature=temperature).loss,
        two("query", "key"),
        {"temperature": 0.2},
        without=("key",),
    ),
    Case("authors_direct_clr", direct_clr, lambda g, n, d: {"h": normal(g, n, 2, d)}, {"width": 2}),
    *(
        Case(
            "authors_w_mse", lambda v, order, epsilon: decorrelation.w_mse(v, order, epsilon=epsilon), parts(v), {"epsilon": e}
        )
        for v in (2, 3)
        for e in (0.0, 0.01)
    ),
    Case("authors_mae", mae, pictures, {"side": 4}, without=("pixels",)),
    Case(
        "authors_dense_nce",
        lambda predicted, found: contrastive.dense_nce(predicted, found).loss,
        lambda g, n, d: {"predicted": normal(g, n, 2, 4, d), "found": normal(g, n, 2, 4, d)},
    ),
    *(
        Case(
            "authors_sigreg",
            gaussianity.epps_pulley,
            lambda g, n, d: {"x": 1.3 * normal(g, n, d) + 0.2},
            {"t_max": t, "num_points": p},
            FLOAT32,
        )
        for t, p in ((5.0, 17), (3.0, 33))
    ),
    # forms that differ, and by what
    Case(
        "solo_vicreg",
        lambda z, invariance, variance, covariance: vicreg(z, invariance, 2 * variance, covariance),
        lambda g, n, d: {"z": 0.7 * normal(g, n, 2, d)},
        {"invariance": 25.0, "variance": 25.0, "covariance": 1.0},
    ),
    Case("pml_triplets_semi_hard", triplets("semi_hard"), near, {"margin": 2.0, "normalize": 1}),
]


class Compared(NamedTuple):
    """What both sides say."""

    case: Case
    inputs: dict[str, Tensor]
    theirs: dict[str, Any]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Compared]]:
    """All questions at once: importing the libraries takes longer than asking."""
    folder = tmp_path_factory.mktemp("peers")
    drawn = {
        f"{i} {n} {d} {seed}": case.draw(torch.Generator().manual_seed(1000 * seed + n), n, d)
        for (i, case), (n, d), seed in product(enumerate(CASES), SHAPES, SEEDS)
    }
    asked = {
        name: {"peer": CASES[int(name.split()[0])].peer, "inputs": inputs, "settings": CASES[int(name.split()[0])].settings}
        for name, inputs in drawn.items()
    }
    torch.save(asked, folder / "questions.pt")
    command = [PYTHON, Path(__file__).with_name("peer_losses.py"), folder / "questions.pt", folder / "answers.pt"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    answered = torch.load(folder / "answers.pt", weights_only=True)
    found: dict[str, list[Compared]] = {}
    for name, inputs in drawn.items():
        i = int(name.split()[0])
        found.setdefault(label(i), []).append(Compared(CASES[i], inputs, answered[name]))
    return found


def label(i: int) -> str:
    return f"{CASES[i].peer} {' '.join(f'{value:g}' for value in CASES[i].settings.values())} #{i}"


def both(compared: Compared) -> tuple[Tensor, dict[str, Tensor]]:
    """Our value, and our gradient of every input."""
    given = {k: v.clone().requires_grad_() if v.is_floating_point() else v for k, v in compared.inputs.items()}
    value = compared.case.ours(*given.values(), **compared.case.settings)
    leaves = {k: v for k, v in given.items() if v.is_floating_point()}
    if not value.requires_grad:
        return value, {k: torch.zeros_like(v) for k, v in leaves.items()}
    found = torch.autograd.grad(value.sum(), list(leaves.values()), allow_unused=True)
    return value.detach(), {k: torch.zeros_like(v) if g is None else g for (k, v), g in zip(leaves.items(), found, strict=True)}


def difference(ours: Tensor, theirs: Tensor) -> float:
    """The largest, as a share of the largest entry."""
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-12))


@pytest.mark.parametrize("name", [label(i) for i in range(len(CASES))])
def test_value_and_gradient_are_those_of_the_other_library(name: str, answers: dict[str, list[Compared]]) -> None:
    for compared in answers[name]:
        if "absent" in compared.theirs:
            pytest.skip(compared.theirs["absent"])
        assert "failed" not in compared.theirs, compared.theirs["failed"]
        value, gradients = both(compared)
        assert difference(value, compared.theirs["value"]) < compared.case.tolerance
        for input, gradient in gradients.items():
            if input not in compared.case.without:
                assert difference(gradient, compared.theirs["gradients"][input]) < compared.case.tolerance, input

"""Other libraries' losses, one function each, with author_losses.py; runs in their environment: python peer_losses.py QUESTIONS ANSWERS.

QUESTIONS: {name of a case: {"peer": a function below, "inputs": {name: tensor}, "settings": {name: number}}}; ANSWERS: for each
case {"value", "gradients": {name: tensor}}, or {"absent" or "failed": why}. Whatever is made without a dtype is float64 here.
"""

import importlib
import importlib.util
import sys
import traceback
import types
from pathlib import Path

import torch
from torch import Tensor


def hollow(package: str) -> None:
    """From here on ``package`` is only a folder: its own file, which may need what is not installed, does not run."""
    if package in sys.modules:
        return
    top, *below = package.split(".")
    spec = importlib.util.find_spec(top) if not below else None
    folders = sys.modules[package.rpartition(".")[0]].__path__ if below else spec and spec.submodule_search_locations
    if not folders:
        raise ImportError(f"{package} is not installed")
    sys.modules[package] = types.ModuleType(package)
    sys.modules[package].__path__ = [str(Path(folder, *below[-1:])) for folder in folders]


def solo(module: str) -> types.ModuleType:
    """A module of solo-learn, whose package file needs a Lightning of 2021."""
    hollow("solo")
    hollow("solo.utils")
    return importlib.import_module(f"solo.{module}")


def metric_learning(module: str) -> types.ModuleType:
    """A module of pytorch-metric-learning; its other losses and its scores need scipy and scikit-learn."""
    import author_losses

    author_losses.make_up("scipy", "scipy.special", "scipy.stats", "sklearn", "sklearn.metrics")
    return importlib.import_module(f"pytorch_metric_learning.{module}")


# lightly


def lightly_nt_xent(z, temperature):
    from lightly.loss import NTXentLoss

    return NTXentLoss(temperature=temperature)(z[:, 0], z[:, 1])


def lightly_nt_xent_with_a_bank(query, key, bank, temperature):
    from lightly.loss import NTXentLoss

    loss = NTXentLoss(temperature=temperature, memory_bank_size=tuple(bank.shape))
    loss.memory_bank.bank = bank
    loss.memory_bank.bank_ptr = torch.zeros(1, dtype=torch.long)
    return loss(query, key)


def lightly_nearest(query, bank):
    from lightly.models.modules import NNMemoryBankModule

    module = NNMemoryBankModule(size=tuple(bank.shape))
    module.bank = bank
    module.bank_ptr = torch.zeros(1, dtype=torch.long)
    return module(query, update=False)


def lightly_negative_cosine(p, z):
    from lightly.loss import NegativeCosineSimilarity

    return NegativeCosineSimilarity()(p, z)


def lightly_barlow_twins(z0, z1, weight):
    from lightly.loss import BarlowTwinsLoss

    return BarlowTwinsLoss(lambda_param=weight)(z0, z1)


def lightly_vicreg(z, invariance, variance, covariance):
    from lightly.loss import VICRegLoss

    return VICRegLoss(lambda_param=invariance, mu_param=variance, nu_param=covariance)(z[:, 0], z[:, 1])


def lightly_dino(student, teacher, centre, student_temperature, teacher_temperature):
    from lightly.loss import DINOLoss

    loss = DINOLoss(output_dim=len(centre), student_temp=student_temperature)
    loss.center = centre.view(1, 1, -1)
    return loss(list(teacher.unbind(1)), list(student.unbind(1)), teacher_temp=teacher_temperature)


def lightly_centre(student, teacher, centre, momentum):
    from lightly.loss import DINOLoss

    loss = DINOLoss(output_dim=len(centre), center_momentum=momentum)
    loss.center = centre.view(1, 1, -1)
    loss.update_center(teacher.transpose(0, 1))
    return loss.center.view(-1)


def lightly_swav(scores, coded, temperature, epsilon):
    from lightly.loss import SwaVLoss

    views = list(scores.unbind(1))
    coded = int(coded)
    return SwaVLoss(temperature=temperature, sinkhorn_epsilon=epsilon)(views[:coded], views[coded:]).squeeze()


def lightly_sinkhorn(scores, epsilon):
    from lightly.loss.swav_loss import sinkhorn

    return sinkhorn(scores, epsilon=epsilon)


def lightly_tico(z, target, memory, beta, rho):
    from lightly.loss import TiCoLoss

    loss = TiCoLoss(beta=beta, rho=rho)
    loss.C = memory
    return loss(z, target)


def lightly_dcl(z, temperature):
    from lightly.loss import DCLLoss

    return DCLLoss(temperature=temperature)(z[:, 0], z[:, 1])


def lightly_dclw(z, temperature, sigma):
    from lightly.loss import DCLWLoss

    return DCLWLoss(temperature=temperature, sigma=sigma)(z[:, 0], z[:, 1])


def lightly_direct_clr(h, width, temperature):
    from lightly.loss import DirectCLRLoss

    return DirectCLRLoss(loss_dim=int(width), temperature=temperature)(h[:, 0], h[:, 1])


def lightly_w_mse(v, order, epsilon):
    from lightly.loss import WMSELoss

    n, views, d = v.shape
    loss = WMSELoss(embedding_dim=d, w_size=order.shape[1], eps=epsilon, num_samples=views, track_running_stats=False)
    drawn, torch.randperm = torch.randperm, lambda _: order.flatten()
    try:
        return loss(v.transpose(0, 1).flatten(0, 1))
    finally:
        torch.randperm = drawn


def lightly_lejepa(z, slices, num_global, weight, t_max, num_points):
    """Its points are those with t >= 0 only, in float32."""
    from lightly.loss.lejepa_loss import LeJEPALoss

    knots = int(num_points) // 2 + 1
    loss = LeJEPALoss(lambda_param=weight, sigreg_t_max=t_max, sigreg_knots=knots, sigreg_num_vectors=slices.shape[1])
    loss.sigreg._generate_unit_vectors = lambda *_: slices
    views = z.transpose(0, 1)
    return loss(global_proj=views[: int(num_global)], local_proj=views[int(num_global) :])


def lightly_patches(pixels, side):
    from lightly.models.utils import patchify

    return patchify(pixels, int(side))


def lightly_masked_error(predicted, target, hidden):
    """As its MAE example: the mean squared error over the hidden patches, which are normalised."""
    from lightly.models.utils import normalize_mean_var

    return torch.nn.MSELoss()(predicted[hidden], normalize_mean_var(target)[hidden])


# solo-learn


def solo_simclr(z, temperature):
    return solo("losses.simclr").simclr_loss_func(z[:, 0], z[:, 1], temperature=temperature)


def solo_moco(query, key, bank, temperature):
    unit = torch.nn.functional.normalize
    return solo("losses.moco").moco_loss_func(unit(query, dim=1), unit(key, dim=1), bank.T, temperature=temperature)


def solo_nnclr(a, b, temperature):
    return solo("losses.nnclr").nnclr_loss_func(a, b, temperature=temperature)


def solo_swav(scores, codes, temperature):
    return solo("losses.swav").swav_loss_func(list(scores.unbind(1)), list(codes.unbind(1)), temperature=temperature)


def solo_sinkhorn(scores, epsilon):
    return solo("utils.sinkhorn_knopp").SinkhornKnopp(num_iters=3, epsilon=epsilon)(scores)


def solo_dino(student, teacher, centre, student_temperature, teacher_temperature):
    """It takes as many views from the student as from the teacher."""
    loss = solo("losses.dino").DINOLoss(
        len(centre), teacher_temperature, teacher_temperature, 1, 2, student_temp=student_temperature
    )
    loss.center = centre[None]
    return loss(student.transpose(0, 1).flatten(0, 1), teacher.transpose(0, 1).flatten(0, 1))


def solo_byol(p, z):
    return solo("losses.byol").byol_loss_func(p, z)


def solo_simsiam(p, z):
    return solo("losses.simsiam").simsiam_loss_func(p, z)


def solo_vicreg(z, invariance, variance, covariance):
    return solo("losses.vicreg").vicreg_loss_func(z[:, 0], z[:, 1], invariance, variance, covariance)


def solo_barlow_twins(z0, z1, weight, scale):
    return solo("losses.barlow").barlow_loss_func(z0, z1, lamb=weight, scale_loss=scale)


def solo_normalized_mse(z):
    return solo("losses.wmse").wmse_loss_func(z[:, 0], z[:, 1], simplified=False)


# pytorch-metric-learning


def _rows(z):
    """[n, views, d] -> rows and the record of each."""
    return z.flatten(0, 1), torch.arange(z.shape[0]).repeat_interleave(z.shape[1])


def _triplets(z, miner, margin, normalize):
    distances = metric_learning("distances")
    losses, reducers = metric_learning("losses"), metric_learning("reducers")
    distance = distances.LpDistance(normalize_embeddings=bool(normalize), p=2, power=2)
    loss = losses.TripletMarginLoss(margin=margin, distance=distance, reducer=reducers.MeanReducer())
    rows, record = _rows(z)
    return loss(rows, record, None if miner is None else miner(distance)(rows, record))


def pml_triplets_all(z, margin, normalize):
    return _triplets(z, None, margin, normalize)


def _miner(strategy):
    miners = metric_learning("miners")
    return lambda distance: miners.BatchEasyHardMiner(pos_strategy="hard", neg_strategy=strategy, distance=distance)


def pml_triplets_hardest(z, margin, normalize):
    return _triplets(z, _miner("hard"), margin, normalize)


def pml_triplets_semi_hard(z, margin, normalize):
    """An anchor without a semi-hard negative makes no triplet there."""
    return _triplets(z, _miner("semihard"), margin, normalize)


def pml_nt_xent(z, temperature):
    return metric_learning("losses").NTXentLoss(temperature=temperature)(*_rows(z))


# stable-pretraining: one file of it; what that file imports and the function does not call needs a hundred packages


def stable_pretraining_masked_error(predicted, target, hidden):
    for package in ("stable_pretraining", "stable_pretraining.losses", "stable_pretraining.backbone"):
        hollow(package)
    neighbour = types.ModuleType("stable_pretraining.backbone.patch_masking")
    neighbour.patchify = None
    sys.modules.setdefault(neighbour.__name__, neighbour)
    module = importlib.import_module("stable_pretraining.losses.reconstruction")
    return module.mae(target, predicted, hidden.to(predicted.dtype), norm_pix_loss=True)


def answer(peer: str, inputs: dict[str, Tensor], settings: dict[str, float]) -> dict[str, object]:
    import author_losses

    given = {k: v.clone().requires_grad_() if v.is_floating_point() else v for k, v in inputs.items()}
    try:
        value = (globals().get(peer) or getattr(author_losses, peer))(**given, **settings)
    except ImportError as reason:
        return {"absent": f"{peer}: {reason}"}
    except Exception:
        return {"failed": traceback.format_exc()}
    leaves = [v for v in given.values() if v.is_floating_point()]
    found = iter(torch.autograd.grad(value.sum(), leaves, allow_unused=True) if value.requires_grad else [None] * len(leaves))
    gradients = {k: next(found) for k, v in given.items() if v.is_floating_point()}
    return {
        "value": value.detach(),
        "gradients": {k: torch.zeros_like(given[k]) if g is None else g for k, g in gradients.items()},
    }


def main(questions: str, answers: str) -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
    from torchvision_shim import import_torchvision

    import_torchvision()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    asked = torch.load(questions, weights_only=True)
    torch.save({name: answer(**question) for name, question in asked.items()}, answers)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The authors' own losses, from checkouts that are not part of this project: the folder AUTHORS holds them by their names.

github.com/facebookresearch/{barlowtwins, vicreg, dino, swav, moco-v3, mae, directclr}, htdt/self-supervised, TengdaHan/DPC and
rbalestr-lab/lejepa. Of each only the loss runs: one process, no GPU, and what a file imports for other ends is made up.
"""

import importlib
import importlib.util
import os
import sys
import types
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MadeUp(types.ModuleType):
    """A module whose every name is an empty class."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def make_up(*names: str) -> None:
    """Modules that are imported, for other ends than what runs here, and are not installed."""
    for name in names:
        above = name.rpartition(".")[0]
        if name not in sys.modules and (isinstance(sys.modules.get(above), MadeUp) or not importlib.util.find_spec(name)):
            sys.modules[name] = MadeUp(name)
            sys.modules[name].__path__ = []


def author(repository: str, file: str) -> types.ModuleType:
    """A file of a checkout as a module; ImportError where there is no checkout."""
    root = Path(os.environ.get("AUTHORS", "")) / repository
    if not os.environ.get("AUTHORS") or not (root / file).exists():
        raise ImportError(f"AUTHORS (a folder of the authors' checkouts) has no {repository}/{file}")
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    torch.Tensor.cuda = lambda self, *_, **__: self
    make_up("apex", "apex.parallel", "apex.parallel.LARC", "pandas", "scipy", "scipy.stats")
    make_up("timm", "timm.models", "timm.models.vision_transformer")
    make_up("classy_vision", "classy_vision.generic", "classy_vision.generic.distributed_util")
    before, path = set(sys.modules), list(sys.path)
    sys.path[:0] = [str((root / file).parent), str(root), str(root / "backbone")]
    try:
        if file.endswith("__init__.py"):
            return importlib.import_module(Path(file).parent.name)
        spec = importlib.util.spec_from_file_location(f"author_{repository}", root / file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path[:] = path
        for name in set(sys.modules) - before:  # the next author has a `utils` too
            if str(root) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]
    return module


def bare(cls: type, **attributes: object) -> nn.Module:
    """A module without its constructor, which would build a network."""
    made = cls.__new__(cls)
    nn.Module.__init__(made)
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def authors_barlow_twins(z0: Tensor, z1: Tensor, weight: float) -> Tensor:
    same = nn.Identity()
    args = SimpleNamespace(batch_size=len(z0), lambd=weight)
    bn = nn.BatchNorm1d(z0.shape[1], affine=False)
    return bare(author("barlowtwins", "main.py").BarlowTwins, args=args, backbone=same, projector=same, bn=bn)(z0, z1)


def authors_vicreg(z: Tensor, invariance: float, variance: float, covariance: float) -> Tensor:
    same = nn.Identity()
    args = SimpleNamespace(batch_size=len(z), sim_coeff=invariance, std_coeff=variance, cov_coeff=covariance)
    cls = author("vicreg", "main_vicreg.py").VICReg
    return bare(cls, args=args, backbone=same, projector=same, num_features=z.shape[-1])(z[:, 0], z[:, 1])


def authors_dino(student, teacher, centre, student_temperature, teacher_temperature):
    cls = author("dino", "main_dino.py").DINOLoss
    views = student.shape[1]
    loss = cls(len(centre), views, teacher_temperature, teacher_temperature, 1, 2, student_temp=student_temperature)
    loss.center = centre[None]
    return loss(student.transpose(0, 1).flatten(0, 1), teacher.transpose(0, 1).flatten(0, 1), 0)


def authors_sinkhorn(scores: Tensor, epsilon: float) -> Tensor:
    module = author("swav", "main_swav.py")
    module.args = SimpleNamespace(epsilon=epsilon, world_size=1, sinkhorn_iterations=3)
    return module.distributed_sinkhorn(scores)


def authors_moco_v3(query: Tensor, key: Tensor, temperature: float) -> Tensor:
    cls = author("moco-v3", "moco/builder.py").MoCo
    return cls.contrastive_loss(SimpleNamespace(T=temperature), query, key)


def authors_direct_clr(h: Tensor, width: float) -> Tensor:
    module = author("directclr", "directclr/main.py")
    module.gather_from_all = lambda x: x
    loss = module.infoNCE
    z0, z1 = h[:, 0, : int(width)], h[:, 1, : int(width)]
    return loss(z0, z1) / 2 + loss(z1, z0) / 2


def authors_w_mse(v: Tensor, order: Tensor, epsilon: float) -> Tensor:
    """The loop of their methods/w_mse.py over the parts and pairs, with a drawn order."""
    whitening = author("self-supervised", "methods/whitening.py").Whitening2d(
        v.shape[-1], eps=epsilon, track_running_stats=False
    )
    distance = author("self-supervised", "methods/norm_mse.py").norm_mse_loss
    z = torch.empty_like(v)
    for part in order:
        for i in range(v.shape[1]):
            z[part, i] = whitening(v[part, i])
    pairs = [(i, j) for i in range(v.shape[1] - 1) for j in range(i + 1, v.shape[1])]
    return sum(distance(z[:, i], z[:, j]) for i, j in pairs) / len(pairs)


def authors_mae(pixels: Tensor, predicted: Tensor, hidden: Tensor, side: float) -> Tensor:
    cls = author("mae", "models_mae.py").MaskedAutoencoderViT
    patch_embed = SimpleNamespace(patch_size=(int(side), int(side)))
    model = bare(cls, patch_embed=patch_embed, norm_pix_loss=True)
    return model.forward_loss(pixels, predicted, hidden.to(predicted.dtype))


def authors_dense_nce(predicted: Tensor, found: Tensor) -> Tensor:
    """Their forward with maps and predictions that are given, then the cross-entropy of their main.py."""
    n, steps, places, d = predicted.shape
    size = int(places**0.5)
    maps = [x.transpose(2, 3).reshape(n, steps, d, size, size) for x in (predicted, found)]
    turn = iter(maps[0].unbind(1))
    seen = torch.zeros(n, 1, d, size, size)
    blocks = torch.cat([seen, maps[1]], dim=1)
    model = bare(
        author("DPC", "dpc/model_3d.py").DPC_RNN,
        backbone=_Given(lambda _: blocks.flatten(0, 1)[:, :, None]),
        agg=_Given(lambda x, *_: (None, x[:, :1])),
        network_pred=_Given(lambda _: next(turn)),
        relu=nn.ReLU(),
        param={"feature_size": d},
        pred_step=steps,
        last_size=size,
        last_duration=1,
        mask=None,
    )
    score, mask = model(torch.zeros(n, steps + 1, 1, 1, 1, 1))
    target = (mask == 1).reshape(n * steps * places, -1).to(int).argmax(dim=1)
    return F.cross_entropy(score.reshape(n * steps * places, -1), target)


class _Given(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args):
        return self.function(*args)


def authors_sigreg(x: Tensor, t_max: float, num_points: float) -> Tensor:
    """Its points are those with t >= 0 only, in float32."""
    knots = int(num_points) // 2 + 1
    return author("lejepa", "lejepa/__init__.py").univariate.EppsPulley(t_max=t_max, n_points=knots).double()(x)

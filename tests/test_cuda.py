"""On a GPU: views, every method's first loss and gradient are those of the CPU, runs train in bf16 and resume.

Skipped where there is none.
"""

import math

import pytest
import torch

from fullrank.checkpoint.encoder import build_method, load
from fullrank.checkpoint.save import load_checkpoint
from fullrank.config import Augmentation
from fullrank.data.clips import clip_spec
from fullrank.data.loader import Loader
from fullrank.engine.loop import train
from fullrank.features.extract import extract
from fullrank.methods._method import available, load_method
from fullrank.recipes import recipe
from fullrank.testing.lab import BATCH, Subject, context
from fullrank.types import Views
from fullrank.views import policies
from fullrank.views.plan import make_views, multi_view

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
CUDA = torch.device("cuda")
METHODS = list(available())


@pytest.fixture(autouse=True)
def _full_float32():
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def to_gpu(views: Views) -> Views:
    groups = {name: {key: x.to(CUDA) for key, x in getattr(views, name).items()} for name in ("pixels", "masks", "targets")}
    return Views(index=views.index.to(CUDA), **groups)


@pytest.mark.parametrize(
    "augmentation",
    [Augmentation(size_pixels=16), policies.simclr(24), policies.byol(32), policies.slowfast(32)],
    ids=["plain", "simclr", "byol", "slowfast"],
)
def test_the_same_views_come_out(augmentation, memory_source):
    """To two grey levels of 255: a blur's products are summed in another order."""
    source = memory_source(records=16, size=40)
    plan = multi_view(2, augmentation)
    subject = Subject(load_method("simclr"))
    loader = Loader(source, clip_spec(plan, subject.settings.data), num_clips=2, batch_size=16, seed=3, num_workers=0)
    batch = next(loader.batches())
    cpu, gpu = (make_views(batch, plan, 3, torch.device(where)).pixels["view"] for where in ("cpu", "cuda"))
    scale = max(1 / value for value in augmentation.std)
    assert (cpu - gpu.cpu()).abs().max() <= 2 / 255 * scale
    assert cpu.std() > 0.1


def test_images_in_memory_are_looked_up_on_the_gpu(memory_source):
    spec = clip_spec(multi_view(1, Augmentation(size_pixels=16)), Subject(load_method("simclr")).settings.data)
    cpu, gpu = (
        next(Loader(memory_source(size=16), spec, num_clips=1, batch_size=8, seed=3, num_workers=0, device=where).batches())
        for where in (torch.device("cpu"), CUDA)
    )
    assert gpu.frames.device.type == "cuda"
    assert torch.equal(cpu.frames, gpu.frames.cpu())
    assert torch.equal(cpu.index, gpu.index)


@pytest.mark.parametrize("augmentation", [policies.cifar_simclr(32), policies.byol(32)], ids=["cifar", "byol"])
def test_views_are_made_without_waiting_for_the_gpu(augmentation, memory_source):
    plan = multi_view(1, augmentation)
    spec = clip_spec(plan, Subject(load_method("simclr")).settings.data)
    loader = Loader(memory_source(size=32), spec, num_clips=1, batch_size=8, seed=3, num_workers=0, device=CUDA)
    batches = loader.batches()
    make_views(next(batches), plan, 3, CUDA)  # the first time libraries are loaded, and wait
    torch.cuda.set_sync_debug_mode("error")
    try:
        make_views(next(batches), plan, 3, CUDA)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("name", METHODS)
def test_the_first_step_is_that_of_the_cpu(name):
    subject = Subject(load_method(name))
    views = subject.views()
    found = {}
    for where in ("cpu", "cuda"):
        method = subject.build().to(where).train()
        torch.manual_seed(0)
        for part in method.modules():  # each device draws its own
            if isinstance(part, torch.nn.Dropout) or hasattr(part, "drop_prob"):
                part.eval()
        output = method(to_gpu(views) if where == "cuda" else views, context())
        output.loss.backward()
        gradient = torch.cat([p.grad.flatten().cpu() for p in method.parameters() if p.grad is not None])
        found[where] = ({term: float(value) for term, value in output.losses.items()}, gradient)
    (losses, gradient), (gpu_losses, gpu_gradient) = found["cpu"], found["cuda"]
    for term, value in losses.items():
        assert gpu_losses[term] == pytest.approx(value, rel=2e-3, abs=2e-4), term
    cosine = torch.nn.functional.cosine_similarity(gradient, gpu_gradient, dim=0)
    assert cosine > 0.99, f"gradients point elsewhere: cosine {cosine}"


def test_the_gradient_in_bf16_points_where_that_of_float32_does():
    """Of a whole network in the layout and with the algorithms of a run; 0.93 on a CPU, for noise pushes nowhere strongly."""
    config = recipe("simclr.cifar10")
    pixels = torch.randn(32, 2, 3, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    views = to_gpu(Views(pixels={"view": pixels}, index=torch.arange(32)))
    gradients = []
    for half in (False, True):
        torch.manual_seed(0)
        method = build_method(config, 50_000).to(CUDA).train()
        with torch.backends.cudnn.flags(benchmark=True), torch.autocast("cuda", torch.bfloat16, enabled=half):
            loss = method(views, context()).loss
            loss.backward()
        gradients.append(torch.cat([p.grad.flatten() for p in method.parameters()]))
    assert torch.nn.functional.cosine_similarity(*gradients, dim=0) > 0.85


@pytest.mark.parametrize("name", METHODS)
def test_a_run_in_bf16_ends_and_resumes(name, tmp_path):
    subject = Subject(load_method(name))
    config = subject.settings
    data = config.data.model_copy(update={"batch_size": BATCH, "num_workers": 0})
    source = subject.source()

    class Half:
        def on_step(self, event):
            return "as asked" if event.ctx.step == 3 else None

        def on_end(self, summary):
            pass

    update = {"data": data, "max_steps": 6, "max_minutes": None, "device": "cuda", "precision": "bf16", "out": tmp_path / "run"}
    train(config.model_copy(update=update), source=source, observers=(Half(),))
    result = train(resume=tmp_path / "run", source=source)
    assert result.steps == 6
    assert all(math.isfinite(value) for value in result.summary["losses"].values())
    state = load_checkpoint(tmp_path / "run")["method"]
    assert all(bool(torch.isfinite(x).all()) for x in state.values() if x.is_floating_point())
    on_gpu = extract(load(tmp_path / "run", "cuda"), source, tmp_path / "gpu", device="cuda")
    on_cpu = extract(load(tmp_path / "run"), source, tmp_path / "cpu")
    gpu, cpu = torch.from_numpy(on_gpu.representation.copy()), torch.from_numpy(on_cpu.representation.copy())
    assert float((gpu - cpu).abs().max() / cpu.abs().max()) < 2e-2

"""What must hold for every method, a function each: quiet where it holds, ``Nonconformance`` where it does not."""

import copy
import importlib
import inspect
import io
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fullrank.config import Settings
from fullrank.engine.alarms import READINGS
from fullrank.methods._method import Method, available
from fullrank.recipes import available as recipes_available
from fullrank.spectrum.alarms import cheap_complete
from fullrank.spectrum.measures import cheap_measures
from fullrank.testing.lab import BATCH, RECORDS, Subject, blank, context, part, processes
from fullrank.types import Output

PAGE = ("Idea:", "Data flow:", "What prevents collapse:", "What breaks it:", "At complete collapse:", "The paper's number:")
SETTLING_STEPS, SETTLING_RATE = 100, 1e-2
STATISTICS = {"running_mean", "running_var", "num_batches_tracked"}


class Nonconformance(AssertionError):  # noqa: N818  it reads as what it is in a test report
    """A method does not hold to a point of the contract; the sentence says how."""


def _demand(holds: bool, sentence: str) -> None:
    if not holds:
        raise Nonconformance(sentence)


def _close(got: Tensor, wanted: Tensor, what: str, atol: float = 1e-6, rtol: float = 1e-5) -> None:
    distance = float((got.detach() - wanted.detach()).abs().max()) if got.numel() else 0.0
    _demand(torch.allclose(got.detach(), wanted.detach(), atol=atol, rtol=rtol), f"{what} differ by {distance:.2g}")


def naming(subject: Subject) -> None:
    """File, registry key and recipe have one name; the page has its parts; every setting says what it is."""
    cls = subject.cls
    module = inspect.getmodule(cls)
    page = inspect.getdoc(module) or ""
    missing = [heading for heading in PAGE if heading not in page and heading not in (inspect.getdoc(cls) or "")]
    _demand(not missing or cls.needs_labels, f"the docstring of {cls.__module__} must have the parts {', '.join(missing)}")
    silent = [name for name, info in cls.Config.model_fields.items() if not info.description]
    _demand(not silent, f"these settings must have a docstring: {', '.join(silent)}")
    _demand(issubclass(cls.Config, Settings), "Config must be a fullrank.config.Settings")
    if cls.__module__.startswith("fullrank.methods."):
        name = cls.__module__.rsplit(".", 1)[1]
        _demand(name in available(), f"{name} is not found by its file name")
        _demand(f"{name}.tiny" in recipes_available(), f"recipes/{name}.py must have tiny()")
        importlib.import_module(f"fullrank.recipes.{name}")


def plan(subject: Subject) -> None:
    """The views that come out have the groups, and each group the sizes, that the plan says."""
    views = subject.views()
    for spec in subject.plan.groups:
        pixels = views.group(spec.name)
        clips = spec.num_clips or subject.plan.num_clips
        tiles = spec.tiles.grid**2 if spec.tiles else 1
        count = clips * spec.views_per_clip * spec.num_blocks * tiles
        _demand(tuple(pixels.shape[:2]) == (BATCH, count), f"group '{spec.name}' must hold {count} views a record")
        if spec.mask is not None:
            hidden = views.masks[spec.name]
            _demand(len(set(hidden.sum(-1).flatten().tolist())) == 1, "every row must hide the same number of tokens")


def terms(subject: Subject) -> None:
    """Losses and metrics are finite scalars; features are detached float32 of [batch, views, d], with the representation."""
    output = subject.build()(subject.views(), context())
    _demand(bool(output.losses), "forward must return at least one loss term")
    for name, term in (*output.losses.items(), *output.metrics.items()):
        _demand(term.ndim == 0 and bool(term.isfinite()), f"'{name}' must be a finite scalar, got {term}")
    _demand(not any(metric.requires_grad for metric in output.metrics.values()), "metrics must be detached")
    _demand(not any(tensor.requires_grad for tensor in output.carry.values()), "carry must be detached")
    _demand("representation" in output.features, "features must hold the representation")
    for name, feature in output.features.items():
        good = feature.ndim == 3 and len(feature) == BATCH and feature.dtype == torch.float32 and not feature.requires_grad
        _demand(good, f"feature '{name}' must be detached float32 [{BATCH}, views, d], got {list(feature.shape)}")


def purity(subject: Subject) -> None:
    """Two forwards on the same views give the same loss and change nothing but BatchNorm's statistics; in eval mode nothing."""
    method, views = subject.build(), subject.views()
    for mode in (True, False):
        method.train(mode)
        before = copy.deepcopy(method.state_dict())
        first, second = (_seeded(method, views).loss.detach() for _ in range(2))
        _demand(bool(first == second), f"two forwards gave {float(first)} and {float(second)}")
        changed = {k for k, value in method.state_dict().items() if not torch.equal(value, before[k])}
        allowed = STATISTICS if mode else set()
        changed = {k for k in changed if k.rsplit(".", 1)[-1] not in allowed}
        _demand(not changed, f"forward changed {sorted(changed)[:3]}; change it in after_step")


def _seeded(method: Method, views: Any, **changes: Any) -> Output:
    torch.manual_seed(1)
    return method(views, context(**changes))  # type: ignore[no-any-return]


def gradients(subject: Subject) -> None:
    """Every trainable parameter gets a gradient, every frozen one none."""
    method = subject.build()
    reached: dict[str, bool] = {}
    for number in range(2):
        method.zero_grad()
        _seeded(method, subject.views(number)).loss.backward()
        for name, p in method.named_parameters():
            reached[name] = reached.get(name, False) or (p.grad is not None and bool(p.grad.abs().sum() > 0))
    for name, parameter in method.named_parameters():
        _demand(reached[name] == parameter.requires_grad, f"{name} is {'un' * (not reached[name])}reached by the gradient")
    _demand(any(reached.values()), "no parameter has a gradient")


def batch_order(subject: Subject) -> None:
    """The loss does not depend on the order of the records."""
    method, views = subject.build(), subject.views()
    for module in method.modules():
        if "Drop" in type(module).__name__:
            module.eval()  # it draws by the place in the batch
    order = torch.randperm(BATCH, generator=torch.Generator().manual_seed(0))
    straight, mixed = _seeded(method, views), _seeded(method, part(views, order))
    for name, value in straight.losses.items():
        _close(mixed.losses[name], value, f"'{name}' of the records in another order", atol=2e-5)


def many_processes(subject: Subject) -> None:
    """Terms, gradients and buffers of two and of four processes are those of one.

    Running statistics stand in for the batch's, so that nothing but ``ctx.gather`` joins the processes; BatchNorm over
    processes is ``fullrank.testing.processes``' matter.
    """
    method = subject.build().double().eval()
    views = subject.views(dtype=torch.float64)
    whole = _seeded(method, views)
    whole.loss.backward()
    wanted = {k: p.grad.clone() for k, p in method.named_parameters() if p.grad is not None}
    for count in (2, 4):
        share = BATCH // count

        def work(rank: int, ctx: Any, share: int = share) -> Output:
            return method(part(views, slice(rank * share, (rank + 1) * share)), ctx)  # type: ignore[no-any-return]

        method.zero_grad()
        outputs = processes(count, work)
        for name, value in whole.losses.items():
            mean = torch.stack([output.losses[name] for output in outputs]).mean()
            _close(mean, value, f"'{name}' of {count} processes and of one", atol=1e-7)
        torch.stack([output.loss for output in outputs]).mean().backward()  # DDP averages gradients
        for name, gradient in wanted.items():
            found = dict(method.named_parameters())[name].grad
            _demand(found is not None, f"{name} gets no gradient with {count} processes")
            _close(found, gradient, f"gradients of {name} with {count} processes and with one")  # type: ignore[arg-type]


def state_of_processes(subject: Subject) -> None:
    """``after_step`` leaves every one of two processes with the state of one."""
    method = subject.build().double().eval()
    views = subject.views(dtype=torch.float64)
    copies = [copy.deepcopy(method) for _ in range(2)]
    method.after_step([method(views, context())], context())

    def work(rank: int, ctx: Any) -> None:
        output = copies[rank](part(views, slice(rank * BATCH // 2, (rank + 1) * BATCH // 2)), ctx)
        copies[rank].after_step([output], context(gather=ctx.gather))

    processes(2, work)
    for other in copies:
        for name, value in method.state_dict().items():
            _close(other.state_dict()[name].double(), value.double(), f"{name} of two processes and of one")


def saving(subject: Subject) -> None:
    """What a checkpoint holds is all there is: after loading, the next step is the same to the last bit."""
    method, ctx = subject.build(), context()
    method.after_step([_seeded(method, subject.views())], ctx)
    file = io.BytesIO()
    torch.save(method.state_dict(), file)
    file.seek(0)
    other = subject.build()
    other.load_state_dict(torch.load(file, weights_only=True))
    views = subject.views(1)
    first, second = _seeded(method, views), _seeded(other, views)
    _demand(bool(first.loss == second.loss), "the loss after loading is another one: some state is in no buffer")
    method.after_step([first], ctx)
    other.after_step([second], ctx)
    for name, value in method.state_dict().items():
        _demand(torch.equal(other.state_dict()[name], value), f"{name} after loading and one more step is another one")


def accumulation(subject: Subject) -> None:
    """``after_step`` takes one output a micro-batch, and reads all of them."""
    method = subject.build()
    outputs = [_seeded(method, subject.views(number)) for number in range(2)]
    states = []
    for given in (outputs, outputs[:1], outputs[1:]):
        changed = copy.deepcopy(method)
        changed.after_step(given, context())
        states.append(changed.state_dict())
    if not any(output.carry for output in outputs):
        return
    for other in states[1:]:
        same = all(torch.equal(states[0][name], other[name]) for name in other)
        _demand(not same, "after_step ignores one of two micro-batches")


def encode(subject: Subject) -> None:
    """``encode`` and ``embed`` give the same for a record whatever the rest of the batch, in every branch."""
    method = subject.build().eval()
    spec = subject.plan.groups[0]
    frames = subject.settings.data.num_frames if subject.plan.num_frames is None else subject.plan.num_frames
    size = spec.augmentation.size_pixels
    pixels = torch.randn(4, 3, frames, size, size, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        for branch in (None, *method.branches):
            h = method.encode(pixels, branch)
            _demand(h.ndim == 2 and len(h) == 4, f"encode must return [batch, embed_dim], got {list(h.shape)}")
            _close(method.encode(pixels[1:2], branch), h[1:2], f"encode of one record and of four ({branch})", atol=1e-5)
            z = method.embed(h, branch)
            if z is not None:
                _close(method.embed(h[1:2], branch), z[1:2], f"embed of one and of four ({branch})", atol=1e-5)  # type: ignore[arg-type]


def bf16(subject: Subject) -> None:
    """Under bf16 autocast terms are finite float32 and gradients finite."""
    method = subject.build()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = _seeded(method, subject.views())
    output.loss.backward()
    for name, value in output.losses.items():
        _demand(bool(value.isfinite()) and value.dtype == torch.float32, f"'{name}' is {value} ({value.dtype}) under bf16")
    for name, parameter in method.named_parameters():
        _demand(parameter.grad is None or bool(parameter.grad.isfinite().all()), f"the gradient of {name} is not finite")


def collapse(subject: Subject) -> None:
    """A constant encoder gives the values that ``at_collapse`` promises, and sets off the monitor's alarm."""
    method, views = subject.build().eval(), blank(subject.views())
    promised = method.at_collapse(BATCH)
    with torch.no_grad():
        output = _seeded(method, views)
    unknown = set(promised) - set(output.losses)
    _demand(not unknown, f"at_collapse names terms that forward does not return: {sorted(unknown)}")
    off = {name: value for name, value in promised.items() if abs(float(output.losses[name]) - value) > 1e-3 * (1 + abs(value))}
    if off:  # a predictor has to learn the one vector first, and a queue to be full of it
        output = _settle(method, views)
    for name, value in off.items():
        got = float(output.losses[name].detach())
        _demand(
            abs(got - value) <= 0.02 * (1 + abs(value)), f"'{name}' of a constant encoder must be {value:.4g}, got {got:.4g}"
        )
    space = "embedding" if "embedding" in output.features else "representation"
    measures = cheap_measures(output.features[space][:, 0])
    _demand(cheap_complete(measures, space) is not None, f"the monitor must call {space} collapsed (after {READINGS} readings)")


def _settle(method: Method, views: Any) -> Output:
    optimizer = torch.optim.Adam([p for p in method.parameters() if p.requires_grad])
    for step in range(SETTLING_STEPS):
        output = _seeded(method, views)
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.param_groups[0]["lr"] = SETTLING_RATE * 0.01 ** (step / SETTLING_STEPS)
        optimizer.step()
        method.after_step([output], context())
    return output


def no_labels(subject: Subject) -> None:
    """No label can reach the method: it has no way to ask for one."""
    if subject.cls.needs_labels:
        return
    _demand(not hasattr(subject.cls, "set_labels"), "only a method with needs_labels may have set_labels")
    taken = set(inspect.signature(subject.cls.__init__).parameters) - {"self", "cfg", "backbone", "num_records"}
    _demand(not taken, f"__init__ must take cfg, backbone and num_records only, got {sorted(taken)} besides")
    _demand(subject.build() is not None and RECORDS > 0, "it must be built without labels")


POINTS: dict[str, Callable[[Subject], None]] = {
    function.__name__: function
    for function in (
        naming,
        plan,
        terms,
        purity,
        gradients,
        batch_order,
        many_processes,
        state_of_processes,
        saving,
        accumulation,
        encode,
        bf16,
        collapse,
        no_labels,
    )
}
"""every point, by name, in the order in which they are checked"""

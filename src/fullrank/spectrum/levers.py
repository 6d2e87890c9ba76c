"""What to change, in order: the guard that is off, then the method's settings that are known to act on this kind of collapse.

Each lever names its setting, which way to move it, and who says so: the papers, users' reports, or our own lab notes. Only
those are named whose setting the method has.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fullrank.methods._method import Method, available, load_method
from fullrank.spectrum.rules import Kind

COLLAPSED: tuple[Kind, ...] = ("complete", "cluster", "dimensional")


@dataclass(frozen=True, kw_only=True)
class Lever:
    """One setting that acts on some kinds of collapse."""

    setting: str
    """as the command line has it, without dashes in front: "method.variance_weight\""""
    move: str
    """the verb before the flag: "raise", "lower", ..."""
    kinds: tuple[Kind, ...]
    why: str
    """what it does, with the source"""


LEVERS = (
    Lever(
        setting="method.variance_weight",
        move="raise",
        kinds=("complete",),
        why="the variance term alone keeps the embedding from one point (Bardes et al., 2022, table 7: 25, and 0 collapses); "
        "a covariance term near 0 goes with a collapsed embedding",
    ),
    Lever(
        setting="method.sigreg_weight",
        move="raise",
        kinds=("complete", "dimensional"),
        why="SIGReg alone spreads the embedding (Balestriero and LeCun, 2025)",
    ),
    Lever(
        setting="method.covariance_weight",
        move="raise",
        kinds=("dimensional",),
        why="the covariance term keeps dimensions from repeating each other (Bardes et al., 2022, section 4.1)",
    ),
    Lever(
        setting="method.redundancy_weight",
        move="raise",
        kinds=("dimensional",),
        why="the redundancy term keeps dimensions from repeating each other (Zbontar et al., 2021)",
    ),
    Lever(
        setting="method.teacher_temperature",
        move="lower",
        kinds=("complete",),
        why="a sharp teacher works against the uniform output (Caron et al., 2021, figure 7; above 0.06 it may collapse)",
    ),
    Lever(
        setting="method.centre_momentum",
        move="lower",
        kinds=("cluster",),
        why="a centre that follows sooner works against one dimension that wins (Caron et al., 2021, section 5.3)",
    ),
    Lever(
        setting="method.epsilon",
        move="lower",
        kinds=("complete",),
        why="a large epsilon makes codes uniform, so that they say nothing (Caron et al., 2020)",
    ),
    Lever(
        setting="optimizer.base_learning_rate",
        move="lower",
        kinds=COLLAPSED,
        why="the first answer to most collapses that users report; on the embedded world DINO went to the uniform output at "
        "0.006 and not at 0.001 (docs/lab-notes.md)",
    ),
    Lever(
        setting="method.momentum",
        move="raise",
        kinds=("complete", "cluster"),
        why="a teacher that follows too closely is followed into nothing (Grill et al., 2020, table 5a; BYOL on the embedded "
        "world: 0.9 did not learn, 0.95 did)",
    ),
    Lever(
        setting="method.temperature",
        move="lower",
        kinds=("dimensional", "complete"),
        why="a low temperature pushes near records apart (Wang and Liu, CVPR 2021)",
    ),
    Lever(
        setting="method.num_prototypes",
        move="lower",
        kinds=("cluster",),
        why="prototypes that outnumber the samples assigned at once stay unused",
    ),
    Lever(
        setting="method.queue_length",
        move="raise",
        kinds=("cluster", "dimensional"),
        why="more samples at once make the assignment, or the negatives, say more",
    ),
    Lever(
        setting="method.projector",
        move="widen",
        kinds=("dimensional",),
        why="the projector takes the collapse instead of the representation (Jing et al., 2022), and a wide last layer leaves "
        "more directions to spread over",
    ),
    Lever(
        setting="optimizer.warmup_epochs",
        move="lengthen",
        kinds=("complete", "cluster"),
        why="the first steps at the full rate decide many collapses",
    ),
    Lever(
        setting="data.batch_size",
        move="raise",
        kinds=("dimensional", "cluster"),
        why="no statistic of a batch can spread more directions than it has records",
    ),
    Lever(
        setting="method.augmentation.min_scale",
        move="raise",
        kinds=("dimensional",),
        why="augmentation that is stronger than what differs between records removes those directions (Jing et al., 2022)",
    ),
    Lever(
        setting="method.rho",
        move="lower",
        kinds=("temporal",),
        why="positives from all over a video teach that its clips are the same",
    ),
)
"""in the order in which they are to be tried"""


def levers(kind: Kind, method: str | None = None, settings: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """Sentences on what to change, the first to be tried first; none for a healthy or untrained encoder.

    ``method``: its registry name; without it, what holds for every method. ``settings``: the run's, as config.json has them,
    with which the values of today are named and the guards that are off come first.

    >>> levers("complete")[0].split(":")[0]
    'lower --optimizer.base-learning-rate'
    >>> levers("healthy", "byol")
    ()
    """
    if kind in ("healthy", "untrained"):
        return ()
    if kind == "mean_shift":
        return ("subtract the mean of the features before comparing them by cosine: nothing has to be trained again",)
    cls = load_method(method) if method in available() else None
    found = [lever for lever in LEVERS if kind in lever.kinds and _has(cls, lever.setting)]
    return (*_guards_off(cls, kind, settings or {}), *(_sentence(lever, settings or {}) for lever in found))


def _has(cls: type[Method] | None, setting: str) -> bool:
    part, _, rest = setting.partition(".")
    return part != "method" or (cls is not None and rest.split(".")[0] in cls.Config.model_fields)


def _guards_off(cls: type[Method] | None, kind: Kind, settings: Mapping[str, Any]) -> list[str]:
    """What the method's guards say of the settings: a guard whose settings are those without it is off."""
    found = []
    for name, guard in (cls.guards if cls is not None else {}).items():
        off = {f"method.{k}": v for k, v in guard.off.items()} | {f"optimizer.{k}": v for k, v in guard.optimizer.items()}
        if off and guard.expect in COLLAPSED and all(_same(_value(settings, k), v) for k, v in off.items()):
            flags = " and ".join(f"{_flag(setting)} (now {value})" for setting, value in off.items())
            found.append(f"bring back the {name}, which is off: {flags}; expected without it: {guard.expect} ({guard.source})")
    return found


def _same(found: object, off: object) -> bool:
    return found is not None and found == off


def _sentence(lever: Lever, settings: Mapping[str, Any]) -> str:
    value = _value(settings, lever.setting)
    now = "" if value is None else f" (now {value})"
    return f"{lever.move} {_flag(lever.setting)}{now}: {lever.why}"


def _flag(setting: str) -> str:
    return "--" + setting.replace("_", "-")


def _value(settings: Mapping[str, Any], setting: str) -> Any:
    found: Any = settings
    for part in setting.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found

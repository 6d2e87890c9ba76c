"""Draw what a recipe's method will see of your videos or images, or what each operator does."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fullrank.cli._io import console, nearest, parse, take, write_json
from fullrank.config import RunConfig
from fullrank.errors import SettingError

USAGE = """usage: fullrank views RECIPE --data.path DATA --out views.png [OPTIONS]

Draws a grid: a row for each record, a column for each view; of a clip, four frames side by side. The views are those of
the first batch of `fullrank train RECIPE` with the same settings and seed. Hidden patches are grey, tiles lie in the order
in which the method sees them, change is shown about grey, and a colour says where optical flow goes to.

  fullrank views simclr.images --data.path my_images/ --out views.png
  fullrank views vicreg.video --data.path my_videos/ --method.augmentation.min-scale 0.5 --out views.png
  fullrank views vicreg.video --data.path my_videos/ --gallery --out operators.png

--gallery: each of ten operators alone, on one frame and on one clip; --records N: rows of the grid (8);
--json FILE writes what was drawn. `fullrank views RECIPE --help` lists every setting."""


def main(argv: Sequence[str]) -> None:
    """`fullrank views RECIPE --data.path X --out views.png`."""
    rest, json_path = take(argv, "--json")
    rest, records = take(rest, "--records")
    gallery = "--gallery" in rest
    rest = [item for item in rest if item != "--gallery"]
    if not rest or rest[0] in ("-h", "--help"):
        print(USAGE)
        if not rest:
            raise SettingError("views must be given a recipe. Got none.")
        return
    config, count = _config(rest), _count(records)
    out = config.out or Path("operators.png" if gallery else "views.png")
    _check_suffix(out)
    drawn = _operators(config, out) if gallery else _sheet(config, out, count)
    console.print(f"{drawn['what']}: {out}", markup=False)
    for number, name in zip(drawn["records"], drawn["names"], strict=True):
        console.print(f"  record {number}: {name}", markup=False)
    write_json(json_path, {"file": str(out), **drawn})


def _check_suffix(out: Path) -> None:
    from PIL import Image

    if out.suffix.lower() not in Image.registered_extensions():
        raise SettingError(f"--out must be the name of a picture. Got {out}; for example views.png.")


def _count(text: str | None) -> int:
    if text is not None and (not text.isdecimal() or int(text) < 1):
        raise SettingError(f"--records must be a whole number of at least 1. Got {text}.")
    return 8 if text is None else int(text)


def _config(rest: list[str]) -> RunConfig[Any]:
    from fullrank.recipes import recipe

    name = rest[0]
    own = ("--json", "--records", "--gallery")
    if name.startswith("-"):
        raise SettingError(
            f"views must be given a recipe first. Got {name}; for example `fullrank views vicreg.video {name} ...`."
            + nearest(name, own)
        )
    default = recipe(name)
    return parse(type(default), rest[1:], f"fullrank views {name}", default=default, own=own)


def _first_batch(config: RunConfig[Any], count: int) -> tuple[Any, Any, list[str]]:
    """The plan of the method, ``count`` records of the first batch that training would see, and their names."""
    from fullrank.checkpoint.encoder import method_name
    from fullrank.data.clips import clip_spec
    from fullrank.data.loader import Loader
    from fullrank.data.open import open_source
    from fullrank.methods._method import load_method
    from fullrank.views.check import check_plan

    plan = load_method(method_name(config.method)).views(config.method)
    spec = clip_spec(plan, config.data)
    check_plan(plan, spec.num_frames, config.data.cache)
    source = open_source(config.data, flow=plan.needs_flow)
    loader = Loader(
        source,
        spec,
        num_clips=plan.num_clips,
        batch_size=min(count, len(source)),
        seed=config.seed,
        num_workers=0,
        sampling=plan.sampling,
    )
    batch = next(itertools.islice(loader.batches(0), 1))
    return plan, batch, [source.record_ids[i] for i in batch.index.tolist()]


def _sheet(config: RunConfig[Any], out: Path, count: int) -> dict[str, Any]:
    import torch

    from fullrank.views.gallery import contact_sheet
    from fullrank.views.plan import make_views

    plan, batch, names = _first_batch(config, count)
    views = make_views(batch, plan, config.seed, torch.device("cpu"))
    contact_sheet(views, plan, out)
    groups = {name: list(pixels.shape) for name, pixels in views.pixels.items()}
    what, records = f"views of {len(batch.index)} records", batch.index.tolist()
    drawn = {"what": what, "records": records, "names": names, "groups": groups}
    hidden = {name: int(mask[0, 0].sum()) for name, mask in views.masks.items()}
    targets = {name: values.tolist() for name, values in views.targets.items()}
    return drawn | {key: value for key, value in (("hidden_patches", hidden), ("targets", targets)) if value}


def _operators(config: RunConfig[Any], out: Path) -> dict[str, Any]:
    from fullrank.views.gallery import operator_gallery, operators

    _, batch, names = _first_batch(config, 1)
    height, width = batch.sizes[0, 0].tolist()
    frames = batch.frames[0, 0, :, :height, :width].numpy()
    middle = len(frames) // 2
    clips = [frames[middle : middle + 1]] if len(frames) == 1 else [frames[middle : middle + 1], frames]
    operator_gallery(clips, out, seed=config.seed)
    record = int(batch.index[0])
    of = list(operators(config.data.canvas_pixels))
    return {"what": f"ten operators on record {record}", "records": [record], "names": names, "operators": of}

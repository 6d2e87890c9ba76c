"""A SimCLR step of CIFAR-10 size on a GPU: layouts, precisions, with and without a compiled backbone.

    python benchmarks/gpu_step.py --out benchmarks/results/FILE.json

ResNet-18 with the 3x3 stem, two views of 512 images, the whole step with our views; medians. Where there is no GPU it says so.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from _result import origin, write
from _timing import random_source, steps

from fullrank.checkpoint import encoder
from fullrank.data.clips import clip_spec
from fullrank.data.loader import Loader
from fullrank.methods._method import load_method
from fullrank.recipes import recipe
from fullrank.views.plan import make_views

VARIANTS = (
    ("contiguous, fp32 (TF32 convolutions)", "fp32", False, False),
    ("channels last, fp32 (TF32 convolutions)", "fp32", True, False),
    ("contiguous, bf16", "bf16", False, False),
    ("channels last, bf16", "bf16", True, False),
    ("channels last, bf16, compiled", "bf16", True, True),
)
"""(name, precision, channels last, compiled)"""


def views_seconds(config: Any, source: Any, count: int) -> float:
    """Of making the views of one step."""
    plan = load_method("simclr").views(config.method)
    loader = Loader(source, clip_spec(plan, config.data), num_clips=1, batch_size=512, seed=0, num_workers=0)
    batches, device = loader.batches(), torch.device("cuda")
    begin = 0.0
    for i in range(2 * count):
        if i == count:
            torch.cuda.synchronize()
            begin = time.perf_counter()
        make_views(next(batches), plan, 0, device)
    torch.cuda.synchronize()
    return (time.perf_counter() - begin) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--variants", nargs="+", type=int, default=list(range(len(VARIANTS))))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--tiny", action="store_true", help="three steps")
    args = parser.parse_args()
    args.steps = 3 if args.tiny else args.steps
    if not torch.cuda.is_available():
        print("left out: torch sees no GPU")
        return
    config = recipe("simclr.cifar10").model_copy(update={"device": "cuda"})
    source = random_source(config, "simclr", 2048)
    rows: list[dict[str, Any]] = []
    to_channels_last = encoder.to_channels_last
    for number in args.variants:
        name, precision, channels_last, compiled = VARIANTS[number]
        encoder.to_channels_last = to_channels_last if channels_last else (lambda module: module)  # type: ignore[attr-defined]
        own = config.model_copy(update={"precision": precision, "compile": compiled})
        rows.append({"variant": name, **steps(own, source, args.steps, args.steps // 3)})
        print(rows[-1], flush=True)
    encoder.to_channels_last = to_channels_last  # type: ignore[attr-defined]
    views = views_seconds(config, source, args.steps)
    lines = [
        [r["variant"], f"{1000 * r['step']:.1f}", f"{512 / r['step']:,.0f}", f"{rows[0]['step'] / r['step']:.2f}"]
        + [f"{r['first']:.1f}", f"{r['peak_gib']:.1f}"]
        for r in rows
    ]
    header = ["step", "ms", "images/s", "x the first row", "first step, s", "peak GiB"]
    note = f"SimCLR, ResNet-18 with the 3x3 stem, 2 x 512 views; making the views takes {1000 * views:.1f} ms of a step."
    tables = {"gpu-step": {"header": header, "rows": lines, "note": note}}
    gpu = torch.cuda.get_device_name()
    write(args.out, {**origin("gpu_step.py", gpu), "tables": tables, "views_seconds": views, "results": rows})


if __name__ == "__main__":
    main()

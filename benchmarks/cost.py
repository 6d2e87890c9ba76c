"""What a step of each method costs beside SimCLR's: time, and memory on a GPU.

    python benchmarks/cost.py --device cuda --out benchmarks/results/FILE.json

The moving_digits recipes (the same small network and batch for all, but for transformers), random frames.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from _result import origin, write
from _timing import random_source, steps

from fullrank.methods._method import available
from fullrank.recipes import available as recipes
from fullrank.recipes import recipe

FIRST = "simclr"


def one(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """One method."""
    config = recipe(f"{name}.{args.target}")
    config = config.model_copy(update={"device": args.device, "precision": args.precision})
    found = steps(config, random_source(config, name, 2 * config.data.batch_size), args.steps, args.steps // 3)
    print(f"{name}: {1000 * found['step']:.1f} ms a step, {found['peak_gib']:.2f} GiB", flush=True)
    network = config.backbone.name if config.backbone.name != "resnet" else f"{config.backbone.temporal} resnet"
    return {"method": name, "network": network, "batch": config.data.batch_size, **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=list(available()))
    parser.add_argument("--target", default="moving_digits")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--tiny", action="store_true", help="two methods, three steps")
    args = parser.parse_args()
    if args.tiny:
        args.methods, args.steps, args.target = [FIRST, "vicreg"], 3, "tiny"
    names = [FIRST] + [name for name in args.methods if name != FIRST and f"{name}.{args.target}" in recipes()]
    rows = [one(name, args) for name in names]
    first = rows[0]
    lines = []
    for row in rows:
        memory = [f"{row['peak_gib']:.2f}", f"{row['peak_gib'] / first['peak_gib']:.2f}"] if first["peak_gib"] else ["-", "-"]
        milliseconds = f"{1000 * row['step']:.1f}"
        lines.append([row["method"], row["network"], milliseconds, f"{row['step'] / first['step']:.2f}", *memory])
    header = ["method", "network", "ms a step", "x SimCLR's time", "peak GiB", "x SimCLR's memory"]
    note = f"The {args.target} recipes, batch {first['batch']}, medians after {args.steps // 3} of {args.steps} steps."
    gpu = torch.cuda.get_device_name() if args.device == "cuda" else None
    tables = {f"cost-{'gpu' if gpu else 'cpu'}": {"header": header, "rows": lines, "note": note}}
    write(args.out, {**origin("cost.py", gpu), "tables": tables, "results": rows})


if __name__ == "__main__":
    main()

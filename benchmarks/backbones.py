"""Time of a training step (forward and backward) of the ResNets by layout and precision, as ratios in one run.

    python benchmarks/backbones.py --out benchmarks/results/FILE.json

Every ratio is the time of plain float32 (contiguous) divided by the time of the variant: above 1 is faster. The variants of
a network take turns, so that a change in the machine's load meets all of them; times are medians.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from _result import goal, origin, write

from fullrank.backbones.resnet import ResNet, to_channels_last

VARIANTS = [(layout, precision) for layout in ("contiguous", "channels_last") for precision in ("fp32", "bf16")]


def step(net: ResNet, pixels: torch.Tensor, direction: torch.Tensor, precision: str) -> float:
    """Seconds of one forward and backward."""
    cuda = pixels.is_cuda
    start = time.perf_counter()
    with torch.autocast(pixels.device.type, torch.bfloat16, enabled=precision == "bf16"):
        # A fixed random direction: the mean square of a normalised output has almost no gradient.
        loss = (net(pixels) * direction).mean()
    loss.backward()
    if cuda:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    net.zero_grad(set_to_none=True)
    return seconds


def measure(temporal: str, depth: int, width: float, shape: tuple[int, ...], repeats: int, device: str) -> dict[str, Any]:
    """All variants of one network: median seconds of a step, and the ratio to plain float32."""
    nets, times = {}, {variant: [] for variant in VARIANTS}
    for layout, precision in VARIANTS:
        torch.manual_seed(0)
        net = ResNet(depth, width, temporal=temporal).to(device)
        nets[layout, precision] = to_channels_last(net) if layout == "channels_last" else net
    pixels = torch.randn(shape, device=device)
    direction = torch.randn(shape[0], nets[VARIANTS[0]].embed_dim, device=device)
    for repeat in range(repeats + 1):
        for variant in VARIANTS:
            seconds = step(nets[variant], pixels, direction, variant[1])
            if repeat > 0:  # the first one warms up
                times[variant].append(seconds)
    medians = {variant: statistics.median(values) for variant, values in times.items()}
    return {
        "network": f"{temporal} ResNet-{depth} width {width}",
        "pixels": list(shape),
        "seconds": {f"{layout} {precision}": round(t, 5) for (layout, precision), t in medians.items()},
        "ratio_to_plain_fp32": {
            f"{layout} {precision}": round(medians[VARIANTS[0]] / t, 3) for (layout, precision), t in medians.items()
        },
    }


def table(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What the documentation prints."""
    variants = [f"{layout} {precision}" for layout, precision in VARIANTS]
    return {
        "header": ["network", "pixels", "seconds, plain fp32", *(f"x, {name}" for name in variants[1:])],
        "rows": [
            [
                row["network"],
                " x ".join(map(str, row["pixels"])),
                row["seconds"][variants[0]],
                *(row["ratio_to_plain_fp32"][name] for name in variants[1:]),
            ]
            for row in rows
        ],
        "note": "Forward and backward of one batch; x: plain fp32's time divided by this variant's.",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, default=18)
    parser.add_argument("--widths", type=float, nargs="+", default=[0.25, 0.5, 1.0])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--frames", type=int, default=8, help="of a clip; the 2d network gets as many pictures")
    parser.add_argument("--size", type=int, default=112, help="side in pixels")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--tiny", action="store_true", help="one narrow network and few pixels, to see that it runs")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    if args.tiny:
        args.widths, args.batch, args.frames, args.size, args.repeats = [0.125], 2, 2, 32, 1
    if args.threads:
        torch.set_num_threads(args.threads)
    rows = []
    for temporal, batch, frames in (("slow", args.batch, args.frames), ("2d", args.batch * args.frames, 1)):
        for width in args.widths:
            shape = (batch, 3, frames, args.size, args.size)
            rows.append(measure(temporal, args.depth, width, shape, args.repeats, args.device))
            print(json.dumps(rows[-1]), flush=True)
    gpu = torch.cuda.get_device_name() if args.device == "cuda" else None
    best = "channels_last bf16"
    sums = [goal(f"{row['network']}, {best} against plain fp32", row["ratio_to_plain_fp32"][best]) for row in rows]
    write(args.out, {**origin("backbones.py", gpu), "summary": sums, "tables": {"backbones": table(rows)}, "measured": rows})


if __name__ == "__main__":
    main()

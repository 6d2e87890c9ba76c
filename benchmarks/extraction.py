"""Features a second of a Slow R50 checkpoint (8 x 8, PyTorchVideo's layout) against the plain network in float32.

    python benchmarks/extraction.py --out benchmarks/results/FILE.json
    python benchmarks/extraction.py --device cuda --batch 32 --out benchmarks/results/FILE.json

The plain network is written here from torch's own Conv3d and BatchNorm3d, contiguous, as the reference codebases have it; ours
is what `fullrank extract` runs on the same weights, read from a file: channels last, in float32 and in bf16 (`--bf16`). They
take turns on the same pixels; times are medians of the forward pass. The ratio is the plain network's time divided by ours:
above 1 is faster. Errors are max|a - b| / max|b| against the plain network in float32. On a GPU TF32 is off, which torch
leaves on for convolutions: `--tf32` gives the plain network, and ours, that head start.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from _result import goal, origin, write
from torch import Tensor, nn

from fullrank.checkpoint.imported import load_imported
from fullrank.checkpoint.interop.pytorchvideo import theirs

STAGES = ((3, 64, 1), (4, 128, 1), (6, 256, 3), (3, 512, 3))
"""blocks, inner channels, temporal kernel of the first convolution"""
WANTED_ON_CPU = 2.0
WITHIN = {"fp32": 1e-4, "bf16": 1e-2}


class Block(nn.Module):
    """1x1x1 or 3x1x1, then 1x3x3, then 1x1x1."""

    def __init__(self, c_in: int, inner: int, time_kernel: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv3d(c_in, inner, (time_kernel, 1, 1), padding=(time_kernel // 2, 0, 0), bias=False)
        self.conv2 = nn.Conv3d(inner, inner, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False)
        self.conv3 = nn.Conv3d(inner, 4 * inner, 1, bias=False)
        self.bn1, self.bn2, self.bn3 = nn.BatchNorm3d(inner), nn.BatchNorm3d(inner), nn.BatchNorm3d(4 * inner)
        self.downsample = nn.Sequential()
        if c_in != 4 * inner:
            shortcut = nn.Conv3d(c_in, 4 * inner, 1, (1, stride, stride), bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm3d(4 * inner))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()
        return (self.bn3(self.conv3(y)) + self.downsample(x)).relu()


class Plain(nn.Module):
    """Slow R50 with our keys."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(3, 64, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False)
        self.bn1 = nn.BatchNorm3d(64)
        self.pool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
        c_in = 64
        for number, (blocks, inner, kernel) in enumerate(STAGES, start=1):
            rows = []
            for i in range(blocks):
                rows.append(Block(c_in, inner, kernel, 2 if i == 0 and number > 1 else 1))
                c_in = 4 * inner
            setattr(self, f"layer{number}", nn.Sequential(*rows))

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.bn1(self.conv1(x)).relu())
        return self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3, 4))


def plain_network() -> Plain:
    """Random weights, and statistics as after training: not those of the start."""
    torch.manual_seed(0)
    net = Plain().eval()
    for part in net.modules():
        if isinstance(part, nn.Conv3d):
            nn.init.kaiming_normal_(part.weight, mode="fan_in")
        if isinstance(part, nn.BatchNorm3d):
            part.running_mean.normal_(0.0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
    for part in net.modules():  # residual branches small, as trained networks have them: 16 blocks would add up
        if isinstance(part, Block):
            part.bn3.weight.data.fill_(0.3)
    return net


def ours(net: Plain, device: str) -> Callable[[Tensor], Tensor]:
    """The same weights by way of a file, as `fullrank extract` loads it."""
    state = {theirs(key): tensor for key, tensor in net.state_dict().items()}
    state |= {"blocks.5.proj.weight": torch.zeros(400, 2048), "blocks.5.proj.bias": torch.zeros(400)}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "SLOW_8x8_R50.pyth"
        torch.save({"model_state": state}, file)
        encoder = load_imported(file, device=device)
        return lambda pixels: encoder(pixels).representation


def measure(batch: int, size: int, repeats: int, device: str) -> dict[str, Any]:
    """Median seconds of a batch, clips a second, ratios and errors."""
    net = plain_network()
    encode = ours(net, device)
    net.to(device)
    pixels = torch.randn(batch, 3, 8, size, size, generator=torch.Generator().manual_seed(1)).to(device)

    def in_bf16(x: Tensor) -> Tensor:
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            return encode(x)

    variants: dict[str, Callable[[Tensor], Tensor]] = {"plain fp32": net, "fp32": encode, "bf16": in_bf16}
    times: dict[str, list[float]] = {name: [] for name in variants}
    found: dict[str, Tensor] = {}
    for repeat in range(repeats + 1):
        for name, run in variants.items():
            start = time.perf_counter()
            with torch.inference_mode():
                found[name] = run(pixels).float().cpu()  # the copy waits for a GPU
            if repeat > 0:  # the first one warms up
                times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in times.items()}
    want = found["plain fp32"]
    return {
        "pixels": [batch, 3, 8, size, size],
        "clips_a_second": {name: round(batch / t, 4) for name, t in medians.items()},
        "ratio": {name: round(medians["plain fp32"] / t, 3) for name, t in medians.items()},
        "error": {name: float((found[name] - want).abs().max() / want.abs().max()) for name in WITHIN},
        "spread_between_clips": float((want - want.mean(0)).abs().max() / want.abs().max()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=224, help="side in pixels; the published preparation has 256")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--tf32", action="store_true", help="leave TF32 on; the bounds of the errors are then no goal")
    parser.add_argument("--tiny", action="store_true", help="small pixels, to see that it runs")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    if args.tiny:
        args.batch, args.size, args.repeats = 2, 32, 1
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = args.tf32
    row = measure(args.batch, args.size, args.repeats, args.device)
    print(json.dumps(row), flush=True)
    gpu = torch.cuda.get_device_name() if args.device == "cuda" else None
    table = {
        "header": ["network", "clips a second", "x plain fp32", "largest error"],
        "rows": [
            [name, row["clips_a_second"][name], row["ratio"][name], f"{row['error'][name]:.1e}" if name in WITHIN else "-"]
            for name in row["ratio"]
        ],
        "note": f"Slow R50, clips of 8 x {args.size} x {args.size}, {args.batch} at a time.",
    }
    wanted = WANTED_ON_CPU if args.device == "cpu" else None
    sums = [goal(f"Slow R50 features on a {args.device}, bf16 against plain fp32", row["ratio"]["bf16"], at_least=wanted)]
    bounds = {name: None if args.tf32 else most for name, most in WITHIN.items()}
    sums += [goal(f"largest error of {name}", row["error"][name], at_most=most, unit="") for name, most in bounds.items()]
    tables = {"extraction-gpu" if gpu else "extraction": table}
    write(args.out, {**origin("extraction.py", gpu), "summary": sums, "tables": tables, "measured": [row]})


if __name__ == "__main__":
    main()

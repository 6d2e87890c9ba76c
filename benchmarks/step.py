"""Whole SimCLR training on CIFAR-10 size, images a second: fullrank against lightly with its own transforms and loader.

    python benchmarks/step.py --cifar FOLDER --out benchmarks/results/FILE.json

Both: ResNet-18 with the 3x3 stem and a quarter of the width, batch 256, two threads for the step, two worker processes where
there are workers (fullrank keeps CIFAR in memory and needs none), SGD, SimCLR augmentation without blur, temperature 0.5. They
take turns; each turn counts the steps after the first three. lightly runs in float32 as its benchmark script does. The monitor,
the progress line, metrics and TensorBoard files are on. The ratio is fullrank's images a second over lightly's.
"""

import argparse
import io
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import _peers
import numpy as np
from _result import ROOT, goal, origin, write

WARM_STEPS = 3
WANTED = 2.5


def images(folder: Path, count: int) -> list[bytes]:
    pack = np.load(folder / "cifar10_train.npz")
    blob, offsets = pack["jpeg"], pack["offsets"]
    return [blob[offsets[i] : offsets[i + 1]].tobytes() for i in range(count)]


def serve_lightly(folder: Path, steps: int, batch: int) -> None:
    """Runs in the peers' environment; prints seconds of each step."""
    import time

    import torch
    from torchvision_shim import import_torchvision

    import_torchvision()
    from lightly.loss import NTXentLoss
    from lightly.models import ResNetGenerator
    from lightly.models.modules import SimCLRProjectionHead
    from lightly.transforms import SimCLRTransform
    from PIL import Image

    torch.set_num_threads(2)
    blobs = images(folder, batch * (steps + 1))
    transform = SimCLRTransform(input_size=32, cj_strength=0.5, gaussian_blur=0.0)

    class Cifar(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return len(blobs)

        def __getitem__(self, i: int) -> Any:
            return transform(Image.open(io.BytesIO(blobs[i])))

    loader = torch.utils.data.DataLoader(Cifar(), batch_size=batch, shuffle=True, drop_last=True, num_workers=2)
    net = torch.nn.Sequential(*list(ResNetGenerator("resnet-18", width=0.25).children())[:-1], torch.nn.AdaptiveAvgPool2d(1))
    dim = net(torch.zeros(1, 3, 32, 32)).flatten(1).shape[1]
    head = SimCLRProjectionHead(dim, dim, 128)
    loss_of = NTXentLoss(temperature=0.5)
    optimizer = torch.optim.SGD([*net.parameters(), *head.parameters()], lr=0.06, momentum=0.9, weight_decay=5e-4)
    seconds, begin = [], time.perf_counter()
    for first, second in loader:
        loss = loss_of(head(net(first).flatten(1)), head(net(second).flatten(1)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seconds.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        if len(seconds) == steps:
            break
    print(json.dumps(seconds))


def serve_fullrank(folder: Path, steps: int, batch: int, precision: str) -> None:
    import time

    import torch

    import fullrank

    torch.set_num_threads(2)
    recipe = fullrank.recipe("simclr.cifar10")
    with tempfile.TemporaryDirectory() as out:
        config = recipe.model_copy(
            update={
                "backbone": recipe.backbone.model_copy(update={"width": 0.25}),
                "data": recipe.data.model_copy(update={"path": folder, "limit": batch * (steps + 1), "batch_size": batch}),
                "method": recipe.method.model_copy(update={"projector": (128, 128)}),
                "precision": precision,
                "max_steps": steps,
                "out": Path(out) / "run",
            }
        )
        seconds: list[float] = []

        class Clock:
            begin = time.perf_counter()

            def on_step(self, event: Any) -> None:
                seconds.append(time.perf_counter() - self.begin)
                self.begin = time.perf_counter()

            def on_end(self, summary: Any) -> None:
                pass

        fullrank.train(config, source=fullrank.open_source(config.data), observers=(Clock(),))
    print(json.dumps(seconds))


def rate(command: list[str], batch: int) -> float:
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds = json.loads(done.stdout.strip().splitlines()[-1])[WARM_STEPS:]
    return batch * len(seconds) / sum(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar", type=Path, default=ROOT.parent / "shared/data/cifar10")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--steps", type=int, default=14)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peers", type=Path, default=_peers.PYTHON)
    parser.add_argument("--tiny", action="store_true", help="one turn of five steps of 16 images, to see that it runs")
    parser.add_argument("--serve", choices=["lightly", "bf16", "fp32"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.tiny:
        args.steps, args.batch, args.repeats = 5, 16, 1
    if args.serve == "lightly":
        serve_lightly(args.cifar, args.steps, args.batch)
        return
    if args.serve:
        serve_fullrank(args.cifar, args.steps, args.batch, args.serve)
        return
    why = None if args.cifar.is_dir() else f"needs CIFAR-10 at {args.cifar}"
    why = why or _peers.absent(args.peers, "lightly", "torchvision")
    if why:
        print(f"step: skipped, {why}")
        return
    size = ["--steps", str(args.steps), "--batch", str(args.batch)]
    common = [str(Path(__file__)), "--cifar", str(args.cifar), *size, "--serve"]
    lightly = f"lightly {_peers.versions(args.peers, 'lightly')['lightly']}, fp32"
    commands = {
        lightly: [str(args.peers), *common, "lightly"],
        "fullrank, bf16": [sys.executable, *common, "bf16"],
        "fullrank, fp32": [sys.executable, *common, "fp32"],
    }
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(args.repeats):
        for name, command in commands.items():
            taken[name].append(rate(command, args.batch))
            print(name, f"{taken[name][-1]:.0f} images/s", flush=True)
    lines, sums = [], []
    for name, values in taken.items():
        ratio = statistics.median(v / b for v, b in zip(values, taken[lightly], strict=True))
        wanted = WANTED if name.endswith("bf16") else None
        lines.append([name, f"{statistics.median(values):.0f}", f"{ratio:.2f}", f"{wanted:g}" if wanted else "-"])
        if name != lightly:
            sums.append(goal(f"{name} against lightly", ratio, at_least=wanted))
    table = {
        "header": ["SimCLR training, end to end", "images/s", "x lightly", "wanted"],
        "rows": lines,
        "note": f"CIFAR-10 size, ResNet-18 of a quarter width, batch {args.batch}, two threads; medians of turns.",
    }
    write(args.out, {**origin("step.py"), "summary": sums, "tables": {"step": table}, "measured": taken})


if __name__ == "__main__":
    main()

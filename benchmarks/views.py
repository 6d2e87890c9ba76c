"""Views per second against torchvision v2 and kornia, in one run on one thread.

    python benchmarks/views.py [--out benchmarks/results/FILE.json] [--repeats 9] [--peers .venv-peers/bin/python]

Each pipeline is SimCLR's: random resized crop, flip, colour jitter 0.4 / 0.4 / 0.2 / 0.1 with probability 0.8, grayscale
0.2, Gaussian blur 0.5 with sigma 0.1 to 2, normalise. Input: uint8 [batch, time, height, width, 3]; output: one float32
batch. Ours blurs with as many taps as the drawn sigma needs, at most 13, so the others get kernels of 13. The pipelines
take turns; times are CPU seconds of the one thread, which other work on the machine disturbs least; ratios are medians of
the ratios of neighbouring turns. The peers run in an environment of their own (this file again, with --serve).
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _peers
from _result import goal, origin, write

os.environ["OMP_NUM_THREADS"] = "1"  # before anything imports torch

SMALL = {"time": 1, "height": 32, "width": 32, "size": 32, "blur": True}
CASES: dict[str, dict[str, Any]] = {
    "128 x 32x32": {**SMALL, "batch": 128, "target": {"torchvision": 10.0, "kornia": 4.0}},
    "256 x 32x32": {**SMALL, "batch": 256, "target": {"torchvision": 10.0, "kornia": 4.0}},
    "256 x 32x32, no blur": {**SMALL, "batch": 256, "blur": False, "target": {}},
    "16 x 224x224 of 256x256": {
        "batch": 16,
        "time": 1,
        "height": 256,
        "width": 256,
        "size": 224,
        "blur": True,
        "target": {"better": 2.0},
    },
    "8 x 8x112x112 of 8x128x171": {
        "batch": 8,
        "time": 8,
        "height": 128,
        "width": 171,
        "size": 112,
        "blur": True,
        "target": {"better": 2.5},
    },
}
PEERS = ("torchvision", "kornia")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
KERNEL = 13


def frames(case: dict[str, Any]) -> Any:
    """Smooth random pictures, the same in every process: uint8 [batch, time, height, width, 3]."""
    import torch
    from torch.nn import functional as F

    generator = torch.Generator().manual_seed(0)
    n = case["batch"] * case["time"]
    coarse = torch.rand(n, 3, 8, 8, generator=generator)
    fine = F.interpolate(coarse, (case["height"], case["width"]), mode="bicubic")
    shape = (case["batch"], case["time"], case["height"], case["width"], 3)
    return (fine.clamp(0, 1) * 255).to(torch.uint8).permute(0, 2, 3, 1).reshape(shape).contiguous()


def ours(case: dict[str, Any]) -> Callable[[], object]:
    import torch

    from fullrank.config import Augmentation
    from fullrank.types import ClipBatch, ViewPlan, ViewSpec
    from fullrank.views.plan import make_views

    aug = Augmentation(size_pixels=case["size"], min_scale=0.08, saturation=0.2, blur_prob=(0.5 if case["blur"] else 0.0,))
    batch = ClipBatch(
        frames=frames(case)[:, None],
        sizes=torch.tensor([case["height"], case["width"]]).expand(case["batch"], 1, 2),
        start_seconds=torch.zeros(case["batch"], 1, dtype=torch.float64),
        index=torch.arange(case["batch"]),
    )
    plan = ViewPlan(groups=(ViewSpec(name="view", augmentation=aug),))
    seeds = iter(range(10**9))
    return lambda: make_views(batch, plan, next(seeds), torch.device("cpu")).pixels["view"]


def torchvision(case: dict[str, Any]) -> Callable[[], object]:
    import torch
    from torchvision_shim import import_torchvision

    import_torchvision()
    from torchvision.transforms import v2

    transform = v2.Compose(
        [
            v2.RandomResizedCrop(case["size"], scale=(0.08, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.2, 0.1)], p=0.8),
            v2.RandomGrayscale(0.2),
            *([v2.RandomApply([v2.GaussianBlur(KERNEL, (0.1, 2.0))], p=0.5)] if case["blur"] else []),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    records = list(frames(case).permute(0, 1, 4, 2, 3))
    return lambda: torch.stack([transform(record) for record in records])


def kornia(case: dict[str, Any]) -> Callable[[], object]:
    import kornia.augmentation as K
    import torch

    video = case["time"] > 1
    operators = [
        K.RandomResizedCrop((case["size"], case["size"]), scale=(0.08, 1.0)),
        K.RandomHorizontalFlip(),
        K.ColorJiggle(0.4, 0.4, 0.2, 0.1, p=0.8),
        K.RandomGrayscale(p=0.2),
        *([K.RandomGaussianBlur((KERNEL, KERNEL), (0.1, 2.0), p=0.5)] if case["blur"] else []),
        K.Normalize(torch.tensor(MEAN), torch.tensor(STD)),
    ]
    transform = (
        K.VideoSequential(*operators, data_format="BTCHW", same_on_frame=True) if video else K.ImageSequential(*operators)
    )
    records = frames(case)

    def run() -> object:
        pixels = records.permute(0, 1, 4, 2, 3).to(torch.float32) / 255
        return transform(pixels if video else pixels[:, 0])

    return run


def measure(function: Callable[[], object], seconds: float) -> float:
    """CPU seconds of one call: repeated for about ``seconds``."""
    calls, start = 0, time.process_time()
    while time.process_time() - start < seconds:
        function()
        calls += 1
    return (time.process_time() - start) / calls


def serve() -> None:
    import torch

    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    made: dict[tuple[str, str], Callable[[], object]] = {}

    def answer(peer: str, case: str, seconds: float) -> dict[str, Any]:
        if (peer, case) not in made:
            made[peer, case] = {"torchvision": torchvision, "kornia": kornia}[peer](CASES[case])
            made[peer, case]()
        return {"cpu_seconds": measure(made[peer, case], seconds)}

    _peers.serve(answer)


def compare(name: str, peers: _peers.Peer, repeats: int, seconds: float) -> dict[str, Any]:
    """One case: every pipeline in turn, ``repeats`` times."""
    case = CASES[name]
    function = ours(case)
    function()
    taken: dict[str, list[float]] = {who: [] for who in ("fullrank", *PEERS)}
    for _ in range(repeats):
        taken["fullrank"].append(measure(function, seconds))
        for peer in PEERS:
            taken[peer].append(peers.ask(peer=peer, case=name, seconds=seconds)["cpu_seconds"])
    ratios = {peer: [theirs / mine for theirs, mine in zip(taken[peer], taken["fullrank"], strict=True)] for peer in PEERS}
    ratios["better"] = [min(pair) for pair in zip(*(ratios[peer] for peer in PEERS), strict=True)]
    return {
        "views_per_cpu_second": {who: round(case["batch"] / statistics.median(t), 1) for who, t in taken.items()},
        "ratio": {who: round(statistics.median(values), 2) for who, values in ratios.items()},
        "ratio_range": {who: [round(min(values), 2), round(max(values), 2)] for who, values in ratios.items()},
        "target": case["target"],
    }


def table(cases: dict[str, Any]) -> dict[str, Any]:
    """For the documents: a row a case."""
    rows = [
        [
            name,
            *(float(f"{case['views_per_cpu_second'][who]:.3g}") for who in ("fullrank", *PEERS)),
            *(f"{case['ratio'][peer]:.1f}x" for peer in PEERS),
            ", ".join(f"{wanted:g}x {who}" for who, wanted in case["target"].items()) or "-",
        ]
        for name, case in cases.items()
    ]
    header = ["views per CPU second", "fullrank", "torchvision v2", "kornia", "x torchvision v2", "x kornia", "wanted"]
    return {"header": header, "rows": rows, "note": "SimCLR's views; ratios are medians over turns in one run."}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.4, help="CPU seconds of one turn")
    parser.add_argument("--peers", type=Path, default=_peers.PYTHON)
    parser.add_argument("--tiny", action="store_true", help="one short turn of two cases, to see that it runs")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve()
        return
    why = _peers.absent(args.peers, *PEERS)
    if why:
        print(f"views: skipped, {why}")
        return
    import torch

    torch.set_num_threads(1)
    chosen = list(CASES)[::4] if args.tiny else list(CASES)
    repeats, seconds = (1, 0.01) if args.tiny else (args.repeats, args.seconds)
    with _peers.Peer(args.peers, "views.py") as peers:
        cases = {name: compare(name, peers, repeats, seconds) for name in chosen}
    sums = [
        goal(f"{name} against {who}", case["ratio"][who], at_least=wanted)
        for name, case in cases.items()
        for who, wanted in case["target"].items()
    ]
    used = {"python": platform.python_version(), **_peers.versions(args.peers, "torch", *PEERS)}
    write(
        args.out,
        {**origin("views.py"), "versions": used, "summary": sums, "tables": {"views": table(cases)}, "measured": cases},
    )


if __name__ == "__main__":
    main()

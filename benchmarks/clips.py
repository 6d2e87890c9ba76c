"""Clips a second to a training step, from video files and from the cache: fullrank against PyTorchVideo.

    python benchmarks/clips.py --videos FOLDER [--out benchmarks/results/FILE.json] [--peers .venv-peers/bin/python] [--tiny]

Both: two clips of 8 frames over 2 seconds of each video, 112 x 112 pixels, 4 videos a batch, two decoding workers, two threads,
SimCLR on a Slow ResNet-50 of a quarter width (head 512-128 without BatchNorm, temperature 0.1), SGD. Augmentation is the
contrastive recipe of PySlowFast and of PyTorchVideo's trainer: colour jitter 0.6 / 0.6 / 0.6 / 0.15 with probability 0.8,
grayscale 0.2, blur 0.5, crops of 0.2 to 0.766 of the frame, flip. PyTorchVideo trains in float32 and applies colours through
Pillow to whole frames, as its trainer does; audio is left undecoded. Its source has collected garbage after each video since
its last release, which is slower: that is measured beside the release. fullrank trains as `fullrank train` does, with monitor,
metrics and progress line. Parts take turns, and each has a warm-up that is not counted; ratios are medians over turns.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import _peers
from _result import ROOT, goal, origin, write

FULL = {"videos": 4, "frames": 8, "size": 112, "canvas": 128, "width": 0.25, "warm": 4, "slow_steps": 8, "fast_steps": 20}
TINY = {"videos": 2, "frames": 4, "size": 64, "canvas": 72, "width": 0.125, "warm": 1, "slow_steps": 2, "fast_steps": 3}
CLIPS = 2
SECONDS = 2.0
HEAD = (512, 128)
TEMPERATURE = 0.1
LEARNING_RATE = 0.01
THREADS, WORKERS = 2, 2
PARTS = ("training", "views", "network")
WANTED = {"files": 3.0, "cache": 10.0}


def rate(step: Callable[[], object], size: dict[str, Any], steps: int) -> float:
    """Clips a second of ``step``, after a warm-up."""
    for _ in range(size["warm"]):
        step()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return steps * size["videos"] * CLIPS / (time.perf_counter() - start)


# PyTorchVideo: runs in the peers' environment


def their_transform(size: dict[str, Any]) -> Callable[[Any], Any]:
    import random

    from PIL import ImageFilter
    from pytorchvideo import transforms as video
    from torchvision import transforms as image

    colours = image.Compose(
        [
            image.ToPILImage(),
            image.RandomApply([image.ColorJitter(0.6, 0.6, 0.6, 0.15)], p=0.8),
            image.RandomGrayscale(p=0.2),
            image.RandomApply([image.Lambda(lambda p: p.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2.0))))], p=0.5),
            image.ToTensor(),
        ]
    )

    def as_one_picture(clip: Any) -> Any:  # so that all frames get the same colours
        channels, frames, height, width = clip.shape
        return colours(clip.reshape(channels, frames * height, width)).reshape(channels, frames, height, width)

    transform = image.Compose(
        [
            video.UniformTemporalSubsample(size["frames"]),
            image.Lambda(lambda clip: clip / 255.0),
            image.Lambda(as_one_picture),
            video.Normalize((0.45, 0.45, 0.45), (0.225, 0.225, 0.225)),
            video.RandomResizedCrop(size["size"], size["size"], scale=(0.2, 0.766), aspect_ratio=(0.75, 1.3333)),
            image.RandomHorizontalFlip(p=0.5),
        ]
    )
    return lambda sample: {"video": [transform(clip) for clip in sample["video"]]}


def their_batches(folder: Path, size: dict[str, Any], collect: bool) -> Iterator[Any]:
    import gc

    import torch
    from pytorchvideo.data import LabeledVideoDataset
    from pytorchvideo.data.clip_sampling import RandomMultiClipSampler

    class Collecting(LabeledVideoDataset):  # type: ignore[misc, valid-type]
        def __next__(self) -> Any:
            sample = super().__next__()
            gc.collect()
            return sample

    found = [(str(file), {}) for file in sorted(folder.rglob("*.avi"))] * 100  # one long epoch: workers start once
    kind = Collecting if collect else LabeledVideoDataset
    data = kind(found, RandomMultiClipSampler(SECONDS, CLIPS), transform=their_transform(size), decode_audio=False)
    return iter(torch.utils.data.DataLoader(data, size["videos"], num_workers=WORKERS, drop_last=True))


def their_network(size: dict[str, Any]) -> Callable[[list[Any]], None]:
    import torch
    from pytorchvideo.models.resnet import create_resnet
    from pytorchvideo.models.simclr import SimCLR

    side = -(-size["size"] // 32)
    backbone = create_resnet(
        model_depth=50,
        dropout_rate=0.0,
        stem_dim_out=round(64 * size["width"]),
        stem_conv_kernel_size=(1, 7, 7),
        head_pool_kernel_size=(size["frames"], side, side),
    )
    backbone.blocks[-1].proj = None
    dim = round(64 * size["width"]) * 32
    mlp = torch.nn.Sequential(torch.nn.Linear(dim, HEAD[0]), torch.nn.ReLU(), torch.nn.Linear(*HEAD))
    method = SimCLR(mlp, backbone, temperature=TEMPERATURE)
    optimizer = torch.optim.SGD(method.parameters(), lr=LEARNING_RATE, momentum=0.9, weight_decay=1e-4)

    def step(clips: list[Any]) -> None:
        loss = method(*clips)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def serve(folder: Path, size: dict[str, Any]) -> None:
    import torch
    from torchvision_shim import import_torchvision

    import_torchvision()
    from torchvision.transforms import _functional_tensor

    sys.modules["torchvision.transforms.functional_tensor"] = _functional_tensor  # its name when PyTorchVideo was released
    torch.set_num_threads(THREADS)
    shape = (size["videos"], 3, size["frames"], size["size"], size["size"])

    def answer(part: str, collect: bool) -> dict[str, Any]:
        train = their_network(size)
        if part == "network":
            clips = [torch.randn(shape) for _ in range(CLIPS)]
            return {"rate": rate(lambda: train(clips), size, size["slow_steps"])}
        batches = their_batches(folder, size, collect)
        if part == "views":
            return {"rate": rate(lambda: next(batches), size, size["slow_steps"])}
        return {"rate": rate(lambda: train(next(batches)["video"]), size, size["slow_steps"])}

    _peers.serve(answer)


# fullrank


def settings(folder: Path, size: dict[str, Any], cache: Path | None, precision: str, out: Path) -> Any:
    import fullrank
    from fullrank.config import OptimizerConfig
    from fullrank.views import policies

    recipe = fullrank.recipe("simclr.video")
    method = {
        "rho": CLIPS,
        "augmentation": policies.slowfast(size["size"]),
        "projector": HEAD,
        "projector_batch_norm": "none",
        "temperature": TEMPERATURE,
    }
    data = {
        "path": folder,
        "cache": cache,
        "batch_size": size["videos"],
        "num_workers": WORKERS,
        "num_frames": size["frames"],
        "frames_per_second": size["frames"] / SECONDS,
        "canvas_pixels": size["canvas"],
    }
    return recipe.model_copy(
        update={
            "method": recipe.method.model_copy(update=method),
            "backbone": recipe.backbone.model_copy(update={"depth": 50, "width": size["width"]}),
            "data": recipe.data.model_copy(update=data),
            "optimizer": OptimizerConfig(base_learning_rate=LEARNING_RATE, weight_decay=1e-4),
            "precision": precision,
            "device": "cpu",
            "max_steps": size["warm"] + size["fast_steps"],
            "out": out,
        }
    )


def our_training(config: Any, source: Any, size: dict[str, Any]) -> float:
    """As `fullrank train`: clips a second of the steps after the warm-up."""
    import fullrank

    ends: list[float] = []

    class Clock:
        def on_step(self, event: Any) -> None:
            ends.append(time.perf_counter())

        def on_end(self, summary: Any) -> None:
            pass

    fullrank.train(config, source=source, observers=(Clock(),))
    warm = size["warm"]
    return (len(ends) - warm) * size["videos"] * CLIPS / (ends[-1] - ends[warm - 1])


def our_views(config: Any, source: Any, size: dict[str, Any]) -> float:
    """The loader and the views of training, without a network."""
    import torch

    from fullrank.data.loader import Loader
    from fullrank.methods.simclr import SimCLR
    from fullrank.types import ClipSpec
    from fullrank.views.plan import make_views

    plan, data = SimCLR.views(config.method), config.data
    spec = ClipSpec(num_frames=data.num_frames, frames_per_second=data.frames_per_second, canvas_pixels=data.canvas_pixels)
    loader = Loader(source, spec, num_clips=CLIPS, batch_size=size["videos"], seed=0, num_workers=WORKERS)
    batches = loader.batches()
    found = rate(lambda: make_views(next(batches), plan, 0, torch.device("cpu")), size, size["fast_steps"])
    batches.close()  # type: ignore[attr-defined]  # ends the workers
    return found


def our_network(config: Any, size: dict[str, Any]) -> float:
    """Forward, backward and optimizer on views that are there."""
    import torch

    from fullrank.checkpoint.encoder import build_method
    from fullrank.engine import optimizers
    from fullrank.engine.run import has_bf16
    from fullrank.types import StepContext, Views

    torch.manual_seed(0)
    method = build_method(config, size["videos"])
    optimizer = optimizers.build(config.optimizer, method)
    pixels = torch.randn(size["videos"], CLIPS, 3, size["frames"], size["size"], size["size"])
    views = Views(pixels={"view": pixels}, index=torch.arange(size["videos"]))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=has_bf16("cpu")):
            loss = method(views, StepContext()).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return rate(step, size, size["fast_steps"])


def turns(
    folder: Path, python: Path, size: dict[str, Any], repeats: int, flags: list[str], parts: Sequence[str]
) -> dict[str, Any]:
    """{part: {who: clips a second of each turn}}, and what the cache cost."""
    import torch

    from fullrank.data.open import open_source

    torch.set_num_threads(THREADS)
    measured: dict[str, dict[str, list[float]]] = {}

    def note(part: str, who: str, value: float) -> None:
        measured.setdefault(part, {}).setdefault(who, []).append(value)
        print(f"{part}, {who}: {value:.1f} clips/s", flush=True)

    with tempfile.TemporaryDirectory() as work, _peers.Peer(python, "clips.py", "--videos", str(folder), *flags) as peer:
        start = time.perf_counter()
        sources = {
            kind: open_source(settings(folder, size, cache, "auto", Path(work)).data)
            for kind, cache in (("files", None), ("cache", Path(work) / "cache"))
        }
        built = time.perf_counter() - start
        for turn in range(repeats):
            for part in parts:
                for who, collect in (("release", False), ("source", True)):
                    if part != "network" or not collect:
                        note(part, who, peer.ask(part=part, collect=collect)["rate"])
                for kind, source in sources.items():
                    config = settings(folder, size, None, "auto", Path(work) / f"{turn}-{kind}")
                    if part == "network":
                        if kind == "cache":
                            note(part, "network", our_network(config, size))
                    else:
                        run = our_training if part == "training" else our_views
                        note(part, kind, run(config, source, size))
            if "training" in parts:
                config = settings(folder, size, None, "fp32", Path(work) / f"{turn}-fp32")
                note("training", "cache, fp32", our_training(config, sources["cache"], size))
    return {"clips_per_second": measured, "cache_seconds": built}


LINES = (
    ("training end to end, from the files", "training", "files", "files"),
    ("training end to end, from the cache", "training", "cache", "cache"),
    ("training end to end, from the cache, fp32", "training", "cache, fp32", None),
    ("loader and views alone, from the files", "views", "files", None),
    ("loader and views alone, from the cache", "views", "cache", None),
    ("the network's step alone", "network", "network", None),
)


def compare(rates: dict[str, dict[str, list[float]]]) -> dict[str, Any]:
    """{line: medians of both, and the median of the turns' ratios to the release and to the source}."""
    found = {}
    for text, part, who, _ in LINES:
        if part not in rates:
            continue
        ours = rates[part][who]
        line: dict[str, Any] = {"fullrank": statistics.median(ours)}
        for peer in ("release", "source"):
            if peer in rates[part]:
                line[peer] = statistics.median(rates[part][peer])
                line[f"x {peer}"] = statistics.median(a / b for a, b in zip(ours, rates[part][peer], strict=True))
        found[text] = line
    return found


def table(found: dict[str, Any], version: str, built: float) -> dict[str, Any]:
    cells = []
    for text, _, _, wanted in LINES:
        line = found.get(text)
        if line is None:
            continue
        peers = [f"{line[peer]:.1f}" if peer in line else "-" for peer in ("release", "source")]
        ratios = [f"{line[f'x {peer}']:.1f}" if peer in line else "-" for peer in ("release", "source")]
        cells.append([text, *peers, f"{line['fullrank']:.1f}", *ratios, f"{WANTED[wanted]:g}" if wanted else "-"])
    note = (
        f"PyTorchVideo {version}, and the same with the gc.collect() after each video that its source has had since. "
        "15 UCF101 clips, two views of 8 x 112 x 112 pixels a video, 4 videos a batch, Slow ResNet-50 of a quarter width; "
        f"two threads and two workers; the cache took {built:.0f} s once."
    )
    whole, network = found.get(LINES[0][0]), found.get(LINES[-1][0])
    if whole and network:
        bound = network["fullrank"] / whole["release"], network["fullrank"] / whole["source"]
        note += (
            f" fullrank's network alone runs at {bound[0]:.1f} and {bound[1]:.1f} times the clips of PyTorchVideo's whole "
            "pipeline: no loader can lift training above that."
        )
    header = [
        "clips a second",
        "PyTorchVideo",
        "with gc.collect()",
        "fullrank",
        "x PyTorchVideo",
        "x with gc.collect()",
        "wanted",
    ]
    return {"header": header, "rows": cells, "note": note}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=Path, default=ROOT.parent / "shared/data/video_test_assets/ucf101")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--peers", type=Path, default=_peers.PYTHON)
    parser.add_argument("--tiny", action="store_true", help="small sizes and one turn, to see that it runs")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    size = TINY if args.tiny else FULL
    if args.serve:
        serve(args.videos, size)
        return
    why = None if args.videos.is_dir() else f"needs UCF101 videos at {args.videos}"
    why = why or _peers.absent(args.peers, "pytorchvideo", "torchvision")
    if why:
        print(f"clips: skipped, {why}")
        return
    version = _peers.versions(args.peers, "pytorchvideo")["pytorchvideo"]
    flags = ["--tiny"] if args.tiny else []
    found = turns(args.videos, args.peers, size, 1 if args.tiny else args.repeats, flags, args.parts)
    lines = compare(found["clips_per_second"])
    against = {"release": f"PyTorchVideo {version}", "source": "its source"}
    sums = [
        goal(f"{text}, against {name}", lines[text][f"x {who}"], at_least=WANTED[key] if key else None)
        for text, part, _, key in LINES
        for who, name in against.items()
        if (key or part == "views") and text in lines
    ]
    tables = {"clips": table(lines, version, found["cache_seconds"])}
    write(args.out, {**origin("clips.py"), "summary": sums, "tables": tables, "lines": lines, **found, "size": size})


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))
    main()

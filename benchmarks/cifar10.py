"""CIFAR-10 as lightly trains it: recipes `<method>.cifar10`, kNN of the test images while training; meant for a GPU.

    python benchmarks/cifar10.py --cifar FOLDER --methods simclr vicreg --work runs/cifar10 --out benchmarks/results/FILE.json

ResNet-18 with the 3x3 stem, batch 512, 200 epochs. Every --every-epochs epochs the kNN accuracy (k = 200, temperature 0.1)
of the 10,000 test images among the 50,000 training images, both from frozen features of the central crop. lightly's table
prints the maximum over epochs, which is chosen on the test images; ours has the last epoch beside it. A method that is in
--work already is not run again. With --max-minutes no method is begun that, by the speed of the one before, would not end
within the time.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _result import origin, write
from torch import Tensor

from fullrank.checkpoint.encoder import method_name
from fullrank.config import RunConfig
from fullrank.data.open import open_source
from fullrank.data.sources.arrays import ArraySource
from fullrank.engine.loop import train
from fullrank.engine.observers import StepEvent
from fullrank.evaluation.knn import knn_predict
from fullrank.methods._method import load_method
from fullrank.recipes import recipe
from fullrank.spectrum.measures import measure_all

METHODS = ("simclr", "vicreg", "byol", "moco_v2", "swav", "barlow_twins", "simsiam", "dino", "nnclr")
LIGHTLY = {
    "simclr": 84.8,
    "byol": 86.8,
    "moco_v2": 84.7,
    "swav": 84.2,
    "barlow_twins": 81.9,
    "simsiam": 76.4,
    "dino": 81.3,
    "nnclr": 81.5,
}
"""kNN in %, the maximum over epochs of one seed: lightly, benchmarks.rst of 2023-03-27, batch 512, 200 epochs"""
NUM_NEIGHBOURS, TEMPERATURE = 200, 0.1
IMAGES_AT_ONCE = 2000


class Knn:
    """An observer: the accuracy of frozen features at the end of every few epochs, and the spectrum at the end."""

    def __init__(self, config: RunConfig[Any], sources: dict[str, ArraySource], every_epochs: int):
        aug = load_method(method_name(config.method)).views(config.method).groups[0].augmentation
        self.mean, self.std = (torch.tensor(values).view(1, 3, 1, 1, 1) for values in (aug.mean, aug.std))
        self.sources, self.every_epochs = sources, every_epochs
        self.curve: list[dict[str, float]] = []
        self.seconds = 0.0
        self.ranks: dict[str, dict[str, float]] = {}
        self.features: dict[str, Tensor] = {}
        self.peak_gib = 0.0
        self.event: StepEvent | None = None

    def on_step(self, event: StepEvent) -> str | None:
        """Evaluate where so many epochs end."""
        self.event = event
        if event.ctx.step % (event.ctx.steps_per_epoch * self.every_epochs) == 0:
            self._evaluate(event)
        return None

    def on_end(self, summary: dict[str, Any]) -> None:
        """The last step's accuracy and spectra; peak memory of the run."""
        if self.event is None:
            return
        found = self._evaluate(self.event)
        for space, x in zip(("representation", "embedding"), found, strict=True):
            if x is not None:
                self.features[space] = x.cpu()
                self.ranks[space] = measure_all(x.cpu().numpy())
        if torch.cuda.is_available():
            self.peak_gib = torch.cuda.max_memory_allocated() / 2**30

    def _evaluate(self, event: StepEvent) -> tuple[Tensor, Tensor | None]:
        """Adds a point to the curve; returns representation and embedding of the test images."""
        begin, method = time.perf_counter(), event.method
        training = method.training
        method.eval()
        (bank, _), test = (self._features(method, self.sources[split]) for split in ("train", "test"))
        labels, wanted = (torch.from_numpy(self.sources[s].labels["label"]).to(bank.device) for s in ("train", "test"))
        predicted = knn_predict(bank, labels, test[0], NUM_NEIGHBOURS, TEMPERATURE, 10)
        accuracy = float((predicted[:, 0] == wanted).float().mean())
        method.train(training)
        point = {"epoch": event.ctx.epoch, "knn": accuracy, "training_seconds": event.elapsed_seconds}
        if not self.curve or self.curve[-1]["epoch"] != point["epoch"]:
            self.curve.append(point)
            print(f"  epoch {event.ctx.epoch:.1f}: kNN {100 * accuracy:.2f} %, {event.elapsed_seconds:.0f} s", flush=True)
        self.seconds += time.perf_counter() - begin
        return test

    @torch.no_grad()
    def _features(self, method: Any, source: ArraySource) -> tuple[Tensor, Tensor | None]:
        device = next(method.parameters()).device
        mean, std = self.mean.to(device), self.std.to(device)
        representations, embeddings = [], []
        for start in range(0, len(source), IMAGES_AT_ONCE):
            images = torch.from_numpy(source.resident[start : start + IMAGES_AT_ONCE]).to(device)
            pixels = (images.permute(0, 4, 1, 2, 3).float() / 255 - mean) / std
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                h = method.encode(pixels)
                z = method.embed(h)
            representations.append(h.float())
            if z is not None:
                embeddings.append(z.float())
        return torch.cat(representations), torch.cat(embeddings) if embeddings else None


def one(name: str, args: argparse.Namespace, seed: int) -> dict[str, Any]:
    """One method, trained and evaluated."""
    config = recipe(f"{name}.cifar10")
    data = config.data.model_copy(update={"path": args.cifar, "limit": args.records})
    update: dict[str, Any] = {"data": data, "seed": seed, "device": args.device, "compile": args.compile}
    update |= {"out": args.work / f"{name}-{seed}-run", "epochs": args.epochs or config.epochs, "precision": args.precision}
    update["max_minutes"] = args.run_minutes
    config = config.model_copy(update=update)
    sources: dict[str, Any] = {
        split: open_source(data.model_copy(update={"split": split, "limit": args.records if split == "train" else None}))
        for split in ("train", "test")
    }
    watch = Knn(config, sources, args.every_epochs)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    begin = time.perf_counter()
    result = train(config, source=sources["train"], recipe=f"{name}.cifar10", observers=(watch,))
    if result.stopped is not None:
        raise SystemExit(f"{name} was {result.stopped} after {result.steps} steps; the same command runs it again.")
    minutes = (time.perf_counter() - begin) / 60
    best = max(watch.curve, key=lambda point: point["knn"])
    arrays = {space: x.numpy().astype(np.float16) for space, x in watch.features.items()}
    np.savez_compressed(args.work / f"{name}-{seed}.npz", **arrays)  # for whoever measures something else of them
    keep = ("n", "d", "std", "normalized_std", "mean_cosine", "effective_rank", "rankme", "cev_auc")
    return {
        "method": name,
        "seed": seed,
        "epochs": watch.curve[-1]["epoch"],
        "epochs_asked": config.epochs,
        "steps": result.steps,
        "knn_last": watch.curve[-1]["knn"],
        "knn_best": best["knn"],
        "best_epoch": best["epoch"],
        "minutes": minutes,
        "minutes_evaluating": watch.seconds / 60,
        "training_seconds": watch.curve[-1]["training_seconds"],
        "peak_gib": watch.peak_gib,
        "compiled": args.compile,
        "losses": result.summary.get("losses", {}),
        "collapsed": result.summary.get("collapsed", {}),
        "ranks": {space: {key: m[key] for key in keep if key in m} for space, m in watch.ranks.items()},
        "curve": watch.curve,
    }


def table(rows: list[dict[str, Any]], args: argparse.Namespace) -> dict[str, Any]:
    """One line a method."""
    lines = []
    for name in dict.fromkeys(row["method"] for row in rows):
        same = [row for row in rows if row["method"] == name]
        last, best = (100 * float(np.mean([row[key] for row in same])) for key in ("knn_last", "knn_best"))
        ranks = []
        for space in ("representation", "embedding"):
            found = [row["ranks"][space] for row in same if space in row["ranks"]]
            bound = f" of {min(found[0]['n'] - 1, found[0]['d'])}" if found else ""
            ranks.append(f"{np.mean([r['effective_rank'] for r in found]):.1f}{bound}" if found else "-")
        theirs = f"{LIGHTLY[name]:.1f}" if name in LIGHTLY else "-"
        minutes = f"{np.mean([row['minutes'] for row in same]):.1f}"
        lines.append([name, f"{same[0]['epochs']:.0f}", f"{last:.1f}", f"{best:.1f}", theirs, *ranks, minutes, len(same)])
    header = ["method", "epochs", "kNN % last", "kNN % best", "lightly's best", "effective rank of h", "effective rank of z"]
    header += ["minutes", "seeds"]
    note = (
        "CIFAR-10 (JPEG q92), ResNet-18 with the 3x3 stem, batch 512; kNN of 10,000 test images, k = 200, temperature 0.1. "
        "lightly's column: its benchmarks page (200 epochs, one seed, the best epoch by the test images, float32 on an RTX "
        "A6000 in 87 to 153 minutes). Minutes: training and evaluation"
        f"{', with the backbone compiled' if args.compile else ''}."
    )
    return {"header": header, "rows": lines, "note": note}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar", type=Path, required=True)
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--epochs", type=float, help="instead of the recipe's 200")
    parser.add_argument("--every-epochs", type=int, default=10)
    parser.add_argument("--records", type=int, help="only so many training images")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--run-minutes", type=float, help="a run ends within so many, its schedules with it")
    parser.add_argument("--max-minutes", type=float)
    parser.add_argument("--work", type=Path, default=Path("runs/cifar10"))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    begin, rows, longest = time.perf_counter(), [], 0.0
    for seed in args.seeds:
        for name in args.methods:
            file = args.work / f"{name}-{seed}.json"
            if not file.exists():
                spent = (time.perf_counter() - begin) / 60
                if args.max_minutes is not None and spent + longest > args.max_minutes:
                    print(f"{name}: no time left ({spent:.1f} of {args.max_minutes:g} minutes)", flush=True)
                    continue
                print(f"{name}, seed {seed}", flush=True)
                row = one(name, args, seed)
                longest = max(longest, row["minutes"])
                file.write_text(json.dumps(row, default=float) + "\n", encoding="utf-8")
            rows.append(json.loads(file.read_text(encoding="utf-8")))
            gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
            result = {**origin("cifar10.py", gpu), "seeds": args.seeds, "tables": {"cifar10-full": table(rows, args)}}
            write(args.out, {**result, "results": rows})


if __name__ == "__main__":
    main()

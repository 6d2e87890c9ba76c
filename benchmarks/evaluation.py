"""kNN against lightly's, and ten linear probes at once against one by one through a loader, as ratios in one run.

    python benchmarks/evaluation.py [--out benchmarks/results/FILE.json] [--peers .venv-peers/bin/python] [--tiny]

kNN: 10,000 queries, a bank of 50,000 x 512, 100 classes, k = 200, temperature 0.1; lightly gets normalised features, its
bank the way round it wants, and batches of 1,024 (its fastest). Ours normalises within the measured time. The two take
turns; lightly runs in an environment of its own (this file again, with --serve), and its answers come back to be compared.
Probes: the same bank, ten learning rates, two epochs (the cost of an epoch is constant); "loader" is torch's Linear, SGD and
DataLoader(TensorDataset), the same batches in the same order, so that the weights can be compared.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
FULL = {"bank": 50_000, "queries": 10_000, "d": 512, "classes": 100, "k": 200, "epochs": 2}
TINY = {"bank": 2_000, "queries": 400, "d": 64, "classes": 10, "k": 50, "epochs": 2}
TEMPERATURE = 0.1
RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
BATCH = 256
TARGETS = {"knn": 1.0, "probes": 5.0}


def features(size: dict[str, int]) -> dict[str, Any]:
    """Overlapping clusters: a quarter of the answers is right, so that the order of neighbours matters."""
    import torch

    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(size["classes"], size["d"], generator=generator)
    found = {}
    for name in ("bank", "queries"):
        labels = torch.randint(size["classes"], (size[name],), generator=generator)
        x = centres[labels] + 8.0 * torch.randn(size[name], size["d"], generator=generator)
        found |= {name: torch.nn.functional.normalize(x, dim=1), f"{name}_labels": labels}
    return found


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def lightly_knn(size: dict[str, int]) -> Callable[[], Any]:
    """lightly's function over batches of queries."""
    import torch
    from torchvision_shim import import_torchvision

    import_torchvision()
    from lightly.utils.benchmarking import knn_predict

    data = features(size)
    bank = data["bank"].T.contiguous()

    def run() -> Any:
        found = [
            knn_predict(block, bank, data["bank_labels"], size["classes"], knn_k=size["k"], knn_t=TEMPERATURE)[:, :5]
            for block in data["queries"].split(1024)
        ]
        return torch.cat(found).numpy()

    return run


def serve(size: dict[str, int], threads: int, answers: Path) -> None:
    """One line in, one turn, the seconds out; answers go to a file."""
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    run = lightly_knn(size)
    for _ in sys.stdin:
        seconds, found = timed(run)
        np.save(answers, found)
        print(json.dumps({"seconds": seconds}), flush=True)


class Peer:
    """The process of the other library."""

    def __init__(self, python: Path, size: str, threads: int, answers: Path):
        command = [str(python), str(Path(__file__).resolve()), "--serve", "--threads", str(threads), "--answers", str(answers)]
        self.process = subprocess.Popen(
            command + (["--tiny"] if size == "tiny" else []), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def seconds(self) -> float:
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError("the peer's process has no pipes")
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the peer's process ended; its own message is above")
        return float(json.loads(line)["seconds"])

    def close(self) -> None:
        self.process.communicate()


def compare_knn(size: dict[str, int], name: str, python: Path, repeats: int, threads: int) -> dict[str, Any]:
    """Ours, lightly's and the bare product in turns."""
    import numpy as np
    import torch

    from fullrank.evaluation.knn import knn_predict

    data = features(size)
    bank, labels, queries = data["bank"], data["bank_labels"], data["queries"]

    def ours() -> Any:
        return knn_predict(bank, labels, queries, size["k"], TEMPERATURE, size["classes"]).numpy()

    def product() -> None:
        for block in queries.split(1024):
            torch.mm(block, bank.T)

    with tempfile.TemporaryDirectory() as folder:
        answers = Path(folder) / "answers.npy"
        peer = Peer(python, name, threads, answers)
        peer.seconds(), ours(), product()
        taken: dict[str, list[float]] = {"fullrank": [], "lightly": [], "product": []}
        for _ in range(repeats):
            seconds, found = timed(ours)
            taken["fullrank"].append(seconds)
            taken["lightly"].append(peer.seconds())
            taken["product"].append(timed(product)[0])
        theirs = np.load(answers)
        peer.close()
    ratios = [b / a for a, b in zip(taken["fullrank"], taken["lightly"], strict=True)]
    return {
        "size": size,
        "seconds": {who: round(statistics.median(values), 4) for who, values in taken.items()},
        "ratio": round(statistics.median(ratios), 3),
        "ratio_range": [round(min(ratios), 3), round(max(ratios), 3)],
        "target": TARGETS["knn"],
        "same_top1": float((found[:, 0] == theirs[:, 0]).mean()),
        "same_top5": float((found == theirs).all(axis=1).mean()),
        "top1": float((found[:, 0] == data["queries_labels"].numpy()).mean()),
    }


def one_by_one(x: Any, y: Any, size: dict[str, int]) -> list[Any]:
    """Each rate by itself, through a loader."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    from fullrank.draws import permutation

    trained = []
    steps = size["epochs"] * -(-len(x) // BATCH)
    for rate in RATES:
        layer = torch.nn.Linear(x.shape[1], size["classes"])
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
        optimizer = torch.optim.SGD(layer.parameters(), lr=rate, momentum=0.9)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for epoch in range(size["epochs"]):
            order = permutation(0, epoch, len(x)).tolist()
            for batch, labels in DataLoader(TensorDataset(x, y), BATCH, sampler=order):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(layer(batch), labels).backward()
                optimizer.step()
                schedule.step()
        trained.append(layer.weight.detach())
    return trained


def compare_probes(size: dict[str, int], repeats: int) -> dict[str, Any]:
    """All rates at once against one by one, in turns."""
    from fullrank.evaluation.probes import Setting, train_probes

    data = features(size)
    x, y = data["bank"] * size["d"] ** 0.5, data["bank_labels"]
    settings = [Setting(rate, 0.0) for rate in RATES]
    taken: dict[str, list[float]] = {"at_once": [], "loader": []}
    train_probes(x[:512], y[:512], settings, num_classes=size["classes"], epochs=1)
    for _ in range(repeats):
        seconds, probes = timed(
            lambda: train_probes(x, y, settings, num_classes=size["classes"], epochs=size["epochs"], batch_size=BATCH)
        )
        taken["at_once"].append(seconds)
        seconds, single = timed(lambda: one_by_one(x, y, size))
        taken["loader"].append(seconds)
    ratios = [b / a for a, b in zip(taken["at_once"], taken["loader"], strict=True)]
    differences = [float((a - b).abs().max() / b.abs().max()) for a, b in zip(probes.weight, single, strict=True)]
    return {
        "size": {**size, "rates": len(RATES), "batch": BATCH},
        "seconds": {who: round(statistics.median(values), 4) for who, values in taken.items()},
        "ratio": round(statistics.median(ratios), 2),
        "ratio_range": [round(min(ratios), 2), round(max(ratios), 2)],
        "target": TARGETS["probes"],
        "largest_difference_of_weights": {f"{rate:g}": value for rate, value in zip(RATES, differences, strict=True)},
    }


def hardware(threads: int) -> dict[str, Any]:
    import torch

    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return {
        "processor": next(
            (line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor()
        ),
        "cores": os.cpu_count(),
        "threads": threads,
        "load": os.getloadavg()[0],
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def table(result: dict[str, Any]) -> dict[str, Any]:
    """What the documents print."""
    names = {
        "knn": "kNN against lightly's knn_predict",
        "probes": "ten linear probes at once against one by one through a loader",
    }
    rows = [
        [text, f"{result[key]['ratio']:.2f}", "{:.2f} to {:.2f}".format(*result[key]["ratio_range"]), f"{TARGETS[key]:g}"]
        for key, text in names.items()
        if "ratio" in result[key]
    ]
    return {"header": ["what", "x faster (median of turns)", "range of turns", "wanted"], "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--repeats", type=int, default=5, help="turns of kNN; the probes take a third of them")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--peers", type=Path, default=HERE.parent / ".venv-peers/bin/python")
    parser.add_argument("--tiny", action="store_true", help="small sizes, to see that it runs; its ratios mean nothing")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--answers", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    size = TINY if args.tiny else FULL
    if args.serve:
        serve(size, args.threads, args.answers)
        return
    import torch

    torch.set_num_threads(args.threads)
    ask = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(ask, check=False, capture_output=True, text=True, cwd=HERE).stdout.strip()
    result: dict[str, Any] = {
        "benchmark": "evaluation",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": commit,
        "command": " ".join(["python", "benchmarks/evaluation.py", *sys.argv[1:]]),
        "hardware": hardware(args.threads),
        "probes": compare_probes(size, max(1, args.repeats // 3)),
    }
    if args.peers.exists():
        result["knn"] = compare_knn(size, "tiny" if args.tiny else "full", args.peers, args.repeats, args.threads)
    else:
        result["knn"] = {"skipped": f"no {args.peers}; `make bench` creates it"}
        print(f"kNN is skipped: there is no {args.peers}; `make bench` creates it.", file=sys.stderr)
    result["tables"] = {"evaluation": table(result)}
    text = json.dumps(result, indent=1)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()

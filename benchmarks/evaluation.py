"""kNN against lightly's, ten linear probes at once against one by one, and features once against encoding every epoch.

    python benchmarks/evaluation.py [--out benchmarks/results/FILE.json] [--peers .venv-peers/bin/python] [--tiny]

kNN: 10,000 queries, a bank of 50,000 x 512, 100 classes, k = 200, temperature 0.1; lightly gets normalised features, its
bank the way round it wants, and batches of 1,024 (its fastest). Ours normalises within the measured time. The two take
turns; lightly runs in an environment of its own (this file again, with --serve), and its answers come back to be compared.
Probes: the same bank, ten learning rates, two epochs (the cost of an epoch is constant); "loader" is torch's Linear, SGD and
DataLoader(TensorDataset), the same batches in the same order, so that the weights can be compared.
Encoding: 5,000 images of 32 x 32 through a frozen ResNet-18 of a quarter width in float32, ten epochs. Ours writes a feature
table and trains ten probes on it; the other way encodes every batch again in every epoch and trains one of them.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _peers
from _result import goal, origin, write

FULL = {"bank": 50_000, "queries": 10_000, "d": 512, "classes": 100, "k": 200, "epochs": 2, "images": 5_000, "encodings": 10}
TINY = {"bank": 2_000, "queries": 400, "d": 64, "classes": 10, "k": 50, "epochs": 2, "images": 300, "encodings": 2}
TEMPERATURE = 0.1
RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
RATE = 0.1
"""of the one probe that is trained while encoding"""
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


def serve(size: dict[str, int], threads: int) -> None:
    """A turn for each question; answers go to the file that it names."""
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    run = lightly_knn(size)

    def answer(answers: str) -> dict[str, Any]:
        seconds, found = timed(run)
        np.save(answers, found)
        return {"seconds": seconds}

    _peers.serve(answer)


def compare_knn(size: dict[str, int], python: Path, repeats: int, flags: list[str]) -> dict[str, Any]:
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

    with tempfile.TemporaryDirectory() as folder, _peers.Peer(python, "evaluation.py", *flags) as peer:
        answers = str(Path(folder) / "answers.npy")
        peer.ask(answers=answers), ours(), product()
        taken: dict[str, list[float]] = {"fullrank": [], "lightly": [], "product": []}
        for _ in range(repeats):
            seconds, found = timed(ours)
            taken["fullrank"].append(seconds)
            taken["lightly"].append(peer.ask(answers=answers)["seconds"])
            taken["product"].append(timed(product)[0])
        theirs = np.load(answers)
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


def encoding_every_epoch(encoder: Any, images: Any, labels: Any, size: dict[str, int]) -> Any:
    """One probe of a frozen backbone, as a training loop without features does it; its weights."""
    import torch

    from fullrank.draws import permutation
    from fullrank.types import ClipBatch
    from fullrank.views.plan import center_views

    augmentation = encoder.config.method.augmentation
    layer = torch.nn.Linear(encoder.backbone.embed_dim, size["classes"])
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    optimizer = torch.optim.SGD(layer.parameters(), lr=RATE, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, size["encodings"] * -(-len(images) // BATCH))
    for epoch in range(size["encodings"]):
        for index in torch.from_numpy(permutation(0, epoch, len(images))).split(BATCH):
            batch = ClipBatch(
                frames=images[index][:, None, None],
                sizes=torch.tensor(images.shape[1:3]).expand(len(index), 1, 2),
                start_seconds=torch.zeros(len(index), 1, dtype=torch.float64),
                index=index,
            )
            pixels = center_views(batch, augmentation.size_pixels, augmentation.mean, augmentation.std, torch.device("cpu"))
            with torch.no_grad():
                features = encoder.backbone(pixels.flatten(0, 1))
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(layer(features), labels[index]).backward()
            optimizer.step()
            schedule.step()
    return layer.weight.detach()


def compare_encoding(size: dict[str, int], repeats: int) -> dict[str, Any]:
    """Features once and ten probes on them, against one probe that encodes every epoch, in turns."""
    import numpy as np
    import torch

    import fullrank
    from fullrank.checkpoint.encoder import untrained
    from fullrank.data.sources.arrays import ArraySource
    from fullrank.evaluation.probes import Setting, train_probes

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (size["images"], 32, 32, 3), dtype=np.uint8)
    labels = torch.from_numpy(rng.integers(0, size["classes"], size["images"]))
    source = ArraySource(images, {"label": labels.numpy()}, {"label": [str(i) for i in range(size["classes"])]})
    recipe = fullrank.recipe("simclr.cifar10")
    encoder = untrained(recipe.model_copy(update={"backbone": recipe.backbone.model_copy(update={"width": 0.25})}))
    settings = [Setting(rate, 0.0) for rate in RATES]

    def once(folder: Path) -> tuple[float, Any]:
        start = time.perf_counter()
        x = torch.from_numpy(np.array(fullrank.extract(encoder, source, folder, batch_size=BATCH).representation))
        encoded = time.perf_counter() - start
        probes = train_probes(x, labels, settings, num_classes=size["classes"], epochs=size["encodings"], batch_size=BATCH)
        return encoded, probes.weight[RATES.index(RATE)]

    taken: dict[str, list[float]] = {"once": [], "of_which_encoding": [], "every_epoch": []}
    with tempfile.TemporaryDirectory() as folder:
        once(Path(folder) / "warm")
        for turn in range(repeats):
            seconds, (encoded, mine) = timed(lambda: once(Path(folder) / f"features{turn}"))  # noqa: B023  called at once
            taken["once"].append(seconds)
            taken["of_which_encoding"].append(encoded)
            seconds, single = timed(lambda: encoding_every_epoch(encoder, torch.from_numpy(images), labels, size))
            taken["every_epoch"].append(seconds)
    ratios = [b / a for a, b in zip(taken["once"], taken["every_epoch"], strict=True)]
    return {
        "size": {"images": size["images"], "epochs": size["encodings"], "rates": [len(RATES), 1], "batch": BATCH},
        "seconds": {who: round(statistics.median(values), 4) for who, values in taken.items()},
        "ratio": round(statistics.median(ratios), 2),
        "ratio_range": [round(min(ratios), 2), round(max(ratios), 2)],
        "largest_difference_of_weights": float((mine - single).abs().max() / single.abs().max()),
    }


def names(size: dict[str, int]) -> dict[str, str]:
    return {
        "knn": "kNN against lightly's knn_predict",
        "probes": "ten linear probes at once against one by one through a loader",
        "encoding": f"features once and ten probes, against one probe that encodes again in each of {size['encodings']} epochs",
    }


def table(result: dict[str, Any], size: dict[str, int]) -> dict[str, Any]:
    """What the documents print."""
    rows = [
        [
            text,
            f"{result[key]['ratio']:.2f}",
            "{:.2f} to {:.2f}".format(*result[key]["ratio_range"]),
            f"{TARGETS[key]:g}" if key in TARGETS else "-",
        ]
        for key, text in names(size).items()
        if "ratio" in result[key]
    ]
    return {"header": ["what", "x faster (median of turns)", "range of turns", "wanted"], "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--repeats", type=int, default=5, help="turns of kNN; the others take half of them, rounded up")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--peers", type=Path, default=_peers.PYTHON)
    parser.add_argument("--tiny", action="store_true", help="small sizes, to see that it runs; its ratios mean nothing")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    size = TINY if args.tiny else FULL
    if args.serve:
        serve(size, args.threads)
        return
    import torch

    torch.set_num_threads(args.threads)
    slow = (args.repeats + 1) // 2
    result: dict[str, Any] = {
        **origin("evaluation.py"),
        "probes": compare_probes(size, slow),
        "encoding": compare_encoding(size, slow),
    }
    why = _peers.absent(args.peers, "lightly", "torchvision")
    if why is None:
        flags = ["--threads", str(args.threads), *(["--tiny"] if args.tiny else [])]
        result["knn"] = compare_knn(size, args.peers, args.repeats, flags)
    else:
        result["knn"] = {"skipped": why}
        print(f"evaluation: kNN is skipped, {why}")
    result["summary"] = [
        goal(text, result[key]["ratio"], at_least=TARGETS.get(key))
        for key, text in names(size).items()
        if "ratio" in result[key]
    ]
    write(args.out, {**result, "tables": {"evaluation": table(result, size)}})


if __name__ == "__main__":
    main()

"""What training spends besides learning: the collapse monitor's share of the time, and the share in which it waits for data.

    python benchmarks/monitor.py --weizmann FOLDER [--out benchmarks/results/FILE.json] [--tiny]

Five runs of SimCLR, as `fullrank train` does them: the embedded world with small steps from the cache, the same with all that
the monitor can look at (records held out, every stage), and with its recipe from files with two workers; Weizmann actions from
the cache at a size that a CPU bears, and with the recipe `video`, whose steps are large. The monitor is timed from outside,
with the spectrum at the end of the run, over the time of all steps; its own count (`monitor_share` of summary.json) stands
beside it. The wait is counted from the second epoch on, when workers have started.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

from _result import ROOT, goal, origin, write

MONITOR_WANTED, WAIT_WANTED = 1.0, 5.0
THREADS, WORKERS = 2, 2
STEPS = {"small": 1200, "probed": 1200, "world": 72, "weizmann": 96, "large": 16}
TINY_STEPS = {"small": 12, "probed": 12, "world": 4, "weizmann": 5, "large": 4}
HELD_OUT = 64
NAMES = {
    "small": "embedded world, cached, small steps",
    "probed": f"the same, {HELD_OUT} records held out, every stage",
    "world": "embedded world, its recipe, from files",
    "weizmann": "Weizmann, cached, 64 pixels",
    "large": "Weizmann, cached, recipe video",
}


def runs(world: Path, weizmann: Path | None, cache: Path, steps: dict[str, int], tiny: bool) -> dict[str, Any]:
    """{name: settings}; those without data are left out."""
    import fullrank
    from fullrank.views import policies

    recipe, video = fullrank.recipe("simclr.moving_digits"), fullrank.recipe("simclr.video")
    data = {"path": world, "num_workers": WORKERS}
    if tiny:
        data["batch_size"] = 32
    small = {"cache": cache, "batch_size": 32, "num_frames": 4}
    found = {
        "small": recipe.model_copy(
            update={
                "backbone": recipe.backbone.model_copy(update={"width": 0.125}),
                "data": recipe.data.model_copy(update=data | small),
            }
        ),
        "world": recipe.model_copy(update={"data": recipe.data.model_copy(update=data)}),
    }
    more = recipe.monitor.model_copy(update={"held_out_records": HELD_OUT, "stages": True})
    found["probed"] = found["small"].model_copy(update={"monitor": more})
    if weizmann is not None:
        data = {"path": weizmann, "cache": cache, "num_workers": WORKERS, "batch_size": 30}
        method = video.method.model_copy(update={"augmentation": policies.slowfast(64)})
        found["weizmann"] = video.model_copy(
            update={
                "method": method,
                "backbone": video.backbone.model_copy(update={"width": 0.25}),
                "data": video.data.model_copy(update=data | {"canvas_pixels": 72, "frames_per_second": 6.25}),
            }
        )
        large = {"data": video.data.model_copy(update=data)}
        if tiny:
            large = {"backbone": found["weizmann"].backbone, "method": method, "data": found["weizmann"].data}
        found["large"] = video.model_copy(update=large)
    fixed = {"device": "cpu", "precision": "auto"}
    return {name: config.model_copy(update=fixed | {"max_steps": steps[name]}) for name, config in found.items()}


def measure(config: Any, out: Path) -> dict[str, Any]:
    """One run: step time, the monitor's share and the share of waiting, in percent."""
    import fullrank
    from fullrank.engine import watch

    spent: list[float] = []
    times: list[tuple[bool, float, float]] = []

    class Timed(watch.CollapseMonitor):
        def on_step(self, event: Any) -> str | None:
            start = time.perf_counter()
            reason = super().on_step(event)
            spent.append(time.perf_counter() - start)
            return reason

        def on_end(self, summary: dict[str, Any]) -> None:
            start = time.perf_counter()
            super().on_end(summary)
            spent.append(time.perf_counter() - start)

    class Times:
        def on_step(self, event: Any) -> None:
            later = event.ctx.step > event.ctx.steps_per_epoch
            times.append((later, event.step_seconds, event.wait_seconds))

        def on_end(self, summary: dict[str, Any]) -> None:
            pass

    source = fullrank.open_source(config.data)
    with mock.patch.object(watch, "CollapseMonitor", Timed):
        summary = fullrank.train(config.model_copy(update={"out": out}), source=source, observers=(Times(),)).summary
    lines = [json.loads(line) for line in (out / "spectrum.jsonl").read_text(encoding="utf-8").splitlines()]
    seconds = sum(step for _, step, _ in times)
    later = [row for row in times if row[0]]
    return {
        "steps": len(times),
        "step_seconds": seconds / len(times),
        "spectra": sum(line["kind"] == "full" for line in lines),
        "spectrum_seconds": [line["seconds"] for line in lines if line["kind"] == "full"],
        "monitor_percent": 100 * sum(spent) / seconds,
        "monitor_percent_by_its_own_count": 100 * summary["monitor_share"],
        "wait_percent": 100 * sum(wait for *_, wait in later) / sum(step for _, step, _ in later),
        "wait_percent_with_the_first_epoch": 100 * sum(wait for *_, wait in times) / seconds,
    }


def table(rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    header = ["run", "steps", "seconds a step", "spectra", "monitor, % of the time", "waiting for data, %"]
    cells = [
        [
            NAMES[name],
            row["steps"],
            f"{row['step_seconds']:.3f}",
            row["spectra"],
            f"{row['monitor_percent']:.2f}",
            f"{row['wait_percent']:.1f}",
        ]
        for name, row in rows.items()
    ]
    note = (
        f"Wanted: the monitor at most {MONITOR_WANTED:g} % (all of it, the last spectrum too), waiting at most "
        f"{WAIT_WANTED:g} % (from the second epoch on). SimCLR; two threads, two decoding workers."
    )
    return {"header": header, "rows": cells, "note": note}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weizmann", type=Path, default=ROOT.parent / "shared/data/weizmann")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--runs", nargs="+", choices=list(NAMES), default=list(NAMES))
    parser.add_argument("--tiny", action="store_true", help="few steps, to see that it runs")
    args = parser.parse_args()
    import torch

    from fullrank.data.sources.moving_digits import World, write_world

    torch.set_num_threads(THREADS)
    weizmann = args.weizmann if args.weizmann.is_dir() else None
    if weizmann is None:
        print(f"monitor: the runs on Weizmann actions are skipped, there are none at {args.weizmann}")
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        world = write_world(work / "world", World(num_train=64, num_test=32) if args.tiny else World())
        for name, config in runs(world, weizmann, work / "cache", TINY_STEPS if args.tiny else STEPS, args.tiny).items():
            if name not in args.runs:
                continue
            rows[name] = measure(config, work / name)
            print(NAMES[name], json.dumps(rows[name]), flush=True)
    largest = max(row["monitor_percent"] for row in rows.values())
    sums = [
        goal("monitor's largest share", largest, at_most=MONITOR_WANTED, unit=" %"),
        *(goal(f"waiting, {NAMES[name]},", row["wait_percent"], at_most=WAIT_WANTED, unit=" %") for name, row in rows.items()),
    ]
    write(args.out, {**origin("monitor.py"), "summary": sums, "tables": {"monitor": table(rows)}, "measured": rows})


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))
    main()

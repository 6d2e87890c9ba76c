"""Train, collapse and compare on the embedded world (moving digits), in about six minutes on two cores."""

import shutil
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from fullrank.cli._io import console, notes, parse, table, take, write_json
from fullrank.config import Settings
from fullrank.errors import SettingError


class Args(Settings):
    """Options of `fullrank demo`."""

    out: Path = Path("runs/demo")
    """folder of everything the demo writes"""
    seed: Annotated[int, Field(ge=0)] = 0
    """decides the world, the weights and the order"""
    tiny: bool = False
    """the same path in seconds, to see that the installation works; its accuracies mean nothing"""


def main(argv: list[str]) -> None:
    """`fullrank demo [--seed 0] [--out runs/demo]`."""
    rest, json_path = take(argv, "--json")
    args = parse(Args, rest, "fullrank demo", description=f"{__doc__} --json FILE writes its table.")
    _make_way(args.out)
    from fullrank.report.page import report
    from fullrank.spectrum.plots import figure_2x2
    from fullrank.studies import demo

    command = "fullrank demo " + " ".join(argv)
    size = demo.tiny(args.seed) if args.tiny else demo.full(args.seed)

    def tell(text: str) -> None:
        notes.print(text, markup=False)

    result = demo.run(args.out, size, seed=args.seed, command=command, tell=tell)
    from fullrank.features.table import read_table

    drawn = []
    for name in demo.ENCODERS[:-1]:
        features = read_table(demo.features_of(args.out, name, "test"))
        drawn.append((name, features.representation, features.embedding))
    figure_2x2(drawn, args.out / "spectrum.png")
    folders = [demo.folder_of(args.out, name) for name in demo.ENCODERS]
    page = report(folders, args.out / "report.html", title="The demo: moving digits", command=command)
    for row in result["rows"]:
        del row["results"]
    write_json(args.out / "demo.json", result)
    write_json(json_path, {**result, "report": str(page)})
    _print(result)
    console.print(f"\nfigure  {args.out / 'spectrum.png'}\nreport  {page}", markup=False)


def _make_way(out: Path) -> None:
    """The demo may replace an earlier demo, and nothing else. The world and its cache are kept: they are checked by hash."""
    if out.exists() and any(out.iterdir()) and not (out / "world").exists():
        raise SettingError(f"out must be a new folder or an earlier demo. Got {out}, which holds other files.")
    from fullrank.studies.demo import ENCODERS, folder_of

    for name in ENCODERS:
        shutil.rmtree(folder_of(out, name), ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)


def _print(result: dict[str, Any]) -> None:
    rows = []
    for row in result["rows"]:
        measures = row["measures"] or {}
        cells = [f"{100 * row[k]:.0f}" for k in ("digit_knn", "digit_linear", "motion_knn", "motion_linear")]
        rank = f"{measures['effective_rank']:.1f} of {min(measures['n'] - 1, measures['d'])}" if measures else "-"
        std = f"{measures['std']:.3f}" if measures else "-"
        rows.append([row["encoder"], row["space"], *cells, rank, std])
    n = result["rows"][0]["n"]
    table(
        f"Accuracy in % on {n} test videos (95 % interval about +-{100 * 0.98 / n**0.5:.0f}); kNN k = 20 and linear probe",
        ["encoder", "space", "digit kNN", "digit linear", "motion kNN", "motion linear", "effective rank", "std"],
        rows,
    )
    alarm = result["alarm"]
    console.print(
        f"alarm at step {alarm['step']} of the collapsed run: {alarm['sentence']}" if alarm else "no alarm was raised",
        markup=False,
    )
    console.print(f"{result['seconds']['all']:.0f} s in all")

"""Run a study on the embedded world: what_prevents_collapse trains each method without each of its guards."""

from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field

from fullrank.cli._io import console, notes, parse, table, take, write_json
from fullrank.config import Settings


class Args(Settings):
    """Options of `fullrank study`."""

    name: Annotated[Literal["what_prevents_collapse"], tyro.conf.Positional]
    """which study"""
    methods: tuple[str, ...] = ()
    """methods to look at (where not given: all that have guards)"""
    out: Path = Path("runs/study")
    """folder of its runs; a case that is there with the same settings is not run again"""
    steps: Annotated[int, Field(ge=1)] = 150
    """of each run"""
    seed: Annotated[int, Field(ge=0)] = 0
    """decides the world, the weights and the order"""
    tiny: bool = False
    """tiny networks on a tiny world, in seconds; its numbers mean nothing"""


def main(argv: list[str]) -> None:
    """`fullrank study what_prevents_collapse [--methods byol simsiam] [--out runs/study] [--steps 150]`."""
    rest, json_path = take(argv, "--json")
    args = parse(Args, rest, "fullrank study", description=f"{__doc__} --json FILE writes its table.")
    from fullrank.data.sources.moving_digits import World
    from fullrank.studies import what_prevents_collapse as study

    world = World(seed=args.seed, num_train=160, num_test=80) if args.tiny else None
    result = study.run(
        args.out,
        methods=args.methods or None,
        steps=args.steps,
        seed=args.seed,
        tell=lambda text: notes.print(text, markup=False),
        world=world,
        target="tiny" if args.tiny else "moving_digits",
    )
    study.figure(result["rows"]).savefig(args.out / "ranks.png", dpi=160)
    study.figure(result["rows"]).savefig(args.out / "ranks.pdf")
    rows = []
    for row in result["rows"]:
        measures = (row.get("measures") or {}).get("embedding") or (row.get("measures") or {}).get("representation")
        rank = f"{measures['effective_rank']:.1f} of {min(measures['n'] - 1, measures['d'])}" if measures else "-"
        accuracy = [f"{100 * row[f'{label}_knn']:.0f}" if f"{label}_knn" in row else "-" for label in ("digit", "motion")]
        alarm = str(row["alarm"]["step"]) if row["alarm"] else "-"
        rows.append([row["method"], row["guard"], row["expected"], row["verdict"], alarm, rank, *accuracy])
    header = ["method", "guard", "expected", "found", "alarm at step", "effective rank", "digit kNN", "motion kNN"]
    table(f"What prevents collapse, {args.steps} steps, seed {args.seed}", header, rows)
    console.print(f"figure  {args.out / 'ranks.png'}", markup=False)
    for row in result["rows"]:
        del row["of"]
    write_json(args.out / "study.json", result)
    write_json(json_path, result)

"""Run a study on the embedded world: what_prevents_collapse trains each method without each of its guards."""

from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field

from fullrank.cli._io import console, notes, parse, table, take, write_json
from fullrank.config import Settings
from fullrank.errors import SettingError


class Args(Settings):
    """Options of `fullrank study`."""

    name: Annotated[Literal["what_prevents_collapse"], tyro.conf.Positional]
    """which study"""
    methods: tuple[str, ...] = ()
    """methods to look at (where not given: all that have guards, about an hour on two cores)"""
    named: bool = False
    """only the six collapses that papers name (BYOL without predictor, ...), beside those methods as they are"""
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
    if args.named and args.methods:
        raise SettingError("--named chooses the methods itself. Got --methods too; leave one of them out.")
    from fullrank.data.sources.moving_digits import World
    from fullrank.studies import what_prevents_collapse as study

    result = study.run(
        args.out,
        methods=args.methods or None,
        only=study.named_cases() if args.named else None,
        steps=args.steps,
        seed=args.seed,
        tell=lambda text: notes.print(text, markup=False),
        world=World(seed=args.seed, num_train=160, num_test=80) if args.tiny else None,
        target="tiny" if args.tiny else "moving_digits",
    )
    for ending in ("png", "pdf", "svg"):
        study.save_figure(result["rows"], args.out / f"ranks.{ending}")
    table(f"What prevents collapse, {args.steps} steps, seed {args.seed}", study.HEADER, study.lines(result["rows"]))
    console.print(study.summary(result["rows"]), markup=False, highlight=False)
    console.print(f"figure  {args.out / 'ranks.png'}", markup=False)
    for row in result["rows"]:
        del row["of"]
    write_json(args.out / "study.json", result)
    write_json(json_path, result)

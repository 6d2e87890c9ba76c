"""Run a study on the embedded world: what_prevents_collapse removes each guard of each method, rho_in_time moves clips."""

from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field

from fullrank.cli._io import console, notes, parse, table, take, write_json
from fullrank.config import Settings
from fullrank.errors import SettingError

ABOUT = f"""{__doc__} --json FILE writes its table.

what_prevents_collapse: each method as it is, and with each of its guards removed alone; about an hour on two cores.
rho_in_time: rho 1 to 4, and two clips ever nearer to each other: accuracy of appearance and of motion, effective rank between
and within videos; about a minute a run, 7 runs a method and seed."""
STEPS = {"what_prevents_collapse": 150, "rho_in_time": 400}


class Args(Settings):
    """Options of `fullrank study`."""

    name: Annotated[Literal["what_prevents_collapse", "rho_in_time"], tyro.conf.Positional]
    """which study"""
    methods: tuple[str, ...] = ()
    """methods to look at (where not given: all that have guards; of rho_in_time: simclr, byol, vicreg)"""
    named: bool = False
    """of what_prevents_collapse: only the six collapses that papers name (BYOL without predictor, ...), beside those methods as
    they are"""
    out: Path = Path("runs/study")
    """folder of its runs; a case that is there with the same settings is not run again"""
    steps: Annotated[int, Field(ge=1)] | None = None
    """of each run (where not given: 150; of rho_in_time 400)"""
    seed: Annotated[int, Field(ge=0)] = 0
    """decides the world, the weights and the order"""
    num_seeds: Annotated[int, Field(ge=1)] = 1
    """of rho_in_time: how many seeds, from --seed on, in the same world"""
    jobs: Annotated[int, Field(ge=1)] = 1
    """of rho_in_time: runs at a time, of one thread each"""
    tiny: bool = False
    """tiny networks on a tiny world, in seconds; its numbers mean nothing"""


def main(argv: list[str]) -> None:
    """`fullrank study what_prevents_collapse [--methods byol simsiam] [--out runs/study] [--steps 150]`."""
    rest, json_path = take(argv, "--json")
    args = parse(Args, rest, "fullrank study", description=ABOUT)
    steps = args.steps or STEPS[args.name]
    (_what_prevents_collapse if args.name == "what_prevents_collapse" else _rho_in_time)(args, steps, json_path)


def _what_prevents_collapse(args: Args, steps: int, json_path: str | None) -> None:
    if args.named and args.methods:
        raise SettingError("--named chooses the methods itself. Got --methods too; leave one of them out.")
    if args.jobs > 1 or args.num_seeds > 1:
        raise SettingError(
            "--jobs and --num-seeds must go with rho_in_time. Got them with what_prevents_collapse; leave them out."
        )
    from fullrank.data.sources.moving_digits import World
    from fullrank.studies import what_prevents_collapse as study

    result = study.run(
        args.out,
        methods=args.methods or None,
        only=study.named_cases() if args.named else None,
        steps=steps,
        seed=args.seed,
        tell=lambda text: notes.print(text, markup=False),
        world=World(seed=args.seed, num_train=160, num_test=80) if args.tiny else None,
        target="tiny" if args.tiny else "moving_digits",
    )
    for ending in ("png", "pdf", "svg"):
        study.save_figure(result["rows"], args.out / f"ranks.{ending}")
    table(f"What prevents collapse, {steps} steps, seed {args.seed}", study.HEADER, study.lines(result["rows"]))
    console.print(study.summary(result["rows"]), markup=False, highlight=False)
    console.print(f"figure  {args.out / 'ranks.png'}", markup=False)
    for row in result["rows"]:
        del row["of"]
    write_json(args.out / "study.json", result)
    write_json(json_path, result)


def _rho_in_time(args: Args, steps: int, json_path: str | None) -> None:
    if args.named:
        raise SettingError("--named must go with what_prevents_collapse. Got it with rho_in_time; name --methods instead.")
    from fullrank.data.sources.moving_digits import World
    from fullrank.spectrum.pictures.style import save
    from fullrank.studies import rho_in_time as study
    from fullrank.studies._rho_figure import figure

    result = study.run(
        args.out,
        methods=args.methods or None,
        seeds=range(args.seed, args.seed + args.num_seeds),
        steps=steps,
        jobs=args.jobs,
        tell=lambda text: notes.print(text, markup=False),
        world=World(num_train=160, num_test=80) if args.tiny else None,
    )
    for ending in ("png", "pdf", "svg"):
        save(figure(result["rows"], random=study.RANDOM), args.out / f"rho.{ending}")
    table(f"Rho and persistence in time, {steps} steps, seeds {result['seeds']}", study.HEADER, study.lines(result["rows"]))
    console.print(f"figure  {args.out / 'rho.png'}", markup=False)
    for row in result["rows"]:
        del row["of"]
    write_json(args.out / "rho_in_time.json", result)
    write_json(json_path, result)

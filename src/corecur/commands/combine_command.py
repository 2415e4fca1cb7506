"""The command ``combine``: several models as one, with a proof against each of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from corecur import console
from corecur.commands.shell import DATA, MACHINE, OUTPUT, Debug, Device, Json, errors_for_people, say_nothing


def combine(
    models: Annotated[list[Path], typer.Argument(metavar="RUN|BUNDLE…", help="Two models or more of one task.")],
    source: Annotated[
        str, typer.Option("--on", metavar="SOURCE", help="What they learned from: validation fits, the test is told.")
    ],
    out: Annotated[Path, typer.Option(help="The bundle to write.", rich_help_panel=OUTPUT)],
    method: Annotated[
        Literal["average", "weighted", "stacking", "soup"],
        typer.Option(
            help="Average answers; weight them; a linear layer over them; or average the weights of one architecture."
        ),
    ] = "average",
    validation: Annotated[
        str | None, typer.Option(help="Validation data of its own, or a share.", rich_help_panel=DATA)
    ] = None,
    test: Annotated[str | None, typer.Option(help="Test data of its own, or a share.", rich_help_panel=DATA)] = None,
    split_seed: Annotated[
        int | None,
        typer.Option(help="Draws the splits that SOURCE lacks; by default as the runs did.", rich_help_panel=DATA),
    ] = None,
    device: Device = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads.", rich_help_panel=MACHINE)] = None,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Combine trained models into one model file, and set it against its members on the test split."""
    with errors_for_people(debug):
        from corecur.combine.combination import combine as make

        say = say_nothing if json_ else console.say
        found = make(
            models, source, out=out, method=method, validation=validation, test=test, split_seed=split_seed,
            device=device, threads=threads, tell=say,
        )  # fmt: skip
        if json_:
            console.say_json(found.as_json())
            return
        for finding in found.findings:
            console.say(f"! {finding}")
        console.say(found.sentence())
        if found.proof is not None:
            console.say()
            console.say_listing(found.proof.listing())
            console.say(f"\n{found.proof.verdict()}")
        console.say(f"\nmodel:  {found.path}")

"""The command ``compare``: which of several models is better, and how sure that is."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from corecur import console
from corecur.commands.shell import DATA, OUTPUT, TRAINING, Debug, Device, Json, SkipBad, errors_for_people, say_nothing
from corecur.interruption import unwatch


def compare(
    models: Annotated[
        list[Path], typer.Argument(metavar="RUN|BUNDLE…", help="Run folders or model files of one task.")
    ],
    on: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="Labelled data to test all of them on; without it, what the runs kept of their tests is compared.",
            rich_help_panel=DATA,
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=2,
            metavar="N",
            help="Train each run's recipe anew with N seeds, on the splits of the run, and compare these trainings.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            min=2,
            metavar="K",
            help="Train it anew on K folds of the training and validation data instead; the test split stays unused.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder that gets these trainings.", rich_help_panel=OUTPUT)] = Path(
        "runs/compare"
    ),
    page: Annotated[Path, typer.Option(metavar="FILE", help="Where the report goes.", rich_help_panel=OUTPUT)] = Path(
        "comparison.html"
    ),
    latency: Annotated[
        bool, typer.Option("--latency/--no-latency", help="Measure how long an answer to one sample takes.")
    ] = True,
    device: Device = "auto",
    skip_bad: SkipBad = False,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Compare models on the same test samples: figures with intervals, a paired test, and where they differ.

    Runs that differ only in their seed count as one way to train. With --seeds or --folds the same command goes on
    with trainings that were stopped or killed.
    """
    if seeds is None and folds is None:
        unwatch()
    with errors_for_people(debug):
        from corecur.comparison.compare import compare as compare_models

        progress, say = (None, say_nothing) if json_ else (console.count_files, console.say)
        found = compare_models(
            *models, on=on, seeds=seeds, folds=folds, out=out, page=page, latency=latency, skip_bad=skip_bad,
            device=device, again=shlex.join(["corecur", *sys.argv[1:]]), progress=progress, tell=say,
            verbose=not json_,
        )  # fmt: skip
        if json_:
            console.say_json(found.as_json())
            return
        for finding in found.findings:
            console.say(f"! {finding}")
        console.say(f"{found.task}: {found.basis}\n")
        console.say_listing(found.listing())
        if found.repeats is not None:
            console.say()
            console.say_listing(found.repeats.listing(found.measure))
        console.say()
        for one in found.verdicts if len(found.standings) > 2 else ():
            console.say(f"{one.a} / {one.b}: {one.words}")
        console.say(found.sentence())
        shown = [one for one in found.slices if one.is_shown]
        for one in shown[:5]:
            console.say(f"in {one.title}: {one.words}")
        console.say(f"{found.apart_words}\n\nreport: {found.page}")

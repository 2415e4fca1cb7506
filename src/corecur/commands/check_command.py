"""The command ``check``: everything that is wrong or odd about a source, before a training."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from corecur import console
from corecur.commands.shell import DATA, MACHINE, OUTPUT, TRAINING, Debug, Json, errors_for_people


def check(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="What a training takes: a folder, a file, or a sample name.")
    ],
    task: Annotated[str, typer.Option(help="auto looks at the source; or a task by name.")] = "auto",
    validation: Annotated[
        str | None, typer.Option(help="Validation data of its own.", rich_help_panel=DATA)
    ] = None,
    test: Annotated[str | None, typer.Option(help="Test data of its own.", rich_help_panel=DATA)] = None,
    labels: Annotated[
        bool,
        typer.Option(
            "--labels",
            help="Look for labels that are probably wrong, too: short trainings on parts of the data, each tried on "
            "the rest. Takes minutes.",
            rich_help_panel=TRAINING,
        ),
    ] = False,
    folds: Annotated[int, typer.Option(min=2, help="Parts for --labels.", rich_help_panel=TRAINING)] = 4,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Epochs of each of these trainings; by default a third of a full one.",
                     rich_help_panel=TRAINING),
    ] = None,
    seed: Annotated[int, typer.Option(help="Parts and trainings follow from it.", rich_help_panel=TRAINING)] = 0,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Processor threads.", rich_help_panel=MACHINE)
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="PAGE", help="Write a page of the findings here.", rich_help_panel=OUTPUT)
    ] = None,
    json_: Json = False,
    debug: Debug = False,
) -> None:  # fmt: skip
    """Look through SOURCE and tell what is wrong or odd about it: all of it, the gravest first.

    Leaves with 0 where nothing stands in the way of a training, with 1 where a problem was found.
    """
    with errors_for_people(debug):
        import dataclasses

        import torch

        from corecur.finding import by_gravity
        from corecur.learners.data_check import check as check_source
        from corecur.learners.label_check import label_findings
        from corecur.report.page import write_page

        if threads is not None:
            torch.set_num_threads(threads)
        progress = None if json_ else console.count_files
        found = check_source(source, task=task, validation=validation, test=test, progress=progress)
        if labels:
            doubts = label_findings(source, task=found.task, folds=folds, epochs=epochs, seed=seed, threads=threads,
                                    tell=(lambda line: None) if json_ else console.complain)  # fmt: skip
            looked_for = f"{found.looked_for}, wrong labels ({folds} folds)"
            findings = by_gravity([*found.findings, *doubts])
            found = dataclasses.replace(found, findings=findings, looked_for=looked_for)
        if report is not None:
            write_page(report, f"{Path(source).name}: data check", time.strftime("%Y-%m-%d %H:%M"), found.sections())
        if json_:
            console.say_json(found.as_json())
        else:
            console.say_check(found.findings, f"{source} ({found.task}): {found.sentence()}")
            if report is not None:
                console.say(f"report: {report}")
        if found.worst == "problem":
            raise SystemExit(1)

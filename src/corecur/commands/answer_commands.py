"""The commands that ask a trained model: ``evaluate``, ``predict``, ``generate``."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from corecur import console
from corecur.commands.shell import DATA, OUTPUT, Bundle, Debug, Device, Json, SkipBad, errors_for_people
from corecur.errors import ConfigError
from corecur.interruption import unwatch


def evaluate(
    bundle: Bundle,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Labelled samples, in any form that train takes.")],
    device: Device = "auto",
    skip_bad: SkipBad = False,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Test a trained model on labelled data: accuracy with its interval, and a table of the classes."""
    unwatch()
    with errors_for_people(debug):
        from corecur.learners.tasks import load_learner

        learner = load_learner(bundle, device=device)
        result = learner.evaluate(source, skip_bad=skip_bad, progress=None if json_ else console.count_files)
        if json_:
            console.say_json(
                {
                    "task": learner.task,
                    "findings": [found.as_json() for found in result.findings],
                    "test": result.as_json(),
                }
            )
            return
        for finding in result.findings:
            console.say(f"! {finding}")
        console.say_outcome(result)


def predict(
    bundle: Bundle,
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE…", help="Files, folders of them, or - for standard input.")
    ],
    format_: Annotated[
        Literal["table", "json", "csv"], typer.Option("--format", help="table, json or csv.", rich_help_panel=OUTPUT)
    ] = "table",
    top: Annotated[
        int, typer.Option(min=1, help="How many labels the table shows for each picture.", rich_help_panel=OUTPUT)
    ] = 3,
    device: Device = "auto",
    skip_bad: SkipBad = False,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Answer for new samples: pictures, texts, series, as the model was trained on."""
    unwatch()
    with errors_for_people(debug):
        from corecur.learners.tasks import load_learner

        if json_ and format_ == "csv":
            raise ConfigError("the answers are printed as JSON or as CSV", do="give --json or --format csv")
        quiet = json_ or format_ != "table"
        learner = load_learner(bundle, device=device)
        paths, progress = [Path(source) for source in sources], None if quiet else console.count_files
        answers = learner.predict(paths, skip_bad=skip_bad, progress=progress)
        if json_ or format_ == "json":
            console.say_json([answer.as_json() for answer in answers])
        elif format_ == "csv":
            console.say(console.as_csv(*learner.spreadsheet(answers)), end="")
        else:
            console.say_listing(learner.listing(answers, top=top))


def generate(
    bundle: Bundle,
    prompt: Annotated[
        str, typer.Option(help="What to write on after; - reads it from standard input.", rich_help_panel=DATA)
    ] = "",
    length: Annotated[
        int, typer.Option(min=1, help="How many characters (or words, as the model was trained) to write.")
    ] = 400,
    temperature: Annotated[
        float, typer.Option(min=0.0, help="0 takes the likeliest each time, 1 draws as learned, more is bolder.")
    ] = 0.8,
    top_k: Annotated[int | None, typer.Option(min=1, help="Draw among the k likeliest only.")] = None,
    top_p: Annotated[
        float | None, typer.Option(max=1.0, help="Draw among the likeliest that sum to this probability only.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed writes the same text; by default a new one.")] = None,
    device: Device = "auto",
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Write text with a model that learned to: it is printed as it comes."""
    unwatch()
    with errors_for_people(debug):
        from corecur.learners.tasks import load_generator
        from corecur.runtime import any_seed

        began = sys.stdin.read().removesuffix("\n") if prompt == "-" else prompt
        seed = any_seed() if seed is None else seed
        learner = load_generator(bundle, device=device)
        finding = learner.read_prompt(began).finding()
        settings: dict[str, Any] = {"length": length, "temperature": temperature, "top_k": top_k, "top_p": top_p}
        settings["seed"] = seed
        pieces, started = learner.generate(began, **settings), time.perf_counter()
        if not json_:
            if finding is not None:
                console.complain(f"! {finding}")
            console.say_stream(began, pieces)
            return
        written = "".join(pieces)
        speed = length / (time.perf_counter() - started)
        findings = [] if finding is None else [finding.as_json()]
        found = {"task": learner.task, "prompt": began, "text": written, **settings}
        console.say_json(found | {"findings": findings, "tokens_per_second": round(speed, 1)})

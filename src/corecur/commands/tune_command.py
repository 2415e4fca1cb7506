"""The command ``tune``: search the settings of a recipe, or go on with a search."""

from __future__ import annotations

import re
import shlex
import sys
import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from corecur import console
from corecur.commands.shell import (
    DATA,
    MACHINE,
    OUTPUT,
    TRAINING,
    Debug,
    Device,
    Json,
    SkipBad,
    errors_for_people,
    parse_seconds,
    say_nothing,
)
from corecur.commands.train_command import named_settings, option_names
from corecur.errors import ConfigError

_SEARCH = "Search"
_COUNTS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_POWERS = {"us": -6, "ms": -3, "s": 0}


def tune(
    context: typer.Context,
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="Pictures, texts or series, in any form that train takes.")
    ],
    search: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=VALUES]",
            help="What is searched, by default what suits the recipe: learning_rate=1e-4..1e-2, units=32,64, "
            "widths=32x64,64x128; a name alone takes its usual range. May be given several times.",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    space: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The same as a small YAML or JSON file, a line a setting.", rich_help_panel=_SEARCH
        ),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Trials in all; 20 where no --time is given.", rich_help_panel=_SEARCH)
    ] = None,
    time_: Annotated[
        str | None,
        typer.Option("--time", help="Time in all, over all calls: 60s, 10m, 1h.", rich_help_panel=_SEARCH),
    ] = None,
    sampler: Annotated[
        Literal["tpe", "random", "grid"],
        typer.Option(help="How trials are chosen: tpe learns from those before.", rich_help_panel=_SEARCH),
    ] = "tpe",
    points: Annotated[int, typer.Option(min=2, help="Points of a range in a grid.", rich_help_panel=_SEARCH)] = 5,
    pruner: Annotated[
        Literal["median", "halving", "hyperband", "none"],
        typer.Option(help="What ends a trial that is behind.", rich_help_panel=_SEARCH),
    ] = "median",
    max_latency: Annotated[
        str | None,
        typer.Option(help="Refuse networks slower than this for one sample: 5ms.", rich_help_panel=_SEARCH),
    ] = None,
    max_parameters: Annotated[
        str | None, typer.Option(help="Refuse networks larger than this: 500k, 1M.", rich_help_panel=_SEARCH)
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, max=256, help="Processes that run trials side by side.", rich_help_panel=_SEARCH)
    ] = 1,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="CORECUR_STORAGE",
            help="A database for workers on many machines: postgresql+psycopg://user:password@host/name. "
            "By default a file in the study's folder.",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    study: Annotated[
        str | None, typer.Option(metavar="NAME", help="By default tune-SOURCE.", rich_help_panel=_SEARCH)
    ] = None,
    task: Annotated[str, typer.Option(help="auto looks at the source; or a task by name.")] = "auto",
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the training data in a trial.", rich_help_panel=TRAINING)
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Splits, weights and the trials' settings follow from it.", rich_help_panel=TRAINING)
    ] = 0,
    save_every: Annotated[
        str, typer.Option(help="How often a trial is kept: 500 (steps), 30s, never.", rich_help_panel=TRAINING)
    ] = "30s",
    out: Annotated[Path, typer.Option(help="The folder that gets the study's folder.", rich_help_panel=OUTPUT)] = Path(
        "runs"
    ),
    device: Device = "auto",
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16.", rich_help_panel=MACHINE)] = "auto",
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Processor threads of a trial; one where there are workers.", rich_help_panel=MACHINE),
    ] = None,
    validation: Annotated[
        str | None, typer.Option(help="Validation data of its own, or a share such as 0.1.", rich_help_panel=DATA)
    ] = None,
    test: Annotated[
        str | None, typer.Option(help="Test data of its own, or a share such as 0.2.", rich_help_panel=DATA)
    ] = None,
    skip_bad: SkipBad = False,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Search the settings that do best on SOURCE's validation data, and test what was found once.

    Trial 0 is the default recipe. Any setting given by name holds for all trials: --epochs 5 --mixup 0.2. The same
    command goes on with a search that was stopped or killed.
    """
    began = time.perf_counter()
    with errors_for_people(debug):
        from corecur.learners.tasks import TASKS, find_task
        from corecur.tuning.tune import tune as tune_source

        if search and space is not None:
            raise ConfigError("the search space stands in --search or in a file", do="give one of them")
        if task != "auto" and task not in TASKS:
            raise ConfigError(f"unknown task {task!r}", expected=", ".join(["auto", *TASKS]))
        found = find_task(source) if task == "auto" else task
        settings = named_settings(context.args, option_names(context), TASKS[found].learner)
        settings |= {} if epochs is None else {"epochs": epochs}
        progress, say = (None, say_nothing) if json_ else (console.count_files, console.say)
        result = tune_source(
            source, task=found, search=parse_search(search) if search else space, trials=trials,
            seconds=None if time_ is None else parse_seconds(time_), sampler=sampler, pruner=pruner, per_range=points,
            max_parameters=None if max_parameters is None else parse_count(max_parameters),
            max_latency=None if max_latency is None else parse_latency(max_latency), workers=workers, storage=storage,
            out=out, study=study, validation=validation, test=test, skip_bad=skip_bad, seed=seed, device=device,
            precision=precision, threads=threads, save_every=save_every, again=_command_line(), progress=progress,
            tell=say, began=began, **settings,
        )  # fmt: skip
        if json_:
            console.say_json(result.as_json())
            return
        console.say()
        console.say_listing(result.listing())
        console.say("\n" + "\n".join(result.sentences()))
        console.say(f"\npage:   {result.page}\nmodel:  {result.bundle or 'on the machine that trained it'}")
        console.say(f"\ntrain with these settings:\n  {result.command}")


def parse_search(words: list[str]) -> dict[str, str | None]:
    """What ``--search`` says: settings with their values, or with None for the usual ones.

    >>> parse_search(["learning_rate", "units=32,64"])
    {'learning_rate': None, 'units': '32,64'}
    """
    found: dict[str, str | None] = {}
    for word in words:
        name, has_values, values = word.partition("=")
        key = name.strip().replace("-", "_")
        if key in found:
            raise ConfigError(f"--search names {key!r} twice", do="give all its values at once: A,B,C")
        found[key] = values if has_values else None
    return found


def parse_count(text: str) -> int:
    """A number of parameters.

    >>> parse_count("1M"), parse_count("250k"), parse_count("1000")
    (1000000, 250000, 1000)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmg]?)\s*", text, re.IGNORECASE)
    if match is None or float(match[1]) <= 0:
        raise ConfigError("this is no number of parameters", got=text, expected="500k, 1M or 2000000")
    return round(float(match[1]) * _COUNTS[match[2].lower()])


def parse_latency(text: str) -> float:
    """A short time in seconds.

    >>> parse_latency("5ms"), parse_latency("0.5s"), parse_latency("200us")
    (0.005, 0.5, 0.0002)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(us|ms|s)\s*", text)
    if match is None or float(match[1]) <= 0:
        raise ConfigError("this is no latency", got=text, expected="5ms, 0.5s or 200us")
    return float(f"{match[1]}e{_POWERS[match[2]]}")


def _command_line() -> str:
    """The command again, without the password of a storage: it may stand in a log."""
    from corecur.tuning.study_storage import hidden

    words = list(sys.argv[1:])
    for place, word in enumerate(words):
        if word.startswith("--storage="):
            words[place] = f"--storage={hidden(word.removeprefix('--storage='))}"
        elif place and words[place - 1] == "--storage":
            words[place] = hidden(word)
    return shlex.join(["corecur", *words])

"""The command ``train``: begin a training, or go on with one."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
from corecur.errors import ConfigError, nearest

if TYPE_CHECKING:
    from corecur.learners.learner import Learner

_SAVE_EVERY = "1m"


def train(
    context: typer.Context,
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="SOURCE",
            help="Pictures, texts or series: a folder, a CSV, .ts, .npz, … file, or a sample name such as digits.",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Go on with the run in this folder, instead of SOURCE and all other settings.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    save_every: Annotated[
        str | None,
        typer.Option(
            help="How often the training is kept: 500 (steps), 30s, 2m (1m by default), never.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    heal: Annotated[
        bool,
        typer.Option(
            "--heal",
            help="Let the doctor bound gradients, lower the rate and go back where it runs away.",
            rich_help_panel=TRAINING,
        ),
    ] = False,
    task: Annotated[str, typer.Option(help="auto looks at the source; or a task by name.")] = "auto",
    model: Annotated[
        str, typer.Option(help="Network: auto, or one that --show-recipe names.", rich_help_panel=TRAINING)
    ] = "auto",
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the training data.", rich_help_panel=TRAINING)
    ] = None,
    time_: Annotated[
        str | None,
        typer.Option(
            "--time", help="Take at most about this long, all in all: 60s, 10m, 1h.", rich_help_panel=TRAINING
        ),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Samples in a step.", rich_help_panel=TRAINING)] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.", rich_help_panel=TRAINING)] = None,
    seed: Annotated[
        int, typer.Option(help="Splits, weights and augmentation follow from it.", rich_help_panel=TRAINING)
    ] = 0,
    split_seed: Annotated[
        int | None,
        typer.Option(
            help="Draws the splits instead of --seed: the same for models to be combined.", rich_help_panel=TRAINING
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder that gets the run folder.", rich_help_panel=OUTPUT)] = Path(
        "runs"
    ),
    device: Device = "auto",
    precision: Annotated[
        str,
        typer.Option(
            help="auto (bfloat16 products where the hardware has them), float32 or bfloat16.", rich_help_panel=MACHINE
        ),
    ] = "auto",
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, help="Processor threads; by default all, or one on a busy machine.", rich_help_panel=MACHINE
        ),
    ] = None,
    validation: Annotated[
        str | None,
        typer.Option(
            help="Validation data of its own, or a share such as 0.1; of a table, rows or a date.",
            rich_help_panel=DATA,
        ),
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(
            help="Test data of its own, or a share such as 0.2; of a table, rows or a date.", rich_help_panel=DATA
        ),
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=4, help="Side to which pictures are resized.", rich_help_panel=DATA)
    ] = None,
    baseline: Annotated[
        Literal["auto", "none", "majority", "linear", "all"],
        typer.Option(help="Simple models beside the result; auto leaves out what takes long.", rich_help_panel=OUTPUT),
    ] = "auto",
    skip_bad: SkipBad = False,
    show_recipe: Annotated[
        bool, typer.Option("--show-recipe", help="Print what would be done, and stop.", rich_help_panel=OUTPUT)
    ] = False,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="Deterministic algorithms only.", rich_help_panel=MACHINE)
    ] = False,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Train on SOURCE: look at the data, train, test, and write model and report.

    Any setting of the recipe can be given by name (--show-recipe lists them): --mixup 0.2 --crop 4 --flip none.
    """
    began = time.perf_counter()
    with errors_for_people(debug):
        from corecur import runtime
        from corecur.engine.checkpointing import Interval
        from corecur.learners.tasks import TASKS, find_task
        from corecur.run_folder import check_writable

        if resume is not None:
            _resume(context, resume, save_every=save_every, json_=json_)
            return
        if source is None:
            raise ConfigError("there is nothing to train on", do="give a SOURCE (begin with: digits), or --resume RUN")
        if time_ is not None and epochs is not None:
            raise ConfigError("a training ends after --epochs or after --time", do="give one of them")
        seconds = None if time_ is None else parse_seconds(time_)
        save_every = _SAVE_EVERY if save_every is None else save_every
        Interval.parse(save_every)  # before a look at the data, which may take long
        if task != "auto" and task not in TASKS:
            raise ConfigError(f"unknown task {task!r}", expected=", ".join(["auto", *TASKS]))
        if deterministic:
            runtime.use_determinism()
        kind = TASKS[find_task(source) if task == "auto" else task].learner
        settings = named_settings(context.args, option_names(context), kind)
        named = {"model": None if model == "auto" else model, "epochs": epochs, "batch_size": batch_size, "size": size}
        settings |= {k: v for k, v in {**named, "learning_rate": learning_rate}.items() if v is not None}
        learner = kind(
            seed=seed, split_seed=split_seed, device=device, precision=precision, threads=threads, **settings
        )
        check_writable(out, None if show_recipe else source)
        progress, say = (None, say_nothing) if json_ else (console.count_files, console.say)
        data = learner.read(source, skip_bad=skip_bad, progress=progress, validation=validation, test=test)
        for line in (*learner.describe(data), *(f"! {finding}" for finding in data.findings)):
            say(line)
        if show_recipe and json_:
            console.say_json({"task": learner.task, "recipe": learner.choose(data, seconds=seconds).model_dump()})
        elif show_recipe:
            console.say_recipe(learner.choose(data, seconds=seconds), learner.reading, learner.task)
        if show_recipe:
            return
        result = learner.fit(
            data, validation=validation, test=test, seconds=seconds, out=out, name=Path(source).resolve().name,
            command=_command_line(), skip_bad=skip_bad, save_every=save_every, heal=heal, tell=say,
            verbose=not json_, began=began, baseline=baseline,
        )  # fmt: skip
        if json_:
            console.say_json({"task": learner.task, **result.as_json()})
        else:
            console.say_result(result)


def _resume(context: typer.Context, run: Path, *, save_every: str | None, json_: bool) -> None:
    """Go on with a run; whatever else is given would be another training."""
    from corecur.learners.resume import resume_run

    kept = {"resume", "save_every", "json_", "debug"}
    sources = {name: context.get_parameter_source(name) for name in context.params}
    others = [context.params["source"] if name == "source" else f"--{name.rstrip('_').replace('_', '-')}"
              for name, given in sources.items()
              if name not in kept and given is not None and given.name == "COMMANDLINE"]  # fmt: skip
    if others or context.args:
        raise ConfigError(
            "a run goes on with what it began with",
            got=" ".join([*others, *context.args]),
            do="give --resume RUN alone (--save-every, --json and --debug may stand beside it)",
        )
    progress, say = (None, say_nothing) if json_ else (console.count_files, console.say)
    learner, result = resume_run(run, save_every=save_every, progress=progress, tell=say, verbose=not json_)
    if result is None and json_:
        console.say_json({"task": learner.task, "run": str(run), "complete": True})
    elif result is None:
        console.say(f"nothing to resume: the run {run} is complete")
    elif json_:
        console.say_json({"task": learner.task, **result.as_json()})
    else:
        console.say_result(result)


def named_settings(extra: list[str], options: list[str], kind: type[Learner[Any, Any, Any]]) -> dict[str, Any]:
    """What the command does not know itself, as settings of a learner by name; ``options`` are those it knows.

    >>> from corecur.learners.image_classifier import ImageClassifier
    >>> named_settings(["--mixup", "0.2", "--widths=16,32"], [], ImageClassifier)
    {'mixup': '0.2', 'widths': ('16', '32')}
    """
    fields = kind.recipe_model.model_fields | kind.reading_model.model_fields
    settings: dict[str, Any] = {}
    words = iter(extra)
    for word in words:
        if not word.startswith("-"):
            raise ConfigError(f"unexpected argument {word!r}", do="one SOURCE at a time; quote paths with spaces")
        name, has_value, value = word.lstrip("-").partition("=")
        key = name.replace("-", "_")
        if key not in fields:
            known = [*options, *(field.replace("_", "-") for field in fields)]
            guess = nearest(name, known)
            raise ConfigError(
                f"there is no option {word.partition('=')[0]}",
                expected="an option of train --help, or a setting that train SOURCE --show-recipe lists",
                do=f"did you mean --{guess}?" if guess else None,
            )
        if not has_value:
            value = next(words, "")
        if not value or value.startswith("--"):
            raise ConfigError(f"--{name} needs a value", expected=f"--{name} VALUE")
        settings[key] = tuple(value.split(",")) if "tuple[" in str(fields[key].annotation) else value
    return settings


def option_names(context: typer.Context) -> list[str]:
    """The long options of the running command, without their dashes."""
    names = (name for option in context.command.params for name in option.opts)
    return [name[2:] for name in names if name.startswith("--")]


def _command_line() -> str:
    return shlex.join(["corecur", *sys.argv[1:]])

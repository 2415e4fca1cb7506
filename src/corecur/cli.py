"""The command ``corecur``: a thin skin over the learners. Words for people go to standard error or are plain text;
with ``--json`` standard output holds one JSON value and nothing else."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import shlex
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from corecur.errors import ConfigError, CorecurError

if TYPE_CHECKING:
    from corecur.learners.evaluation import Evaluation, Prediction
    from corecur.learners.image_recipe import ImageRecipe
    from corecur.learners.learner import FitResult

app = typer.Typer(
    name="corecur",
    help="Convolutional and recurrent networks from raw data to a served model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_TASKS = ("image-classification",)
_BEGAN = time.perf_counter()

Json = Annotated[bool, typer.Option("--json", help="Print one JSON value on standard output and nothing else there.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the Python trace of an error.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps, …")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Set unreadable pictures aside instead of refusing.")]


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def train(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            help="A folder of class folders, a CSV, IDX, CIFAR or .npz file, or a sample name such as digits."
        ),
    ],
    task: Annotated[str, typer.Option(help=f"auto, or one of: {', '.join(_TASKS)}.")] = "auto",
    model: Annotated[str, typer.Option(help="Network: auto, blocks or textbook.")] = "auto",
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the training data.")] = None,
    time_: Annotated[
        str | None, typer.Option("--time", help="Take about this long instead, all in all: 60s, 10m, 1h.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Samples in a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    seed: Annotated[int, typer.Option(help="Splits, weights and augmentation follow from it.")] = 0,
    out: Annotated[Path, typer.Option(help="The folder that gets the run folder.")] = Path("runs"),
    device: Device = "auto",
    precision: Annotated[
        str, typer.Option(help="auto (bfloat16 products where the hardware has them), float32 or bfloat16.")
    ] = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, help="Processor threads; by default all, or one on a busy machine.")
    ] = None,
    validation: Annotated[str | None, typer.Option(help="Validation data of its own, or a share such as 0.1.")] = None,
    test: Annotated[str | None, typer.Option(help="Test data of its own, or a share such as 0.2.")] = None,
    size: Annotated[int | None, typer.Option(min=4, help="Side to which pictures are resized.")] = None,
    skip_bad: SkipBad = False,
    show_recipe: Annotated[bool, typer.Option("--show-recipe", help="Print what would be done, and stop.")] = False,
    deterministic: Annotated[bool, typer.Option("--deterministic", help="Deterministic algorithms only.")] = False,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Train on SOURCE: look at the data, train, test, and write model and report.

    Any setting of the recipe can be given by name (--show-recipe lists them): --mixup 0.2 --crop 4 --flip none.
    """
    with _errors_for_people(debug):
        from corecur import runtime
        from corecur.learners.image_classifier import ImageClassifier, describe_source

        if task != "auto" and task not in _TASKS:
            raise ConfigError(f"unknown task {task!r}", expected="auto or " + ", ".join(_TASKS))
        if deterministic:
            runtime.use_determinism()
        settings = _recipe_settings(context.args)
        named = {"model": None if model == "auto" else model, "epochs": epochs, "batch_size": batch_size}
        settings |= {k: v for k, v in {**named, "learning_rate": learning_rate}.items() if v is not None}
        if time_ is not None and epochs is not None:
            raise ConfigError("a training ends after --epochs or after --time", do="give one of them")
        seconds = None if time_ is None else parse_seconds(time_)
        learner = ImageClassifier(seed=seed, device=device, precision=precision, threads=threads, **settings)
        say = _say(json_)
        data = learner.read(
            source, validation=validation, test=test, size=size, skip_bad=skip_bad, progress=_counting(json_)
        )
        for line in describe_source(data):
            say(line)
        for finding in data.findings:
            say(f"! {finding}")
        if show_recipe:
            _print_recipe(learner.choose(data), learner.task, json_)
            return
        result = learner.fit(
            data,
            seconds=seconds,
            out=out,
            name=Path(source).name or "run",
            command=_command_line(),
            tell=say,
            verbose=not json_,
            began=_BEGAN,
        )
        if json_:
            _print_json({"task": learner.task, **result.as_json()})
        else:
            _print_result(result)


@app.command()
def evaluate(
    bundle: Annotated[Path, typer.Argument(help="A bundle, or a run folder.")],
    source: Annotated[str, typer.Argument(help="Labelled pictures, in any form that train takes.")],
    device: Device = "auto",
    skip_bad: SkipBad = False,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Test a trained model on labelled data: accuracy with its interval, and a table of the classes."""
    with _errors_for_people(debug):
        from corecur.learners.image_classifier import ImageClassifier

        learner = ImageClassifier.load(_bundle_path(bundle), device=device)
        result = learner.evaluate(source, skip_bad=skip_bad)
        if json_:
            _print_json({"task": learner.task, "test": result.as_json()})
        else:
            _print_evaluation(result)


@app.command()
def predict(
    bundle: Annotated[Path, typer.Argument(help="A bundle, or a run folder.")],
    sources: Annotated[list[str], typer.Argument(help="Picture files or folders.")],
    format_: Annotated[Literal["table", "json", "csv"], typer.Option("--format", help="table, json or csv.")] = "table",
    top: Annotated[int, typer.Option(min=1, help="How many labels the table shows for each picture.")] = 3,
    device: Device = "auto",
    skip_bad: SkipBad = False,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Say what is on pictures: the label of each, with probabilities."""
    with _errors_for_people(debug):
        from corecur.learners.image_classifier import ImageClassifier

        learner = ImageClassifier.load(_bundle_path(bundle), device=device)
        answers = learner.predict(sources, skip_bad=skip_bad)
        if json_ or format_ == "json":
            _print_json([answer.as_json() for answer in answers])
        elif format_ == "csv":
            sys.stdout.write(_as_csv(answers, learner.classes))
        else:
            _print_predictions(answers, top)


@app.command()
def info(
    bundle: Annotated[Path, typer.Argument(help="A bundle, or a run folder.")],
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Show what a model file is: task, classes, network, sizes."""
    with _errors_for_people(debug):
        from corecur.bundle.open import open_untrusted
        from corecur.learners.image_classifier import ImageClassifier
        from corecur.summary import summarize

        opened = open_untrusted(_bundle_path(bundle))
        task = (opened.preprocess or {}).get("task")
        found = {"path": str(opened.path), "task": task, "labels": opened.labels, "sizes": dict(opened.sizes)}
        if task == ImageClassifier.task:
            learner = ImageClassifier.from_bundle(opened, device="cpu")
            found |= {"preparation": vars(learner.preprocess.preparation), "parameters": learner.network.count_params()}
        if json_:
            _print_json(found)
            return
        print(opened.card.strip() or f"model file {opened.path}")
        print()
        print("members: " + ", ".join(f"{name} ({size:,} B)" for name, size in opened.sizes.items()))
        if task == ImageClassifier.task:
            print(summarize(learner.network))


def main() -> None:
    """The entry point of the command."""
    app()


@contextlib.contextmanager
def _errors_for_people(debug: bool) -> Iterator[None]:
    """Print an error of this package without a trace and leave with its code: 1 failed, 2 usage."""
    try:
        yield
    except CorecurError as error:
        if debug:
            traceback.print_exc()
        sys.stdout.flush()
        print(f"corecur: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        print("corecur: stopped", file=sys.stderr)
        raise SystemExit(1) from None


def parse_seconds(text: str) -> float:
    """A duration in seconds.

    >>> parse_seconds("90"), parse_seconds("1.5m"), parse_seconds("1h")
    (90.0, 90.0, 3600.0)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|sec|m|min|h)?\s*", text)
    seconds = 0.0 if match is None else float(match[1]) * {"m": 60, "h": 3600}.get((match[2] or "s")[0], 1)
    if seconds <= 0:
        raise ConfigError("this is not a length of time", got=text, expected="60s, 10m or 1h")
    return seconds


def _recipe_settings(extra: list[str]) -> dict[str, Any]:
    """``--mixup 0.2 --flip=none`` as settings by name."""
    settings: dict[str, Any] = {}
    words = iter(extra)
    for word in words:
        if not word.startswith("--"):
            raise ConfigError(f"unexpected argument {word!r}", do="one SOURCE at a time; quote paths with spaces")
        name, has_value, value = word[2:].partition("=")
        if not has_value:
            value = next(words, "")
            if not value or value.startswith("--"):
                raise ConfigError(f"--{name} needs a value", expected=f"--{name} VALUE")
        key = name.replace("-", "_")
        settings[key] = tuple(value.split(",")) if key == "widths" else value
    return settings


def _bundle_path(path: Path) -> Path:
    """The bundle of a run folder, or the path itself."""
    inside = path / "bundle"
    return inside if inside.is_dir() else path


def _command_line() -> str:
    return shlex.join(["corecur", *sys.argv[1:]])


def _say(quiet: bool) -> Any:
    return (lambda line: None) if quiet else print


def _counting(quiet: bool) -> Any:
    """Shows how many files have been decoded, on a terminal and for large sets only."""
    if quiet or not sys.stderr.isatty():
        return None

    def show(done: int, total: int) -> None:
        if total >= 500:
            end = "\n" if done >= total else "\r"
            print(f"decoding pictures: {done:,} of {total:,}", end=end, file=sys.stderr, flush=True)

    return show


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False))


def _print_recipe(recipe: ImageRecipe, task: str, as_json: bool) -> None:
    values = recipe.model_dump()
    if as_json:
        _print_json({"task": task, "recipe": values})
        return
    print(f"task: {task}\nrecipe (change any setting by name, for example --epochs 5):")
    for name, field in type(recipe).model_fields.items():
        shown = ",".join(map(str, values[name])) if isinstance(values[name], tuple) else values[name]
        print(f"  --{name.replace('_', '-'):<20} {shown!s:<16} {field.description}")


def _print_result(result: FitResult) -> None:
    if result.test is not None:
        _print_evaluation(result.test)
    if result.run is not None:
        print(f"\nreport: {result.run.report}\nmodel:  {result.run.bundle}\n\nnext:")
        bundle = shlex.quote(os.fspath(result.run.bundle))
        print(f"  corecur predict {bundle} PICTURE")
        print(f"  corecur evaluate {bundle} FOLDER")
        print(f"  corecur info {bundle}")


def _print_evaluation(result: Evaluation) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("class")
    for title in ("precision", "recall", "F1", "samples"):
        table.add_column(title, justify="right")
    for row in result.per_class:
        shares = (f"{share:.1%}" for share in (row.precision, row.recall, row.f1))
        table.add_row(row.name, *shares, f"{row.support:,}")
    console = Console()
    console.print()
    console.print(table, markup=False)
    print(f"\n{result.sentence()}")


def _print_predictions(answers: list[Prediction], top: int) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for title in ("file", "label", "probability", "then"):
        table.add_column(title, justify="right" if title == "probability" else "left", overflow="fold")
    for answer in answers:
        others = list(answer.probabilities.items())[1:top]
        then = ", ".join(f"{label} {share:.1%}" for label, share in others)
        cells = (answer.name, answer.label, f"{answer.probability:.1%}", then)
        table.add_row(*(Text(cell) for cell in cells))
    Console().print(table)


def _as_csv(answers: list[Prediction], classes: tuple[str, ...]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "label", "probability", *classes])
    for answer in answers:
        shares = (f"{answer.probabilities[name]:.6f}" for name in classes)
        writer.writerow([answer.name, answer.label, f"{answer.probability:.6f}", *shares])
    return text.getvalue()

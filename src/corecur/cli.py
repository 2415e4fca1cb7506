"""The command ``corecur``: a thin skin over the learners. What it does is told on standard output, progress and errors
on standard error; with ``--json`` standard output holds one JSON value and nothing else."""

from __future__ import annotations

import contextlib
import re
import shlex
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from corecur import console
from corecur.errors import ConfigError, CorecurError, nearest, phrase
from corecur.interruption import unwatch
from corecur.version import __version__

if TYPE_CHECKING:
    from corecur.learners.learner import Learner

app = typer.Typer(
    name="corecur",
    help="Convolutional and recurrent networks from raw data to a served model.",
    epilog="Begin with: corecur train digits",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_SAVE_EVERY = "1m"
_DATA, _TRAINING, _MACHINE, _OUTPUT = "Data", "Training", "Machine", "Output"

Bundle = Annotated[Path, typer.Argument(metavar="MODEL", help="A model file (a bundle), or a run folder.")]
Json = Annotated[
    bool,
    typer.Option(
        "--json", help="Print one JSON value on standard output and nothing else there.", rich_help_panel=_OUTPUT
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the Python trace of an error.", rich_help_panel=_OUTPUT)]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps, …", rich_help_panel=_MACHINE)]
SkipBad = Annotated[
    bool,
    typer.Option("--skip-bad", help="Set unreadable samples aside instead of refusing.", rich_help_panel=_DATA),
]


def _print_version(wanted: bool) -> None:
    if wanted:
        console.say(f"corecur {__version__}")
        raise typer.Exit


@app.callback()
def corecur(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Convolutional and recurrent networks from raw data to a served model."""


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
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
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    save_every: Annotated[
        str | None,
        typer.Option(
            help="How often the training is kept: 500 (steps), 30s, 2m (1m by default), never.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    task: Annotated[str, typer.Option(help="auto looks at the source; or a task by name.")] = "auto",
    model: Annotated[
        str, typer.Option(help="Network: auto, or one that --show-recipe names.", rich_help_panel=_TRAINING)
    ] = "auto",
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the training data.", rich_help_panel=_TRAINING)
    ] = None,
    time_: Annotated[
        str | None,
        typer.Option(
            "--time", help="Take about this long instead, all in all: 60s, 10m, 1h.", rich_help_panel=_TRAINING
        ),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Samples in a step.", rich_help_panel=_TRAINING)] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.", rich_help_panel=_TRAINING)] = None,
    seed: Annotated[
        int, typer.Option(help="Splits, weights and augmentation follow from it.", rich_help_panel=_TRAINING)
    ] = 0,
    out: Annotated[Path, typer.Option(help="The folder that gets the run folder.", rich_help_panel=_OUTPUT)] = Path(
        "runs"
    ),
    device: Device = "auto",
    precision: Annotated[
        str,
        typer.Option(
            help="auto (bfloat16 products where the hardware has them), float32 or bfloat16.", rich_help_panel=_MACHINE
        ),
    ] = "auto",
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, help="Processor threads; by default all, or one on a busy machine.", rich_help_panel=_MACHINE
        ),
    ] = None,
    validation: Annotated[
        str | None,
        typer.Option(
            help="Validation data of its own, or a share such as 0.1; of a table, rows or a date.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(
            help="Test data of its own, or a share such as 0.2; of a table, rows or a date.", rich_help_panel=_DATA
        ),
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=4, help="Side to which pictures are resized.", rich_help_panel=_DATA)
    ] = None,
    skip_bad: SkipBad = False,
    show_recipe: Annotated[
        bool, typer.Option("--show-recipe", help="Print what would be done, and stop.", rich_help_panel=_OUTPUT)
    ] = False,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="Deterministic algorithms only.", rich_help_panel=_MACHINE)
    ] = False,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Train on SOURCE: look at the data, train, test, and write model and report.

    Any setting of the recipe can be given by name (--show-recipe lists them): --mixup 0.2 --crop 4 --flip none.
    """
    began = time.perf_counter()
    with _errors_for_people(debug):
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
        settings = named_settings(context.args, _option_names(context), kind)
        named = {"model": None if model == "auto" else model, "epochs": epochs, "batch_size": batch_size, "size": size}
        settings |= {k: v for k, v in {**named, "learning_rate": learning_rate}.items() if v is not None}
        learner = kind(seed=seed, device=device, precision=precision, threads=threads, **settings)
        check_writable(out, None if show_recipe else source)
        progress, say = (None, _say_nothing) if json_ else (console.count_files, console.say)
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
            command=_command_line(), skip_bad=skip_bad, save_every=save_every, tell=say, verbose=not json_,
            began=began,
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
    progress, say = (None, _say_nothing) if json_ else (console.count_files, console.say)
    learner, result = resume_run(run, save_every=save_every, progress=progress, tell=say, verbose=not json_)
    if result is None and json_:
        console.say_json({"task": learner.task, "run": str(run), "complete": True})
    elif result is None:
        console.say(f"nothing to resume: the run {run} is complete")
    elif json_:
        console.say_json({"task": learner.task, **result.as_json()})
    else:
        console.say_result(result)


@app.command()
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
    with _errors_for_people(debug):
        from corecur.learners.tasks import load_learner

        learner = load_learner(bundle, device=device)
        result = learner.evaluate(source, skip_bad=skip_bad, progress=None if json_ else console.count_files)
        if json_:
            console.say_json({"task": learner.task, "findings": list(result.findings), "test": result.as_json()})
            return
        for finding in result.findings:
            console.say(f"! {finding}")
        console.say_outcome(result)


@app.command()
def predict(
    bundle: Bundle,
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE…", help="Files, folders of them, or - for standard input.")
    ],
    format_: Annotated[
        Literal["table", "json", "csv"], typer.Option("--format", help="table, json or csv.", rich_help_panel=_OUTPUT)
    ] = "table",
    top: Annotated[
        int, typer.Option(min=1, help="How many labels the table shows for each picture.", rich_help_panel=_OUTPUT)
    ] = 3,
    device: Device = "auto",
    skip_bad: SkipBad = False,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Answer for new samples: pictures, texts, series, as the model was trained on."""
    unwatch()
    with _errors_for_people(debug):
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


@app.command()
def generate(
    bundle: Bundle,
    prompt: Annotated[
        str, typer.Option(help="What to write on after; - reads it from standard input.", rich_help_panel=_DATA)
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
    with _errors_for_people(debug):
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
        findings = [] if finding is None else [finding]
        found = {"task": learner.task, "prompt": began, "text": written, **settings}
        console.say_json(found | {"findings": findings, "tokens_per_second": round(speed, 1)})


@app.command()
def info(bundle: Bundle, json_: Json = False, debug: Debug = False) -> None:
    """Show what a model file is, without loading its weights: task, classes, network, sizes."""
    unwatch()
    with _errors_for_people(debug):
        from corecur.bundle.open import open_untrusted
        from corecur.learners.facts import facts_of
        from corecur.run_folder import find_bundle

        facts = facts_of(open_untrusted(find_bundle(bundle)))
        if json_:
            console.say_json(facts.as_json())
        else:
            console.say(facts.as_text())


@app.command()
def verify(
    bundle: Bundle,
    key: Annotated[
        Path | None, typer.Option(metavar="PUBLIC.pem", help="Check its signature too, against this Ed25519 key.")
    ] = None,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Check a model file whole and print what became of every rule; exit code 0 if all are kept, 1 if not."""
    unwatch()
    with _errors_for_people(debug):
        from corecur.learners.verification import verify
        from corecur.run_folder import find_bundle

        found = verify(find_bundle(bundle), key=key)
        if json_:
            console.say_json(found.as_json())
        else:
            console.say_listing(found.listing())
        if found.error is not None:
            raise found.error


@app.command()
def sign(
    bundle: Bundle,
    key: Annotated[
        Path, typer.Option(metavar="PRIVATE.pem", help="An Ed25519 key: openssl genpkey -algorithm ed25519.")
    ],
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Sign a model file: NAME.sig beside it says, to whoever has the public key, that it is yours and unchanged."""
    unwatch()
    with _errors_for_people(debug):
        from corecur.bundle.open import open_untrusted
        from corecur.bundle.signature import sign
        from corecur.run_folder import find_bundle

        path = sign(open_untrusted(find_bundle(bundle)), key)
        if json_:
            console.say_json({"signature": str(path)})
        else:
            console.say(f"signature: {path}")


def main() -> None:
    """The entry point of the command."""
    console.speak_any_language()
    console.say_notices_in_a_line()
    app()


@contextlib.contextmanager
def _errors_for_people(debug: bool) -> Iterator[None]:
    """Print whatever goes wrong, without a trace, and leave with its code: 1 failed, 2 usage, 75 resumable."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exc()
        notes = getattr(error, "__notes__", [])
        console.complain("\n".join([f"corecur: {_in_words(error)}", *notes]))
        raise SystemExit(_exit_code(error)) from None


def _exit_code(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return 128 + signal.SIGINT
    return error.exit_code if isinstance(error, CorecurError) else 1


def _in_words(error: BaseException) -> str:
    if isinstance(error, CorecurError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "stopped"
    if isinstance(error, OSError):
        return phrase("the system refused", where=error.filename, got=error.strerror or str(error))
    return phrase(
        "something went wrong that should not",
        got=f"{type(error).__name__}: {error}",
        do="run it again with --debug, and report what it prints",
    )


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


def _option_names(context: typer.Context) -> list[str]:
    """The long options of the running command, without their dashes."""
    names = (name for option in context.command.params for name in option.opts)
    return [name[2:] for name in names if name.startswith("--")]


def _command_line() -> str:
    return shlex.join(["corecur", *sys.argv[1:]])


def _say_nothing(line: str) -> None:
    """In place of what is said for people."""

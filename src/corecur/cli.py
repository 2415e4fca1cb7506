"""The command ``corecur``: a thin skin over the learners. What it does is told on standard output, progress and errors
on standard error; with ``--json`` standard output holds one JSON value and nothing else."""

from __future__ import annotations

from typing import Annotated

import typer

from corecur import console
from corecur.commands.answer_commands import evaluate, generate, predict
from corecur.commands.check_command import check
from corecur.commands.combine_command import combine
from corecur.commands.compare_command import compare
from corecur.commands.doctor_command import doctor
from corecur.commands.explain_command import explain
from corecur.commands.model_file_commands import info, sign, verify
from corecur.commands.train_command import train
from corecur.commands.tune_command import tune
from corecur.version import __version__

app = typer.Typer(
    name="corecur",
    help="Convolutional and recurrent networks from raw data to a served model.",
    epilog="Begin with: corecur train digits",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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


# Settings of a recipe are options that the command does not know itself.
_WITH_SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True}
# In the order in which --help shows them.
app.command()(check)
app.command(context_settings=_WITH_SETTINGS)(train)
app.command(context_settings=_WITH_SETTINGS)(tune)
for _command in (evaluate, predict, explain, generate, doctor, compare, combine, info, verify, sign):
    app.command()(_command)


def main() -> None:
    """The entry point of the command."""
    console.speak_any_language()
    console.say_notices_in_a_line()
    app()

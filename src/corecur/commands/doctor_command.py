"""The command ``doctor``: what is wrong with a training, and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from corecur import console
from corecur.commands.shell import Debug, Json, errors_for_people
from corecur.interruption import unwatch


def doctor(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, done, stopped or under way.")],
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Say what is wrong with a training, from what was measured while it ran: findings with evidence and remedy."""
    unwatch()
    with errors_for_people(debug):
        from corecur.learners.examination import examine

        found = examine(run)
        if json_:
            console.say_json(found.as_json())
            return
        console.say_diagnosis(found.findings)
        if found.is_sound:
            facts = found.as_json()
            console.say(f"nothing to complain about: {facts['looks']} looks in {facts['steps']:,} steps")

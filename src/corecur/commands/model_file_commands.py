"""The commands on model files: ``info``, ``verify``, ``sign``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from corecur import console
from corecur.commands.shell import Bundle, Debug, Json, errors_for_people
from corecur.interruption import unwatch


def info(bundle: Bundle, json_: Json = False, debug: Debug = False) -> None:
    """Show what a model file is, without loading its weights: task, classes, network, sizes."""
    unwatch()
    with errors_for_people(debug):
        from corecur.bundle.open import open_untrusted
        from corecur.learners.facts import facts_of
        from corecur.run_folder import find_bundle

        facts = facts_of(open_untrusted(find_bundle(bundle)))
        if json_:
            console.say_json(facts.as_json())
        else:
            console.say(facts.as_text())


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
    with errors_for_people(debug):
        from corecur.learners.verification import verify
        from corecur.run_folder import find_bundle

        found = verify(find_bundle(bundle), key=key)
        if json_:
            console.say_json(found.as_json())
        else:
            console.say_listing(found.listing())
        if found.error is not None:
            raise found.error


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
    with errors_for_people(debug):
        from corecur.bundle.open import open_untrusted
        from corecur.bundle.signature import sign
        from corecur.run_folder import find_bundle

        path = sign(open_untrusted(find_bundle(bundle)), key)
        if json_:
            console.say_json({"signature": str(path)})
        else:
            console.say(f"signature: {path}")

"""The command ``explain``: what an answer of a model rests on, as pictures, words or JSON."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from corecur import console
from corecur.commands.shell import DATA, OUTPUT, Bundle, Debug, Device, Json, SkipBad, errors_for_people
from corecur.interruption import unwatch

if TYPE_CHECKING:
    from corecur.explain.attribution import Explanation

_LONGEST_NAME = 60


def explain(
    bundle: Bundle,
    sources: Annotated[
        list[str], typer.Argument(metavar="INPUT…", help="What to explain the answers for, as predict takes it; - too.")
    ],
    method: Annotated[
        str,
        typer.Option(
            help="auto, gradient, input-gradient, smoothgrad, integrated-gradients, grad-cam, occlusion, lime, "
            "kernel-shap, gradient-shap, attention; or to look inside: filters, activations, states, neighbours."
        ),
    ] = "auto",
    label: Annotated[
        str | None,
        typer.Option(
            help="The class to explain (a tagger: WORD or WORD=TAG; a forecaster: a column); by default the answer."
        ),
    ] = None,
    layer: Annotated[str | None, typer.Option(help="The layer that grad-cam, filters and activations look at.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many samples at most.", rich_help_panel=DATA)] = 3,
    train: Annotated[
        str | None,
        typer.Option("--train", metavar="SOURCE", help="The training data, for neighbours.", rich_help_panel=DATA),
    ] = None,
    samples: Annotated[int | None, typer.Option(min=4, help="Draws of lime, the SHAP methods and smoothgrad.")] = None,
    check: Annotated[bool, typer.Option("--check/--no-check", help="Measure how faithful it is.")] = True,
    seed: Annotated[int, typer.Option(help="The same seed gives the same explanation.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            help="A folder for the pictures, or a PNG file for one; by default explanations/.", rich_help_panel=OUTPUT
        ),
    ] = None,
    device: Device = "auto",
    skip_bad: SkipBad = False,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Show what an answer rests on: which pixels, words or steps speak for it, and whether that can be believed."""
    unwatch()
    with errors_for_people(debug):
        from corecur.explain.drawing import write_picture
        from corecur.learners.tasks import load_learner

        learner = load_learner(bundle, device=device)
        found = learner.explain(
            [Path(source) for source in sources], method=method, target=label, layer=layer, limit=limit, known=train,
            samples=samples, check=check, seed=seed, skip_bad=skip_bad,
        )  # fmt: skip
        folder = out if out is not None else None if json_ else Path("explanations")
        pictures = [] if folder is None else _pictures(found, folder)
        for path, explanation in zip(pictures, found, strict=False):
            write_picture(explanation, path)
        if json_:
            values = [explanation.as_json() for explanation in found]
            for value, path in zip(values, pictures, strict=False):
                value["picture"] = str(path)
            console.say_json(values)
            return
        for explanation, path in zip(found, pictures, strict=True):
            _say(explanation, path)


def _pictures(found: list[Explanation], out: Path) -> list[Path]:
    """Where the picture of each explanation goes: no two to one place."""
    if out.suffix.casefold() == ".png" and not out.is_dir():
        names = [out.stem] + [f"{out.stem}-{number}" for number in range(2, len(found) + 1)]
        return [out.with_name(f"{name}.png") for name in names[: len(found)]]
    taken: dict[str, int] = {}
    paths = []
    for one in found:
        stem = re.sub(r"[^\w.-]+", "_", Path(one.name).name).strip("._")[-_LONGEST_NAME:] or "sample"
        name = f"{stem}-{one.method}"
        taken[name] = taken.get(name, 0) + 1
        paths.append(out / (f"{name}.png" if taken[name] == 1 else f"{name}-{taken[name]}.png"))
    return paths


def _say(explanation: Explanation, path: Path) -> None:
    """One explanation in words."""
    from corecur.explain.attribution import Attribution

    console.say(f"{explanation.name}: {explanation.heading()} ({explanation.seconds:.2f} s)")
    if isinstance(explanation, Attribution):
        rows: list[tuple[str, str]] = [(name, f"{value:+.4g}") for name, value in explanation.top()]
        console.say_listing((("what matters most", "score"), rows, ""))
        if explanation.faithfulness is not None:
            mark = "" if explanation.faithfulness.is_faithful else "! "
            console.say(f"{mark}{explanation.faithfulness.sentence()}")
    else:
        for panel in explanation.panels:
            console.say(f"  {panel.title}")
    for note in explanation.notes:
        console.say(note)
    console.say(f"picture: {path}\n")

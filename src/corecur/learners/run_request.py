"""What a run was asked for: kept in its folder, so that it can be gone on with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from corecur.errors import RunError

_HALF_PAIR = re.compile(r"\\u(dc[89a-f][0-9a-f])")


class RunRequest(BaseModel):
    """The arguments of a training; places are absolute, so that they hold in another folder.

    >>> RunRequest.of("digits", validation=0.1).source
    'digits'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str | None
    validation: str | float | None = None
    test: str | float | None = None
    skip_bad: bool = False
    seconds: float | None = None
    save_every: str = "1m"
    heal: bool = False
    settings: dict[str, Any] = Field(default_factory=dict)
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    deterministic: bool = False
    baseline: str = "auto"
    split_seed: int | None = None

    @field_validator("source", "validation", "test")
    @classmethod
    def _as_the_system_spells_it(cls, place: str | float | None) -> str | float | None:
        return _spelled(place) if isinstance(place, str) else place

    @classmethod
    def of(cls, source: Any, *, validation: Any = None, test: Any = None, **more: Any) -> RunRequest:
        """A request for a source that can be read again; ``source`` is None for one that was given as values."""
        places = {"source": source, "validation": validation, "test": test}
        kept: dict[str, Any] = {name: _lasting(value) for name, value in places.items()}
        if any(value is not None and kept[name] is None for name, value in places.items()):
            kept["source"] = None
        return cls(**kept, **more)

    @classmethod
    def in_config(cls, config: Mapping[str, Any], *, where: Path) -> RunRequest:
        """The request in a run's ``config.json``; RunError where there is none."""
        try:
            return cls.model_validate(config.get("request"))
        except ValidationError as error:
            raise RunError(
                "this run cannot be gone on with: its config.json does not say what was asked for",
                where=where,
                got=error.errors()[0]["msg"],
                do="train again",
            ) from error


def recipe_in(config: Mapping[str, Any], *, task: str, where: Path) -> dict[str, Any]:
    """The settings that a run of a task began with; RunError where ``config.json`` is of another task or program.

    >>> recipe_in({"task": "tagging", "recipe": {"epochs": 3}}, task="tagging", where=Path("runs/a"))
    {'epochs': 3}
    """
    recipe = config.get("recipe")
    if config.get("task") != task or not isinstance(recipe, dict):
        got = config.get("task", "a config.json that another program wrote")
        raise RunError("this is a run of another task", where=where, got=got, expected=task)
    return recipe


def _spelled(place: str) -> str:
    """A path as the system spells it: bytes of it that are no text stand in ``config.json`` as ``\\udcff``."""
    spelled = _HALF_PAIR.sub(lambda half: chr(int(half[1], 16)), place)
    return spelled if spelled != place and Path(spelled).exists() else place


def _lasting(value: Any) -> str | float | None:
    """A source in words that hold tomorrow and elsewhere; None for arrays and other values."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    if not isinstance(value, (str, Path)):
        return None
    path = Path(value).expanduser()
    return str(path.resolve()) if path.exists() else str(value)

"""Settings given by name: checked against the models that know them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from corecur.errors import ConfigError, nearest

M = TypeVar("M", bound=BaseModel)


def checked_settings(model: type[M], settings: Mapping[str, Any], *, known: Mapping[str, Any] | None = None) -> M:
    """A model of these settings and plain defaults; ConfigError for a name it does not have or a wrong value.

    >>> class Recipe(BaseModel):
    ...     epochs: int = 3
    >>> checked_settings(Recipe, {"epochs": "5"}).epochs
    5
    """
    names = model.model_fields if known is None else known
    for name in settings:
        if name not in model.model_fields:
            guess = nearest(name, names)
            raise ConfigError(
                f"the recipe has no setting {name!r}",
                expected=", ".join(names),
                do=f"did you mean {guess!r}?" if guess else None,
            )
    try:
        return model(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        wanted = first["msg"].removeprefix("Input should be ").removeprefix("a valid ").removeprefix("Value error, ")
        where = str(first["loc"][0]) if first["loc"] else ""
        raise ConfigError(
            f"the setting {where!r} is wrong" if where else "the settings do not go together",
            got=repr(settings[where]) if where in settings else None,
            expected=wanted,
        ) from error


def divided(
    settings: Mapping[str, Any], reading: type[BaseModel], recipe: type[BaseModel]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings of how a source is read, and settings of the recipe; ConfigError for a name that neither has.

    >>> class Reading(BaseModel):
    ...     encoding: str = "utf-8"
    >>> class Recipe(BaseModel):
    ...     epochs: int = 3
    >>> divided({"epochs": 1, "encoding": "latin-1"}, Reading, Recipe)
    ({'encoding': 'latin-1'}, {'epochs': 1})
    """
    of_reading = {name: value for name, value in settings.items() if name in reading.model_fields}
    of_recipe = {name: value for name, value in settings.items() if name not in of_reading}
    unknown = {name: value for name, value in of_recipe.items() if name not in recipe.model_fields}
    if unknown:
        checked_settings(recipe, unknown, known=recipe.model_fields | reading.model_fields)
    return of_reading, of_recipe

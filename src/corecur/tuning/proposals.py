"""Which trial comes next: one that a dead process left, else a new one, whose settings follow from its number.

Trial 0 is the default recipe. The settings of trial n are a function of the seed, n and, with TPE (Bergstra et al.
2011, "Algorithms for hyper-parameter optimization"), of the trials that have ended before it: it does not matter which
process draws them, or how often it was killed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from corecur.tuning.open_study import OpenStudy
from corecur.tuning.search_space import Choice, Range, grid_points, label_of

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

#: The end of a trial that was not trained at all: it does not count where a number of trials is asked for.
REFUSED = "refused"
# After so many refused ones in a row, nothing in the space fits the limits.
_MOST_REFUSED = 50
# Trials drawn at random before TPE takes over.
_DRAWN_FIRST = 8


def claim_trial(
    book: OpenStudy, *, trials: int | None, ask: bool, default: Callable[[], Mapping[str, Any]]
) -> FrozenTrial | None:
    """A trial for this process alone, with its settings; None where nothing is left to do for it.

    ``ask=False`` takes only what a dead process left. ``default`` gives the settings of the default recipe.
    """
    taken = _take_over(book)
    if taken is None and ask:
        with book.leases.alone(_key_of_asking(book)):
            trial_id = _create(book, trials)
        if trial_id is None:
            return None
        taken = trial_id if book.leases.claim(trial_id) else None
        if taken is None:  # another process was quicker
            return claim_trial(book, trials=trials, ask=ask, default=default)
    if taken is None:
        return None
    if "settings" not in book.storage.get_trial(taken).user_attrs:
        with book.leases.alone(_key_of_asking(book)):
            _propose(book, taken, default)
    return book.storage.get_trial(taken)


def _key_of_asking(book: OpenStudy) -> int:
    """The lease on making trials: trials have positive ids."""
    return -1 - book.id


def _take_over(book: OpenStudy) -> int | None:
    from optuna.trial import TrialState

    for trial in book.trials():
        trial_id = trial._trial_id
        if trial.state == TrialState.RUNNING and book.leases.claim(trial_id):
            if book.storage.get_trial(trial_id).state == TrialState.RUNNING:
                return trial_id
            book.leases.release(trial_id)
    return None


def _create(book: OpenStudy, trials: int | None) -> int | None:
    """A new trial, where one more is wanted; its id."""
    ends = [trial.user_attrs.get("end") for trial in book.trials()]
    full = trials is not None and len(ends) - ends.count(REFUSED) >= trials
    grid = book.request.sampler == "grid"
    covered = grid and len(ends) > len(grid_points(book.request.space, book.request.per_range))
    hopeless = not grid and len(ends) >= _MOST_REFUSED and set(ends[-_MOST_REFUSED:]) == {REFUSED}
    if full or covered or hopeless:
        return None
    return book.storage.create_new_trial(book.id)


def _propose(book: OpenStudy, trial_id: int, default: Callable[[], Mapping[str, Any]]) -> None:
    """Give a trial its settings; what a dead process gave it already stays."""
    space, number = book.request.space, book.storage.get_trial(trial_id).number
    settings: dict[str, Any] = {}
    if number == 0:
        usual = default()
        _set(book, trial_id, {name: usual[name] for name, kind in space.items() if kind.holds(usual.get(name))})
    elif book.request.sampler == "grid":
        settings = grid_points(space, book.request.per_range)[number - 1]
        _set(book, trial_id, settings)
    else:
        settings = _drawn(book, trial_id, number)
    book.note(trial_id, settings=settings)


def _set(book: OpenStudy, trial_id: int, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        kind = book.request.space[name]
        distribution = distribution_of(kind)
        shown = label_of(value) if isinstance(kind, Choice) else value
        book.storage.set_trial_param(trial_id, name, distribution.to_internal_repr(shown), distribution)


def _drawn(book: OpenStudy, trial_id: int, number: int) -> dict[str, Any]:
    from optuna.trial import Trial

    book.study.sampler = sampler_of(book.request.sampler, book.request.seed, number)
    trial, settings = Trial(book.study, trial_id), {}
    for name, kind in book.request.space.items():
        if isinstance(kind, Choice):
            settings[name] = kind.setting(trial.suggest_categorical(name, kind.labels))
        elif kind.whole:
            settings[name] = kind.setting(trial.suggest_int(name, int(kind.low), int(kind.high), log=kind.log))
        else:
            settings[name] = kind.setting(trial.suggest_float(name, kind.low, kind.high, log=kind.log))
    return settings


def sampler_of(name: str, seed: int, number: int) -> BaseSampler:
    """What draws trial ``number``: made anew for each, so that it is the same in every process and after every kill.

    >>> type(sampler_of("random", seed=0, number=3)).__name__
    'RandomSampler'
    """
    from optuna import samplers

    drawn = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    if name == "random":
        return samplers.RandomSampler(seed=drawn)
    return samplers.TPESampler(seed=drawn, n_startup_trials=_DRAWN_FIRST)


def distribution_of(kind: Range | Choice) -> BaseDistribution:
    """A dimension in Optuna's words.

    >>> distribution_of(Range(low=1, high=8, whole=True))
    IntDistribution(high=8, log=False, low=1, step=1)
    """
    from optuna import distributions

    if isinstance(kind, Choice):
        return distributions.CategoricalDistribution(kind.labels)
    if kind.whole:
        return distributions.IntDistribution(int(kind.low), int(kind.high), log=kind.log)
    return distributions.FloatDistribution(kind.low, kind.high, log=kind.log)

"""The states of all global random generators: Python's, NumPy's, torch's and those of its devices."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from corecur.errors import BundleError

# The Mersenne Twister's state (Matsumoto & Nishimura 1998): 624 words of 32 bits, and the place of the next one.
_WORDS = 624


def random_states() -> dict[str, Any]:
    """The state of every global generator as tensors and numbers, which a checkpoint can hold.

    >>> before = random_states()
    >>> first = torch.rand(3)
    >>> set_random_states(before)
    >>> torch.equal(first, torch.rand(3))
    True
    """
    _, words, gauss = random.getstate()
    _, keys, place, has_gauss, cached = np.random.get_state(legacy=True)
    states: dict[str, Any] = {
        "python": {"words": torch.tensor(words, dtype=torch.int64), "gauss": gauss},
        "numpy": {
            "words": torch.from_numpy(np.append(np.asarray(keys, np.int64), np.int64(place))),
            "gauss": float(cached) if has_gauss else None,
        },
        "cpu": torch.get_rng_state(),
    }
    if torch.cuda.is_available() and torch.cuda._initialized:
        states["cuda"] = torch.cuda.get_rng_state_all()
    if torch.backends.mps.is_available():
        states["mps"] = torch.mps.get_rng_state()
    return states


def set_random_states(states: Mapping[str, Any]) -> None:
    """Take over what ``random_states`` returned; BundleError, before any generator is touched, for what is none."""
    python, python_gauss = _twister(states, "python")
    numpy, numpy_gauss = _twister(states, "numpy")
    cpu = states.get("cpu")
    if not _is_like(cpu, torch.get_rng_state()):
        raise _no_state("cpu")
    random.setstate((3, tuple(python), python_gauss))
    cached = 0.0 if numpy_gauss is None else numpy_gauss
    np.random.set_state(("MT19937", np.array(numpy[:-1], np.uint32), numpy[-1], int(numpy_gauss is not None), cached))
    try:
        torch.set_rng_state(cpu)  # type: ignore[arg-type]  # a tensor: checked above
    except RuntimeError as error:
        raise _no_state("cpu") from error
    _set_device_states(states)


def _set_device_states(states: Mapping[str, Any]) -> None:
    if "cuda" in states and torch.cuda.is_available():
        found = states["cuda"]
        if not isinstance(found, list) or not all(map(_is_like, found, torch.cuda.get_rng_state_all())):
            raise _no_state("cuda")
        torch.cuda.set_rng_state_all(found[: torch.cuda.device_count()])
    if "mps" in states and torch.backends.mps.is_available():
        if not _is_like(states["mps"], torch.mps.get_rng_state()):
            raise _no_state("mps")
        torch.mps.set_rng_state(states["mps"])


def _twister(states: Mapping[str, Any], name: str) -> tuple[list[int], float | None]:
    """Words and place of a Mersenne Twister, and a number that waits; a place out of range would read other memory."""
    found = states.get(name)
    words, gauss = (found.get("words"), found.get("gauss")) if isinstance(found, Mapping) else (None, None)
    if not isinstance(words, Tensor) or words.dtype != torch.int64 or words.shape != (_WORDS + 1,):
        raise _no_state(name)
    values: list[int] = words.tolist()
    if not all(0 <= word < 2**32 for word in values) or not 0 <= values[-1] <= _WORDS:
        raise _no_state(name)
    if gauss is not None and type(gauss) is not float:
        raise _no_state(name)
    return values, gauss


def _is_like(found: Any, own: Tensor) -> bool:
    return isinstance(found, Tensor) and found.dtype == own.dtype and found.shape == own.shape


def _no_state(name: str) -> BundleError:
    return BundleError("bad-state", f"the state of the random generator {name!r} is none that it can have")

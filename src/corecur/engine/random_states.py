"""The states of all global random generators: Python's, NumPy's, torch's and those of its devices."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from corecur.errors import BundleError

# The Mersenne Twister's state (Matsumoto & Nishimura 1998): 624 words of 32 bits, and the place of the next one.
_WORDS = 624


def random_states(generators: Sequence[torch.Generator] = ()) -> dict[str, Any]:
    """The state of every global generator, and of these, as tensors and numbers, which a checkpoint can hold.

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
        "own": [generator.get_state() for generator in generators],
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        states["cuda"] = torch.cuda.get_rng_state_all()
    if torch.backends.mps.is_available():
        states["mps"] = torch.mps.get_rng_state()
    return states


def set_random_states(states: Mapping[str, Any], generators: Sequence[torch.Generator] = ()) -> None:
    """Take over what ``random_states`` returned; BundleError, before any generator is touched, for what is none."""
    checked = check_random_states(states, generators)
    (python, python_gauss), (numpy, numpy_gauss) = checked["python"], checked["numpy"]
    random.setstate((3, tuple(python), python_gauss))
    cached = 0.0 if numpy_gauss is None else numpy_gauss
    np.random.set_state(("MT19937", np.array(numpy[:-1], np.uint32), numpy[-1], int(numpy_gauss is not None), cached))
    torch.set_rng_state(checked["cpu"])
    for number, state in enumerate(checked["cuda"]):
        torch.cuda.set_rng_state(state, number)
    if checked["mps"] is not None:
        torch.mps.set_rng_state(checked["mps"])
    for generator, state in zip(generators, checked["own"], strict=True):
        generator.set_state(state)


def check_random_states(states: Mapping[str, Any], generators: Sequence[torch.Generator] = ()) -> dict[str, Any]:
    """The states of the generators that are here, by name; BundleError where one is none that it can have."""
    mps = states.get("mps") if torch.backends.mps.is_available() else None
    own = states.get("own")
    if not isinstance(own, list) or len(own) < len(generators):
        raise _no_state("own")
    return {
        "python": _twister(states, "python"),
        "numpy": _twister(states, "numpy"),
        "cpu": _checked(states.get("cpu"), torch.device("cpu")),
        "cuda": _for_cuda(states.get("cuda")),
        "mps": None if mps is None else _checked(mps, torch.device("mps")),
        "own": [_checked(state, generator.device) for state, generator in zip(own, generators, strict=False)],
    }


def _for_cuda(found: Any) -> list[Tensor]:
    """The states of the devices that are here as well as in the checkpoint."""
    if found is None or not torch.cuda.is_available():
        return []
    if not isinstance(found, list):
        raise _no_state("cuda")
    here = found[: torch.cuda.device_count()]
    return [_checked(state, torch.device("cuda", number)) for number, state in enumerate(here)]


def _checked(state: Any, device: torch.device) -> Tensor:
    """A state that a generator of this device can have: one that nobody else draws from has taken it over."""
    generator = torch.Generator(device)
    own = generator.get_state()
    if not isinstance(state, Tensor) or state.dtype != own.dtype or state.shape != own.shape:
        raise _no_state(device.type)
    try:
        generator.set_state(state)
    except RuntimeError as error:
        raise _no_state(device.type) from error
    return state


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


def _no_state(name: str) -> BundleError:
    return BundleError("bad-state", f"the state of the random generator {name!r} is none that it can have")

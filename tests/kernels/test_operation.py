"""Native functions as operations: who sees them, and that nobody does where nobody looks."""

from __future__ import annotations

import contextlib
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from corecur.kernels.operation import operation

_GIVEN = (torch.tensor([1.0, 2.0]), [torch.ones(2), None], 3.0)


def _run(x: Tensor, others: list[Tensor | None], factor: float) -> tuple[Tensor, Tensor]:
    _last[:] = [(factor * sum(other for other in others if other is not None) + x, x.square())]
    return _last[0]


_last: list[tuple[Tensor, Tensor]] = []
_seen = operation(
    "seen_by_tests(Tensor x, Tensor?[] others, float factor) -> (Tensor, Tensor)",
    _run,
    lambda x, *_: (torch.empty_like(x), torch.empty_like(x)),
)


class Names(TorchDispatchMode):
    """The names of the operations that torch dispatches."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


class Own(Tensor):
    """A class that torch asks before it runs an operation."""

    names: ClassVar[list[str]] = []

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        cls.names.append(str(func))
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("autograd", [contextlib.nullcontext, torch.no_grad, torch.inference_mode])
def test_where_nothing_watches_the_function_itself_answers(autograd: Any) -> None:
    with autograd():
        found = _seen(*_GIVEN)
    assert found is _last[0]
    dispatched = torch.ops.corecur.seen_by_tests(*_GIVEN)
    assert all(map(torch.equal, found, dispatched)) and found[0].tolist() == [4.0, 5.0]


def test_a_mode_sees_the_operation() -> None:
    with Names() as mode:
        _seen(*_GIVEN)
    assert "corecur.seen_by_tests.default" in mode.names


def test_a_profiler_sees_the_operation() -> None:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        _seen(*_GIVEN)
    assert "corecur::seen_by_tests" in {event.key for event in profile.key_averages()}


@pytest.mark.parametrize("place", [0, 1])
def test_a_class_of_tensors_sees_the_operation_wherever_it_stands(place: int) -> None:
    x, others, factor = _GIVEN
    own = torch.ones(2).as_subclass(Own)
    Own.names.clear()
    _seen(own if place == 0 else x, [own, None] if place == 1 else others, factor)
    assert Own.names[0] == "corecur.seen_by_tests.default"


def test_tensors_without_values_give_such_ones() -> None:
    with FakeTensorMode() as mode:
        x = torch.empty(3)
    found = _seen(x, [mode.from_tensor(torch.ones(3))], 1.0)
    assert [tuple(t.shape) for t in found] == [(3,), (3,)] and type(found[0]) is type(x)


def test_a_compiler_follows_it() -> None:
    run = torch.compile(lambda x: _seen(x, [x, None], 2.0)[0], backend="eager", fullgraph=True)
    assert run(torch.ones(2)).tolist() == [3.0, 3.0]

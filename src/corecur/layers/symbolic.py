"""Symbolic tensors: what ``Input`` returns and layers called on them pass on, and the shapes they get."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

Shape = tuple[int | None, ...]

# Unknown sizes are tried as each of these: an output size that differs between the two is unknown as well.
# Both divide by 2, 3, 4, 6, 8, 12, 16 and 24, so pooling and reshaping find what they need.
_TRIAL_SIZES = (96, 144)
LARGEST_TRIAL = max(_TRIAL_SIZES)


class SymbolicTensor:
    """A tensor that is not there yet: its shape with None for sizes not known, its dtype and the node that makes it.

    >>> SymbolicTensor((None, 28, 28, 1)).shape
    (None, 28, 28, 1)
    """

    def __init__(
        self, shape: Shape, *, dtype: torch.dtype = torch.float32, node: Node | None = None, name: str | None = None
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self.node = node
        self.name = name

    def __repr__(self) -> str:
        return f"SymbolicTensor(shape={self.shape}, dtype={self.dtype})"

    @property
    def ndim(self) -> int:
        """Number of axes, the batch axis included."""
        return len(self.shape)


class Node:
    """One call of a layer on symbolic tensors: its arguments, nested as they were given, and its outputs."""

    def __init__(self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.layer = layer
        self.args = args
        self.kwargs = kwargs
        self.outputs: tuple[SymbolicTensor, ...] = ()

    @property
    def inputs(self) -> list[SymbolicTensor]:
        """The symbolic tensors among the arguments, in order."""
        return list(symbols_in((self.args, self.kwargs)))


def shape_of(x: Tensor) -> Shape:
    """The shape for a message: without the trial sizes while a layer runs on shapes alone.

    >>> shape_of(torch.empty(96, 28, device="meta"))
    (None, 28)
    """
    return tuple(None if x.is_meta and size in _TRIAL_SIZES else size for size in x.shape)


def symbols_in(value: Any) -> Iterator[SymbolicTensor]:
    """Every symbolic tensor in nested tuples, lists and dicts, in order."""
    if isinstance(value, SymbolicTensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from symbols_in(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from symbols_in(item)


def replace_symbols(value: Any, replacement: dict[int, Any]) -> Any:
    """The same nested structure with each symbolic tensor replaced by ``replacement[id(symbol)]``."""
    if isinstance(value, SymbolicTensor):
        return replacement[id(value)]
    if isinstance(value, (tuple, list)):
        return type(value)(replace_symbols(item, replacement) for item in value)
    if isinstance(value, dict):
        return {key: replace_symbols(item, replacement) for key, item in value.items()}
    return value


def trial_tensors(args: Any, kwargs: Any, *, trial: int, device: torch.device | str) -> tuple[Any, Any]:
    """The arguments with zeros of a trial size in place of the symbols."""
    found = {
        id(symbol): torch.zeros(
            [_TRIAL_SIZES[trial] if size is None else size for size in symbol.shape], dtype=symbol.dtype, device=device
        )
        for symbol in symbols_in((args, kwargs))
    }
    return replace_symbols(args, found), replace_symbols(kwargs, found)


def call_symbolically(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a built module on shapes alone and return symbolic tensors nested as its outputs are.

    The module runs twice on torch's meta device, which computes shapes and no numbers.

    >>> call_symbolically(nn.Linear(3, 5), (SymbolicTensor((None, 3)),), {}).shape
    (None, 5)
    """
    results = []
    with torch.no_grad():
        for trial in range(len(_TRIAL_SIZES)):
            trial_args, trial_kwargs = trial_tensors(args, kwargs, trial=trial, device="meta")
            results.append(run_on_shapes(module, trial_args, trial_kwargs))
    node = Node(module, args, kwargs)
    outputs = _symbols_from(results[0], results[1], node)
    node.outputs = tuple(symbols_in(outputs))
    return outputs


def run_on_shapes(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The module's outputs for tensors on the meta device, its own tensors put there for the time of the call.

    >>> run_on_shapes(nn.Linear(3, 5), (torch.empty(2, 3, device="meta"),), {}).shape
    torch.Size([2, 5])
    """
    # Each tensor of each module once: with a module under two names torch would put the wrong one back.
    state = {
        f"{path}.{name}".lstrip("."): torch.empty_like(tensor, device="meta")
        for path, inner in module.named_modules()
        for name, tensor in itertools.chain(inner._parameters.items(), inner._buffers.items())
        if tensor is not None
    }
    return functional_call(module, state, args, kwargs, tie_weights=False)


def _symbols_from(first: Any, second: Any, node: Node) -> Any:
    if isinstance(first, Tensor):
        shape = tuple(a if a == b else None for a, b in zip(first.shape, second.shape, strict=True))
        return SymbolicTensor(shape, dtype=first.dtype, node=node)
    if isinstance(first, (tuple, list)):
        return type(first)(_symbols_from(a, b, node) for a, b in zip(first, second, strict=True))
    if isinstance(first, dict):
        return {key: _symbols_from(value, second[key], node) for key, value in first.items()}
    return first

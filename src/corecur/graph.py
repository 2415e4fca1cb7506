"""The graph behind a functional model: which layer runs on what, in an order that works."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from corecur.errors import ConfigError, ShapeError
from corecur.layers.layer import Layer, snake_case
from corecur.layers.masks import call_plain, mask_of, with_mask
from corecur.layers.successive import most_at_once, run_at_once
from corecur.layers.symbolic import Node, SymbolicTensor, replace_symbols, symbols_in


class Graph:
    """The calls between ``inputs`` and ``outputs``, sorted so that each comes after what it needs.

    Without ``inputs``, every ``Input`` the outputs depend on is one, in the order they are reached.
    """

    def __init__(self, inputs: Any, outputs: Any) -> None:
        if not list(symbols_in(outputs)):
            raise ConfigError("a model's outputs are what layers return for an Input", got=type(outputs).__name__)
        if isinstance(outputs, (list, tuple)) and len(outputs) == 1:
            outputs = outputs[0]
        # In this order: a copy then meets each node after those it needs, and never follows a deep network down.
        self.nodes = list(_in_order(outputs, {id(s) for s in symbols_in(inputs)}))
        self.outputs = outputs
        self._chains = self._find_chains()
        found = list(_sources(self.nodes, outputs))
        self.inputs: list[SymbolicTensor] = list(symbols_in(inputs)) if inputs is not None else found
        missing = [s for s in found if all(s is not given for given in self.inputs)]
        if missing:
            raise ConfigError(
                "the outputs also depend on an Input that is not among the model's inputs",
                got=", ".join(repr(s) for s in missing),
                do="list it in Model(inputs=[…], outputs=…)",
            )

    def _find_chains(self) -> list[list[Node]]:
        """For each node: it and those that alone follow from it, where they may run together."""
        users: dict[int, list[Node]] = {}
        for node in self.nodes:
            for symbol in node.inputs:
                users.setdefault(id(symbol), []).append(node)
        asked_for = {id(symbol) for symbol in symbols_in(self.outputs)}
        chains = []
        for node in self.nodes:
            longest, chain = most_at_once(node.layer), [node] if _is_simple(node) else []
            while chain and len(chain) < longest and id(chain[-1].outputs[0]) not in asked_for:
                following = users.get(id(chain[-1].outputs[0]), [])
                if len(following) != 1 or not _is_simple(following[0]):
                    break
                chain.append(following[0])
            chains.append(chain if len(chain) > 1 else [])
        return chains

    @property
    def layers(self) -> list[nn.Module]:
        """The layers in order of their first call; a shared layer once."""
        return list({id(node.layer): node.layer for node in self.nodes}.values())

    def run(self, inputs: tuple[Any, ...]) -> Any:
        """Run the graph on tensors (or symbols), one for each input."""
        if len(inputs) == 1 and isinstance(inputs[0], (list, tuple)):
            inputs = tuple(inputs[0])
        if len(inputs) != len(self.inputs):
            raise ShapeError(f"the model takes {len(self.inputs)} inputs", got=len(inputs))
        values: dict[int, Any] = {
            id(symbol): as_input(value, symbol.dtype) for symbol, value in zip(self.inputs, inputs, strict=True)
        }
        done: set[int] = set()
        for node, chain in zip(self.nodes, self._chains, strict=True):
            if id(node) in done:
                continue
            found = run_at_once([each.layer for each in chain], values[id(node.args[0])]) if chain else None
            if chain and found is not None:
                values[id(chain[found[1] - 1].outputs[0])] = found[0]
                done |= {id(each) for each in chain[: found[1]]}
                continue
            if len(node.args) == 1 and isinstance(node.args[0], SymbolicTensor) and not node.kwargs:
                value = values[id(node.args[0])]
                result = node.layer(value) if isinstance(node.layer, Layer) else call_plain(node.layer, value)
            else:
                result = node.layer(*replace_symbols(node.args, values), **replace_symbols(node.kwargs, values))
            if len(node.outputs) == 1:
                values[id(node.outputs[0])] = result
            else:
                values |= {id(s): v for s, v in zip(node.outputs, _tensors_in(result), strict=True)}
        return replace_symbols(self.outputs, values)


def _is_simple(node: Node) -> bool:
    """Whether it is a call with one symbol that gives one."""
    symbol = len(node.args) == 1 and isinstance(node.args[0], SymbolicTensor)
    return symbol and not node.kwargs and len(node.outputs) == 1


def as_input(value: Any, dtype: torch.dtype) -> Any:
    """Whole numbers (pictures as they are stored) in the dtype of an Input of real numbers; all else as it is.

    >>> as_input(torch.tensor([3], dtype=torch.uint8), torch.float32)
    tensor([3.])
    """
    if not isinstance(value, Tensor) or value.is_floating_point() or not dtype.is_floating_point:
        return value
    converted, mask = value.to(dtype), mask_of(value)
    return converted if mask is None else with_mask(converted, mask)


def _in_order(outputs: Any, known: set[int]) -> Iterator[Node]:
    """Depth first and without recursion, so that a very deep network is no problem."""
    done: set[int] = set()
    stack = [(symbol.node, False) for symbol in reversed(list(symbols_in(outputs))) if id(symbol) not in known]
    while stack:
        node, expanded = stack.pop()
        if node is None or id(node) in done:
            continue
        if expanded:
            done.add(id(node))
            yield node
            continue
        stack.append((node, True))
        stack.extend((symbol.node, False) for symbol in reversed(node.inputs) if id(symbol) not in known)


def _sources(nodes: list[Node], outputs: Any) -> Iterator[SymbolicTensor]:
    seen: set[int] = set()
    for symbol in [s for node in nodes for s in node.inputs] + list(symbols_in(outputs)):
        if symbol.node is None and id(symbol) not in seen:
            seen.add(id(symbol))
            yield symbol


def _tensors_in(value: Any) -> Iterator[Any]:
    if isinstance(value, (Tensor, SymbolicTensor)):
        yield value
    else:
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors_in(item)


def unique_names(layers: list[nn.Module]) -> list[str]:
    """A name for each layer: the one it was given, or its kind in snake case with a number from the second on.

    A name that another model made up for a layer is kept where it is free.

    >>> unique_names([nn.ReLU(), nn.Linear(1, 1), nn.ReLU()])
    ['re_lu', 'linear', 're_lu_1']
    """
    given = [name for layer in layers if (name := _given_name(layer))]
    for name in given:
        if given.count(name) > 1:
            raise ConfigError(f"two layers are called {name!r}", do="give each layer of a model its own name")
        if "." in name or "/" in name:
            raise ConfigError("a layer's name has no dots or slashes", got=repr(name))
    taken, names = set(given), []
    for layer in layers:
        name = _given_name(layer)
        if not name:
            made_up = layer.name if isinstance(layer, Layer) else None
            kind, number = snake_case(type(layer).__name__), 0
            name = made_up or kind
            while name in taken:
                number += 1
                name = f"{kind}_{number}"
            taken.add(name)
        names.append(name)
    return names


def _given_name(layer: nn.Module) -> str | None:
    """The name a layer's maker gave it."""
    return layer.get_config().get("name") if isinstance(layer, Layer) else None

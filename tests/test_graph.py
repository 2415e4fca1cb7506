from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from corecur.errors import ConfigError, ShapeError
from corecur.graph import Graph, as_input, unique_names
from corecur.layers.dense import Dense
from corecur.layers.layer import Layer
from corecur.layers.merge import Add
from corecur.layers.symbolic import SymbolicTensor, call_symbolically


class Twice(Layer):
    """Counts how often it runs."""

    runs = 0

    def forward(self, x: Tensor) -> Tensor:
        self.runs += not x.is_meta
        return 2 * x


class Parts(Layer):
    """Nested outputs, one of them by a keyword argument."""

    def forward(self, x: Tensor, *, shift: Tensor) -> dict[str, Any]:
        return {"sum": x + shift, "pair": (x, [shift])}


def start(size: int = 3) -> SymbolicTensor:
    return SymbolicTensor((None, size))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12))
@settings(max_examples=40, deadline=None)
def test_any_network_of_sums_runs_as_it_was_written(edges: list[tuple[int, int]]) -> None:
    add, tensors = Add(), [start()]
    values = [torch.tensor([[1.0, 2.0, 3.0]])]
    for a, b in edges:
        a, b = a % len(tensors), b % len(tensors)
        tensors.append(add([tensors[a], tensors[b]]))
        values.append(values[a] + values[b])
    graph = Graph(tensors[0], [tensors[-1], tensors[len(tensors) // 2]])
    found = graph.run((values[0],))
    assert torch.equal(found[0], values[-1])
    assert torch.equal(found[1], values[len(tensors) // 2])


def test_each_node_comes_after_what_it_needs_and_runs_once() -> None:
    x, twice = start(), Twice()
    shared = twice(x)
    graph = Graph(x, Add()([Dense(3)(shared), shared, Dense(3)(shared)]))
    done = {id(x)}
    for node in graph.nodes:
        assert all(id(symbol) in done for symbol in node.inputs)
        done |= {id(symbol) for symbol in node.outputs}
    graph.run((torch.ones(1, 3),))
    assert twice.runs == 1
    assert [type(layer).__name__ for layer in graph.layers] == ["Twice", "Dense", "Dense", "Add"]


def test_what_the_outputs_do_not_need_is_left_out() -> None:
    x = start()
    kept, left_out = Twice(), Twice()
    left_out(kept(x))
    assert Graph(x, kept(x)).layers == [kept]


def test_a_model_may_begin_in_the_middle() -> None:
    x = start()
    middle = Dense(4)(x)
    end = Dense(2)(middle)
    graph = Graph(middle, end)
    assert len(graph.nodes) == 1
    assert graph.run((torch.zeros(5, 4),)).shape == (5, 2)


def test_the_outputs_may_be_the_inputs() -> None:
    x = start()
    assert Graph(x, [x, x]).run((torch.ones(1, 3),))[1].shape == (1, 3)


def test_nested_arguments_and_outputs() -> None:
    x, y = start(), start()
    made = Parts()(x, shift=y)
    graph = Graph([x, y], {"first": made["pair"][1][0], "all": [made["sum"], made["pair"][0]]})
    a, b = torch.ones(1, 3), torch.full((1, 3), 5.0)
    found = graph.run((a, b))
    assert torch.equal(found["first"], b)
    assert torch.equal(found["all"][0], a + b)
    assert torch.equal(found["all"][1], a)


def test_torch_modules_are_nodes_too() -> None:
    x, linear = start(), nn.Linear(3, 2)
    graph = Graph(x, call_symbolically(linear, (x,), {}))
    value = torch.randn(4, 3)
    assert torch.equal(graph.run((value,)), linear(value))


def test_one_tensor_for_each_input() -> None:
    x, y = start(), start()
    graph = Graph([x, y], Add()([x, y]))
    assert torch.equal(graph.run(([torch.ones(1, 3), torch.ones(1, 3)],)), torch.full((1, 3), 2.0))
    for given_inputs in ((torch.ones(1, 3),), (torch.ones(1, 3),) * 3):
        with pytest.raises(ShapeError, match=f"(?s)takes 2 inputs.*got: +{len(given_inputs)}"):
            graph.run(given_inputs)


def test_outputs_depend_on_given_inputs_only() -> None:
    x, y = start(), start(5)
    with pytest.raises(ConfigError, match=r"(?s)not among the model's inputs.*\(None, 5\)"):
        Graph(x, Add()([x, Dense(3)(y)]))
    with pytest.raises(ConfigError, match="outputs are what layers return"):
        Graph(x, [])


def test_a_copy_of_a_deep_graph() -> None:
    x = h = start()
    for _ in range(2000):
        h = Add()([h, h])
    twin = copy.deepcopy(Graph(x, h))
    assert len(twin.nodes) == 2000


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        (torch.tensor([3], dtype=torch.uint8), torch.float32, torch.float32),
        (torch.tensor([True]), torch.float32, torch.float32),
        (torch.tensor([3]), torch.int32, torch.int64),  # for a layer of whole numbers
        (torch.tensor([3.0], dtype=torch.float64), torch.float32, torch.float64),
    ],
)
def test_whole_numbers_become_real_ones_where_those_are_wanted(
    value: Tensor, dtype: torch.dtype, expected: torch.dtype
) -> None:
    assert as_input(value, dtype).dtype == expected


def test_symbols_pass_through() -> None:
    symbol = start()
    assert as_input(symbol, torch.float32) is symbol


# names


def test_names_are_given_or_made_up() -> None:
    layers = [Dense(1), nn.ReLU(), Dense(1, name="dense_1"), Dense(1), nn.ReLU()]
    assert unique_names(layers) == ["dense", "re_lu", "dense_1", "dense_2", "re_lu_1"]


def test_a_made_up_name_makes_way_for_a_given_one() -> None:
    earlier = Dense(1)
    earlier.name = "dense"  # as another model named it
    assert unique_names([earlier, Dense(1)]) == ["dense", "dense_1"]
    assert unique_names([earlier, Dense(1, name="dense")]) == ["dense_1", "dense"]


@pytest.mark.parametrize("name", ["a.b", "a/b"])
def test_names_without_dots_and_slashes(name: str) -> None:
    with pytest.raises(ConfigError, match="no dots or slashes"):
        unique_names([Dense(1, name=name)])


def test_a_given_name_is_given_once() -> None:
    with pytest.raises(ConfigError, match="two layers are called 'a'"):
        unique_names([Dense(1, name="a"), Dense(2, name="a")])

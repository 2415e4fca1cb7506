"""The choice of a kernel is total, gives reasons, and an explicit request is met or refused."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from corecur import kernels
from corecur.errors import ConfigError
from corecur.kernels.cell import RECURRENCES
from corecur.kernels.choose import KERNELS, OWN, Choice, Request, asking_for, choose, explain, last_path
from corecur.kernels.library import PROCESSORS
from corecur.layers.activation import ACTIVATIONS
from corecur.layers.bidirectional import Bidirectional
from corecur.layers.lstm import LSTM
from corecur.layers.simple_rnn import SimpleRNN
from tests.kernels.needs_kernels import needs_kernels

EVERY = [
    Request(kind, activation=phi, recurrent_activation=sigma, recurrent_dropout=dropped, zoneout=zoned)
    for kind, phi, sigma, dropped, zoned in itertools.product(
        [*RECURRENCES, OWN, "?"], [*ACTIVATIONS, OWN], ["sigmoid", "hard_sigmoid", OWN], [False, True], [False, True]
    )
]


def test_every_request_gets_a_kernel_and_a_reason() -> None:
    for request in EVERY:
        choice = choose(request)
        assert choice.kernel in KERNELS
        assert choice.reason
        assert KERNELS[choice.kernel].refuses(request) is None
        assert explain(request).count("taken") == 1


@pytest.mark.parametrize(
    ("request_", "kernel", "reason"),
    [
        (Request("lstm", dtype="float64"), "fused", "not in float64"),
        (Request("gru", dtype="float64"), "fused", "not in float64"),
        (Request("simple_rnn", dtype="float64", activation="relu"), "fused", "not in float64"),
        (Request("simple_rnn", activation="relu", recurrent_activation="relu", dtype="float64"), "fused", "float64"),
        (Request("simple_rnn", dtype="float64", activation="elu"), "scripted loop", "tanh or relu"),
        (Request("classic_gru", dtype="float64"), "scripted loop", "no fused operation"),
        (Request("lstm", dtype="float64", recurrent_activation="hard_sigmoid"), "scripted loop", "hard_sigmoid"),
        (Request("lstm", dtype="float64", recurrent_dropout=True), "scripted loop", "recurrent dropout"),
        (Request("gru", dtype="float64", zoneout=True), "scripted loop", "zoneout"),
        (Request("gru", dtype="float64", activation=OWN), "python loop", "one's own"),
        (Request(OWN), "python loop", "one's own"),
        (Request("lstm", device="cuda"), "fused", "not in float32 on cuda"),
    ],
)  # fmt: skip
def test_what_is_chosen(request_: Request, kernel: str, reason: str) -> None:
    choice = choose(request_)
    assert choice.kernel == kernel
    assert reason in choice.reason


@needs_kernels
@pytest.mark.parametrize(("follows", "kernel"), [(True, "fused"), (False, "native")])
def test_autocast_takes_the_lstm_that_the_processor_has(
    follows: bool, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("corecur.kernels.choose"), "lstm_follows", lambda dtype: follows)
    assert choose(Request("lstm", autocast=True)).kernel == kernel


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_no_autocast_breaks_an_lstm_whatever_the_processor(dtype: torch.dtype) -> None:
    layer, x = LSTM(4, return_sequences=True), torch.randn(2, 3, 5)
    expected = layer(x)
    with torch.autocast("cpu", dtype=dtype):
        y = layer(x)
    assert torch.allclose(y.float(), expected, atol=0.05)
    y.float().sum().backward()


@needs_kernels
@pytest.mark.parametrize(
    "request_",
    [Request("lstm"), Request("gru", zoneout=True), Request("simple_rnn", activation="relu", recurrent_dropout=True)],
)
def test_the_native_kernels_come_first(request_: Request) -> None:
    assert choose(request_) == Choice("native", "corecur's own kernel over the whole sequence")


@needs_kernels
@pytest.mark.parametrize(
    ("changed", "kernel"),
    [
        ({}, "fused"),
        ({"kind": "gru"}, "native"),
        ({"kind": "peephole_lstm"}, "native"),
        ({"trained_rows": 0}, "native"),
        ({"trained_rows": 17}, "native"),
        ({"trained_rows": 1}, "fused"),
        ({"units": 256}, "native"),
        ({"units": 1024}, "native"),
        ({"zoneout": True}, "native"),
    ],
)
@pytest.mark.parametrize("processor", PROCESSORS)
def test_torch_trains_an_lstm_of_many_units_on_few_rows_on_intels(
    changed: dict[str, Any], kernel: str, processor: str, two_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("corecur.kernels.choose"), "processor", lambda: processor)
    asked = {"kind": "lstm", "units": 512, "trained_rows": 16} | changed
    choice = choose(Request(**asked))
    assert choice.kernel == (kernel if processor == "intel" else "native")
    assert (f"faster with {asked['units']} units and {asked['trained_rows']} rows" in choice.reason) == (
        choice.kernel == "fused"
    )


@needs_kernels
def test_one_thread_trains_it_by_our_own_kernel() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert choose(Request("lstm", units=512, trained_rows=1)).kernel == "native"
    finally:
        torch.set_num_threads(before)


def on_intels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Choose as such a processor does, whatever was chosen before."""
    module = importlib.import_module("corecur.kernels.choose")
    monkeypatch.setattr(module, "processor", lambda: "intel")
    monkeypatch.setattr(module, "_choose_again", module._choose_again.__wrapped__)


@needs_kernels
@pytest.mark.parametrize(("rows", "kernel"), [(1, "native"), (2, "fused")])
def test_one_row_in_both_directions_is_work_for_two_threads(
    rows: int, kernel: str, two_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_intels(monkeypatch)
    Bidirectional(LSTM(264))(torch.randn(rows, 3, 4))
    assert (last_path() or Choice("", "")).kernel == kernel


@needs_kernels
def test_only_whole_rows_in_training_are_told_to_the_choice(two_threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    on_intels(monkeypatch)
    layer, x = LSTM(264), torch.randn(2, 3, 4)
    taken = []
    for run in (
        lambda: layer(x),
        lambda: layer(x, mask=torch.tensor([[True, True, False], [True, True, True]])),
        lambda: layer.eval()(x),
        lambda: torch.no_grad()(layer.train())(x),
    ):
        run()
        taken.append((last_path() or Choice("", "")).kernel)
    assert taken == ["fused", "native", "native", "native"]
    with asking_for("native"):
        layer(x)
        assert last_path() == Choice("native", "it was asked for")


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_an_explicit_request_is_met_or_refused_with_the_reason() -> None:
    assert choose(Request("lstm"), asked="scripted loop") == Choice("scripted loop", "it was asked for")
    with pytest.raises(ConfigError, match=r"'fused' cannot run .* no fused operation for the kind classic_gru"):
        choose(Request("classic_gru"), asked="fused")
    with pytest.raises(ConfigError, match="scripted loop"):
        choose(Request("lstm"), asked="scriptd loop")


def test_the_last_path_is_what_ran() -> None:
    x = torch.zeros(1, 2, 3)
    LSTM(4)(x)
    assert kernels.last_path() == choose(Request("lstm"))
    SimpleRNN(4, "elu")(x)
    assert (last_path() or Choice("", "")).kernel == "scripted loop"


def test_asking_holds_inside_the_block_only() -> None:
    x, layer = torch.randn(2, 3, 3), LSTM(4)
    expected = layer(x)
    for kernel in ("scripted loop", "python loop"):
        with asking_for(kernel):
            torch.testing.assert_close(layer(x), expected)
            assert last_path() == Choice(kernel, "it was asked for")
    layer(x)
    assert last_path() == choose(Request("lstm"))
    with asking_for("fused"), pytest.raises(ConfigError, match="python loop|fused"):
        SimpleRNN(4, "elu")(x)

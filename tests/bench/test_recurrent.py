"""The contenders of ``bench.recurrent`` do the same work; how long anything takes is never tested."""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any

import numpy as np
import pytest
import torch

from bench import keras_cells, recurrent, sequences, step_blocks
from bench.contender import Contender
from bench.harness import largest_difference
from bench.sequences import Job
from bench.torch_cells import HandLoop, Ours, Packed, TorchLayers
from corecur.kernels.library import info

SMALL = {"batch": 5, "steps": 6, "shortest": 1, "features": 3, "units": 4}


@pytest.fixture(autouse=True)
def _short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_blocks, "BLOCK_SECONDS", 0.0)


def small(job: Job) -> Job:
    return dataclasses.replace(job, **SMALL)


def made(contender: Contender) -> Any:
    """The work of a contender over small sequences, in this process."""
    module, _, name = contender.maker.partition(":")
    return getattr(importlib.import_module(module), name)(small(contender.settings["job"]))


CASES = [recurrent.case(title, job, peers, []) for title, job, peers, _ in recurrent.JOBS]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_contenders_give_the_same_outputs_and_gradients(case: Any) -> None:
    works = [made(contender) for contender in case.contenders]
    proofs = [work.prove() for work in works]
    job = works[0].job
    assert len(proofs[0]) == sequences.lengths(job).sum() + 2 * job.layers * job.directions
    assert max(largest_difference(proof, proofs[0]) for proof in proofs) < 1e-4
    assert [work.run() for work in works] == [1] * len(works)


def test_a_mask_that_is_not_heeded_does_not_pass_the_gate() -> None:
    job = small(Job("lstm", 2, "left"))
    over_padding, packed = TorchLayers(job).prove(), Packed(job).prove()
    assert largest_difference(over_padding, packed) > 1e-2


def test_outputs_in_another_order_do_not_pass_the_gate() -> None:
    job = small(Job("gru"))
    y = np.random.default_rng(0).standard_normal((job.batch, job.steps, job.units)).astype(np.float32)
    assert largest_difference(sequences.proof(job, y[..., ::-1], []), sequences.proof(job, y, [])) > 1e-2


def test_proof_is_without_dropout_and_the_timed_step_with_it() -> None:
    job = small(Job("lstm", recurrent_dropout=0.5))
    for work in (Ours(job), HandLoop(job)):
        assert work.prove() == work.prove()
        first, second = work.step(), work.step()
        assert not torch.equal(first, second)


def test_rows_say_the_kernel_and_the_memory() -> None:
    first, looped = Ours(small(Job("lstm"))).facts(), Ours(small(Job("peephole_lstm"))).facts()
    assert first["kernel"] == ("native" if info().isa else "fused, oneDNN")
    assert looped["kernel"] == ("native" if info().isa else "scripted loop, step by step")
    assert TorchLayers(small(Job("gru", training=False))).facts()["kernel"] == "step by step"
    assert first["peak MiB"] is None or first["peak MiB"] >= 0


def test_lengths_and_padding() -> None:
    right, left = (small(Job("lstm", padding=side)) for side in ("right", "left"))
    lengths = sequences.lengths(right)
    assert lengths.max() == right.steps and lengths.min() >= right.shortest
    assert (sequences.real_steps(right)[:, 0]).all() and (sequences.real_steps(left)[:, -1]).all()
    assert (sequences.real_steps(left)[:, ::-1] == sequences.real_steps(right)).all()
    assert sequences.real_steps(small(Job("lstm"))).all()


def test_products_are_those_that_torch_counts() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    for cell, layers in (("peephole_lstm", 1), ("lstm", 2), ("classic_gru", 1)):
        job = small(Job(cell, layers))
        work = HandLoop(job)
        # the gradient of a recurrent product at the first step is counted by us and needed by nobody
        with FlopCounterMode(display=False) as counter:
            work.outputs()
        assert counter.get_total_flops() == sequences.flops(dataclasses.replace(job, training=False))
        assert sequences.flops(job) < 3 * counter.get_total_flops()


def test_keras_is_left_out_by_name_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras_cells.importlib.util, "find_spec", lambda name: None)
    assert keras_cells.engines() == ([], ["keras"])
    assert not any("Keras" in c.name for case in recurrent.cases() for c in case.contenders)


def test_weights_for_keras_are_ours() -> None:
    from corecur.layers.gru import GRU

    job = small(Job("gru"))
    layer = GRU(job.units)
    layer(torch.zeros(1, 2, job.features))
    layer.load_state_dict(
        {f"{name}_l0": torch.from_numpy(array) for name, array in sequences.weights(job)[0][0].items()}
    )
    for mine, theirs in zip(layer.get_weights(), keras_cells.keras_arrays(job), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("padding", [None, "right"])
@pytest.mark.parametrize("cell", ["simple_rnn", "lstm", "gru", "classic_gru"])
def test_keras_does_the_same_work(cell: str, padding: str | None) -> None:
    keras = pytest.importorskip("keras")
    if keras.backend.backend() not in keras_cells.ENGINES:
        pytest.skip("Keras runs on another engine here")
    job = small(Job(cell, 2, padding))
    theirs = getattr(keras_cells, keras_cells.ENGINES[keras.backend.backend()])(job)
    assert largest_difference(theirs.prove(), Ours(job).prove()) < 1e-4

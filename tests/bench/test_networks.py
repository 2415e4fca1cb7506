"""The contenders of ``bench.networks`` do the same work; how long anything takes is never tested."""

from __future__ import annotations

import dataclasses
import importlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench import keras_networks, network_jobs, network_truth, networks, step_blocks
from bench.contender import Contender
from bench.harness import CONTROL, GateError, Result, Standing, largest_difference, passed_gate
from bench.network_jobs import NETWORKS, NetworkJob
from bench.own_networks import OwnNetwork
from bench.ratio import Ratio
from bench.torch_networks import TorchNetwork, made
from corecur.kernels.library import info


@pytest.fixture(autouse=True)
def _short_and_alone(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(step_blocks, "BLOCK_SECONDS", 0.0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def truths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The truth of each network on four samples, by its name."""
    folder = tmp_path_factory.mktemp("truth")
    return {name: network_truth.write_truth(small(name), folder) for name in NETWORKS}


def small(name: str, mode: str = "training", truth: str | None = None) -> NetworkJob:
    return NetworkJob(name, mode, truth, batch=4, pool=2)


def work(contender: Contender) -> Any:
    module, _, name = contender.maker.partition(":")
    return getattr(importlib.import_module(module), name)(**contender.settings)


def eager(job: NetworkJob) -> list[Contender]:
    """Everybody in this process but the compilers."""
    return [c for c in networks.case(job, []).contenders if not c.settings.get("compiled")]


@pytest.mark.parametrize("mode", networks.MODES)
@pytest.mark.parametrize("name", NETWORKS)
def test_contenders_do_the_same_work(name: str, mode: str, truths: dict[str, str]) -> None:
    job = small(name, mode, truths[name])
    works = [work(contender) for contender in eager(job)]
    assert len(works) == (3 if job.network.kind == "Conv2D" else 2)
    proofs = [list(map(float, w.prove())) for w in works]
    assert max(largest_difference(proof, proofs[0]) for proof in proofs) < networks.TOLERANCE
    assert {w.run() for w in works} == {{"training": 2, "predict": 2, "single": 1}[mode]}
    for w in works:
        facts = w.facts()
        assert facts["output error"] < 5e-6
        assert mode != "training" or facts["gradient error"] < 2e-5
        assert facts["first call s"] > 0


@pytest.mark.parametrize("name", NETWORKS)
def test_losses_fall_and_every_batch_is_proved(name: str) -> None:
    w = OwnNetwork(small(name))
    first = list(w.prove())
    assert len(first) == 1 + 2
    for _ in range(20):
        w.train()
    assert w.prove()[0] < first[0]


def test_recurrent_networks_run_by_the_kernel_that_is_told() -> None:
    w = OwnNetwork(small("gru"))
    w.prove()
    assert w.facts()["kernel"] == ("native" if info().isa else "fused")


@pytest.mark.parametrize("spoil", ["gates", "step", "data"])
def test_other_work_does_not_pass_the_gate(spoil: str, truths: dict[str, str]) -> None:
    job = small("gru", "training", truths["gru"])
    honest, other = OwnNetwork(job), TorchNetwork(job)
    if spoil == "gates":  # the update gate's weights for the reset gate's
        with torch.no_grad():
            weight = other.network.stack.weight_hh_l0
            weight.copy_(torch.cat([weight[128:256], weight[:128], weight[256:]]))
    elif spoil == "data":
        other.y = other.y.roll(1)
    else:
        other.optimizer.step = lambda: None  # type: ignore[method-assign]
    if spoil == "step":  # its gradients are right: the losses tell
        proofs = list(honest.prove()), [float(loss) for loss in other.prove()]
        with pytest.raises(GateError):
            passed_gate([stand_in("ours", proofs[0]), stand_in("theirs", proofs[1])])
    else:
        with pytest.raises(ValueError, match="gradients of the first step are off"):
            other.prove()


def stand_in(name: str, proof: list[float]) -> Any:
    found = dataclasses.make_dataclass("StandIn", ["contender", "proof"])(Contender(name, ""), proof)
    found.prove = lambda: found.proof
    return found


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_go_to_torch_and_back(name: str) -> None:
    network = NETWORKS[name]
    arrays = network_jobs.weights(network)
    assert sum(array.size for array in arrays) > 10_000
    for channels_last in (False, True):
        module = made(small(name), channels_last=channels_last)
        back = module.to_keras([parameter.detach() for parameter in module.parameters()])
        for array, tensor in zip(arrays, back, strict=True):
            np.testing.assert_array_equal(tensor.numpy(), array)


@pytest.mark.parametrize("name", NETWORKS)
def test_products_are_those_that_torch_counts(name: str) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    network, module = NETWORKS[name], made(small(name))
    if network.kind != "Conv2D":  # torch counts no products of recurrences
        weights = sum(p.numel() for n, p in module.named_parameters() if n.startswith("stack.weight"))
        dense = module.dense.weight.numel() * (network.shape[0] if network.every_step else 1)
        assert network.flops(training=False) == 2 * (network.shape[0] * weights + dense)
        return
    x = torch.zeros(1, network.shape[2], *network.shape[:2])
    with FlopCounterMode(display=False) as counter:
        y = module(x)
        forward = counter.get_total_flops()
        y.sum().backward()
        both = counter.get_total_flops()
    assert forward == network.flops(training=False)
    assert both == network.flops(training=True)


def test_truth_is_what_torch_gives_in_double(tmp_path: Path) -> None:
    job = small("simple_rnn")
    path = network_truth.write_truth(job, tmp_path)
    with np.load(path) as held:
        outputs, *gradients = (held[name] for name in held.files)
    assert {a.dtype for a in (outputs, *gradients)} == {np.dtype(np.float64)}
    found = network_truth.errors(dataclasses.replace(job, truth=path), outputs * 1.5, gradients)
    assert found == {"output error": pytest.approx(0.5), "gradient error": 0.0}
    assert network_truth.errors(job, outputs) == {}


def test_every_target_is_a_floor_and_names_contenders() -> None:
    keras = list(keras_networks.CONTENDERS)
    for name, (training, predict, share) in networks.TARGETS.items():
        for mode in networks.MODES:
            case = networks.case(NetworkJob(name, mode), keras)
            names = {contender.name for contender in case.contenders}
            assert all(set(floor.of) <= names - {networks.OURS} for floor in case.floors)
            least = {floor.what: floor.least for floor in case.floors}
            wanted = {"training": {"Best peer": training, "Best Keras": 3.0}, "predict": {"Best peer": predict}}
            assert least == wanted.get(mode, {})
            assert case.share == (share if mode == "training" else None)


def test_only_the_truths_that_are_asked_for_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(networks, "write_truth", lambda job, folder: written.append(job.name) or f"{job.name}.npz")
    found = networks.cases("lstm")
    assert written == ["lstm"]
    assert [case.name for case in found] == ["lstm training", "lstm predict", "lstm single"]
    assert {c.settings["job"].truth for case in found for c in case.contenders} == {"lstm.npz"}
    assert len(networks.cases()) == 15


def result(*, peer: float, keras: float, share: float = 0.6) -> Result:
    job = NetworkJob("lstm")
    case = networks.case(job, ["Keras on JAX"])
    times = {networks.OURS: 1.0, "torch eager": 2.0, "torch.compile": peer, "Keras on JAX": keras, CONTROL: 1.0}
    standings = tuple(
        Standing(name, 10 * ratio, Ratio(ratio, ratio, ratio), 0.0, share / ratio, (10 * ratio,))
        for name, ratio in times.items()
    )
    return Result(
        case.name, case.title, case.unit, 2, standings, 200.0, case.judged, case.target,
        peak=case.peak, least_share=case.share, floors=case.floors,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("found", "met"),
    [
        (result(peer=1.6, keras=3.0), True),
        (result(peer=1.4, keras=3.0), False),
        (result(peer=1.6, keras=2.9), False),
        (result(peer=1.6, keras=3.0, share=0.4), False),
    ],
)
def test_summary_says_the_best_peer_and_whether_all_is_met(found: Result, met: bool) -> None:
    (row,) = networks.summary([found])["networks"]
    assert row["best peer"] == "torch.compile" and row["best Keras"] == "Keras on JAX"
    assert row["torch eager's ratio"].median == 2.0
    assert row["met"] is met is found.met


def test_keras_is_left_out_by_name_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras_networks.importlib.util, "find_spec", lambda name: None if name == "jax" else True)
    names, missing = keras_networks.installed()
    assert missing == ["jax"] and "Keras on JAX" not in names and "Keras on torch" in names
    monkeypatch.setattr(keras_networks.importlib.util, "find_spec", lambda name: None)
    assert keras_networks.installed()[0] == []


@pytest.mark.parametrize("name", NETWORKS)
def test_keras_does_the_same_work(name: str, truths: dict[str, str]) -> None:
    keras = pytest.importorskip("keras")
    for engine, maker, more in keras_networks.CONTENDERS.values():
        if engine == keras.backend.backend():
            for mode in networks.MODES:
                job = small(name, mode, truths[name])
                theirs, ours = getattr(keras_networks, maker)(job, **more), OwnNetwork(job)
                proof = [float(number) for number in theirs.prove()]
                assert largest_difference(proof, list(ours.prove())) < 2 * keras_networks.TOLERANCE
                assert math.isfinite(theirs.facts()["output error"])

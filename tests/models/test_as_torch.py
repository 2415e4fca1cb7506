"""Every model is a torch module: what torch does with one works.

N samples, K classes.
"""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corecur.engine.callbacks import EarlyStopping
from corecur.layers.conv import Conv2D
from corecur.layers.dense import Dense
from corecur.layers.merge import Add
from corecur.layers.norm import BatchNormalization
from corecur.layers.pool import MaxPooling2D
from corecur.layers.shape import Flatten
from corecur.models import Input, Model, Sequential

from .small import X, Y, compiled, same, weights_of

ROOT = Path(__file__).resolve().parents[2]
PICTURES = torch.randn(4, 8, 8, 1, generator=torch.Generator().manual_seed(0))


def chain() -> Model:
    torch.manual_seed(0)
    return Sequential(
        [
            Conv2D(3, 3, activation="relu", input_shape=(8, 8, 1)),
            BatchNormalization(),
            MaxPooling2D(),
            Flatten(),
            Dense(2),
        ]
    )


def functional() -> Model:
    torch.manual_seed(0)
    x = Input((8, 8, 1))
    h = Conv2D(3, 3, activation="relu")(x)
    return Model(x, Dense(2, "softmax")(Flatten()(Add()([h, Conv2D(3, 3, padding="same")(h)]))))


class Subclassed(Model):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.flatten, self.dense = Conv2D(3, 3, activation="relu"), Flatten(), Dense(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(self.flatten(self.conv(x)))


def subclassed() -> Model:
    torch.manual_seed(0)
    model = Subclassed()
    model(PICTURES)
    return model


every_kind = pytest.mark.parametrize("make", [chain, functional, subclassed])
Make = Callable[[], Model]


@every_kind
def test_a_deep_copy_has_weights_of_its_own(make: Make) -> None:
    model = make().eval()
    twin = copy.deepcopy(model)
    assert torch.equal(twin(PICTURES), model(PICTURES))
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert not torch.equal(twin(PICTURES), model(PICTURES))
    assert twin.built


def test_a_copy_of_a_model_in_training_trains_on_alone() -> None:
    model = compiled()
    model.fit(X, Y, verbose=1, callbacks=[EarlyStopping("loss", restore_best_weights=True)])
    twin, before = copy.deepcopy(model), weights_of(model)
    assert len(pickle.dumps(model)) < 20_000  # without the data
    twin.fit(X, Y, verbose=0)
    assert same(before, weights_of(model))
    assert not same(before, weights_of(twin))


@every_kind
def test_a_state_dict_through_torch_save_and_pickle(make: Make) -> None:
    model, other = make().eval(), make().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other(PICTURES), model(PICTURES))
    other.load_state_dict(pickle.loads(pickle.dumps(model.state_dict())))
    whole = pickle.loads(pickle.dumps(model))
    assert torch.equal(whole(PICTURES), model(PICTURES))


def test_states_and_the_order_of_parameters_are_torch_s() -> None:
    ours = Sequential([Conv2D(4, 3, input_shape=(8, 8, 2)), Flatten(), Dense(3)])
    theirs = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(), nn.Linear(144, 3))
    assert [p.shape for p in ours.parameters()] == [p.shape for p in theirs.parameters()]
    ours.get_layer("conv2d").load_state_dict(theirs[0].state_dict())
    theirs[2].load_state_dict(ours.get_layer("dense").state_dict())
    x = torch.randn(2, 8, 8, 2)
    y = F.conv2d(x.permute(0, 3, 1, 2), theirs[0].weight, theirs[0].bias).permute(0, 2, 3, 1).flatten(1)
    torch.testing.assert_close(ours(x), theirs[2](y))


@every_kind
def test_double_and_meta(make: Make) -> None:
    model = make().eval()
    expected = model(PICTURES)
    model.to(torch.float64)
    wide = model(PICTURES.double())
    assert wide.dtype == torch.float64
    torch.testing.assert_close(wide.float(), expected)
    model.to("meta")
    assert model(PICTURES.double().to("meta")).shape == expected.shape


def test_hooks_inside_and_outside() -> None:
    model, seen = functional(), []
    for name, layer in model.named_children():
        layer.register_forward_hook(lambda module, args, output, name=name: seen.append((name, tuple(output.shape))))
    model.register_forward_pre_hook(lambda module, args: seen.append(("begin", tuple(args[0].shape))))
    model(PICTURES)
    assert seen == [
        ("begin", (4, 8, 8, 1)), ("conv2d", (4, 6, 6, 3)), ("conv2d_1", (4, 6, 6, 3)),
        ("add", (4, 6, 6, 3)), ("flatten", (4, 108)), ("dense", (4, 2)),
    ]  # fmt: skip


@every_kind
def test_a_loop_of_one_s_own(make: Make) -> None:
    model, targets = make(), torch.tensor([0, 1, 1, 0])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for _ in range(30):
        loss = F.cross_entropy(model(PICTURES), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@every_kind
def test_vmap_over_models(make: Make) -> None:
    models = [make().eval(), make().eval()]
    with torch.no_grad():
        next(iter(models[1].parameters())).add_(0.5)
    parameters, buffers = torch.func.stack_module_state(models)  # type: ignore[arg-type]

    def run(p: dict[str, Tensor], b: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(models[0], (p, b), (PICTURES,))

    together = torch.func.vmap(run)(parameters, buffers)
    torch.testing.assert_close(together, torch.stack([model(PICTURES) for model in models]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [chain, functional])
def test_torch_compile_takes_it_in_one_graph(make: Make) -> None:
    model = make().eval()
    fast = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(fast(PICTURES), model(PICTURES))  # eager, the convolution may be a kernel of ours


# In a process of its own that ends at once: taken apart, gloo's threads and Python's lock may wait for each other.
PARALLEL = """
import os, sys
import torch, torch.nn.functional as F
from torch import nn
from tests.models.small import X, Y, network
torch.distributed.init_process_group("gloo", init_method=sys.argv[1], rank=0, world_size=1)
model, alone = network(), network()
wrapped = nn.parallel.DistributedDataParallel(model)
for one in (wrapped, alone):
    F.nll_loss(one(X).log(), Y).backward()
for mine, theirs in zip(model.parameters(), alone.parameters(), strict=True):
    torch.testing.assert_close(mine.grad, theirs.grad)
print("equal", flush=True)
os._exit(0)
"""


def test_distributed_data_parallel(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-c", PARALLEL, (tmp_path / "meet").as_uri()],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert found.stdout == "equal\n", found.stderr

"""``Model.fit(checkpoints=, resume=)``: from arrays, and from loaders that draw random numbers (K09, K14, Q06)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, WeightedRandomSampler

from corecur import interruption
from corecur.data.augment import Augmentation, ImageTransform
from corecur.data.batches import TensorBatches
from corecur.data.normalise import Normalisation
from corecur.engine.callback import Callback, Logs
from corecur.engine.callbacks import ModelCheckpoint
from corecur.engine.checkpoint import CheckpointFolder
from corecur.errors import BundleError, ConfigError, RunError, Stopped
from corecur.layers.dense import Dense
from corecur.models import Sequential
from corecur.run_lock import RunLock
from tests.engine.short_training import Kill, KilledError, Settled, same_numbers


@pytest.fixture(autouse=True)
def _a_disk_that_needs_no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def model(**options: Any) -> Sequential:
    same_numbers()
    made = Sequential([Dense(8, "relu", input_shape=(4,)), nn.Dropout(0.3), Dense(3)])
    made.compile(**({"optimizer": "adam", "loss": "crossentropy", "metrics": ["accuracy"]} | options))
    return made


X = np.random.default_rng(0).standard_normal((18, 4)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 3, 18)


def fit(source: Any = None, *callbacks: Callback, made: Sequential | None = None, **options: Any) -> Sequential:
    made = model() if made is None else made
    data = (X, Y) if source is None else (source,)
    options = {"epochs": 3, "verbose": 0, "batch_size": 4} | options
    if source is not None:
        del options["batch_size"]
    made.fit(*data, callbacks=[Settled(), *callbacks], **options)
    return made


def end_of(made: Sequential) -> tuple[Any, ...]:
    assert made.history is not None
    rows = {name: values for name, values in made.history.history.items() if name not in ("seconds", "waiting")}
    return [t.tolist() for t in made.state_dict().values()], rows, torch.rand(()).item()


def dead(at: Path, step: int, source: Any = None, **options: Any) -> None:
    with pytest.raises(KilledError):
        fit(source, Kill(step), checkpoints=at, save_every=1, **options)


@pytest.mark.parametrize("how", ["true", "auto", "path", "text"])
def test_the_same_call_goes_on(tmp_path: Path, how: str) -> None:
    at = tmp_path / "kept"
    dead(at, 7, validation_split=0.2)
    options: dict[str, Any] = {
        "true": {"checkpoints": at, "resume": True}, "auto": {"checkpoints": at, "resume": "auto"},
        "path": {"resume": at}, "text": {"checkpoints": str(at), "resume": str(at)},
    }[how]  # fmt: skip
    wanted = end_of(fit(validation_split=0.2))
    assert end_of(fit(validation_split=0.2, **options)) == wanted


def test_auto_begins_where_there_is_nothing(tmp_path: Path) -> None:
    assert end_of(fit(checkpoints=tmp_path / "a" / "b", resume="auto")) == end_of(fit())


def test_a_wrong_path_is_never_a_fresh_start(tmp_path: Path) -> None:
    dead(tmp_path / "kept", 7)
    for wrong in (tmp_path / "typo", tmp_path, tmp_path / "kept" / "step-6"):
        with pytest.raises(RunError, match="nothing to resume here"):
            fit(resume=wrong)
        with pytest.raises(RunError, match="nothing to resume here"):
            fit(checkpoints=wrong, resume=True)
    assert not (tmp_path / "typo").exists()
    with pytest.raises(ConfigError, match="leave one of them out"):
        fit(checkpoints=tmp_path / "kept", resume=tmp_path / "typo")
    with pytest.raises(RunError, match="checkpoints of another training"):
        fit(checkpoints=tmp_path / "kept")
    with pytest.raises(ConfigError, match="no folder"):
        fit(resume=True)
    for odd in (None, 2, []):
        with pytest.raises(ConfigError, match="whether to resume"):
            fit(checkpoints=tmp_path / "kept", resume=odd)
    with pytest.raises(ConfigError, match="how often to save"):
        fit(checkpoints=tmp_path / "new", save_every="often")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be made"):
        fit(checkpoints=tmp_path / "file" / "kept")


def test_nothing_but_damaged_ones_is_never_a_fresh_start(tmp_path: Path) -> None:
    dead(tmp_path, 7)
    for path in tmp_path.glob("step-*/state.json"):
        path.write_bytes(b"{}")
    for resume in (True, "auto"):
        with pytest.raises(BundleError, match="none that can be used"):
            fit(checkpoints=tmp_path, resume=resume)


OTHERS: dict[str, dict[str, Any]] = {
    "batch_size 3": {"batch_size": 3},
    "SGD(": {"made": lambda: model(optimizer="sgd")},
    "loss MeanSquaredError()": {"made": lambda: model(loss="mse")},
    "class_weight {0: 2.0}": {"class_weight": {0: 2}},
    "shuffle_seed None": {"shuffle": False},
    "bptt_steps 2": {"bptt_steps": 2},
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_training_is_refused_by_name(tmp_path: Path, name: str) -> None:
    dead(tmp_path, 7)
    options = dict(OTHERS[name])
    made = options.pop("made", model)()
    with pytest.raises(RunError, match="another training") as refused:
        fit(made=made, checkpoints=tmp_path, resume=True, **options)
    assert name in str(refused.value)


def test_other_data_and_another_network(tmp_path: Path) -> None:
    dead(tmp_path, 7)
    with pytest.raises(RunError, match="data "):
        model().fit(X + 1, Y, batch_size=4, verbose=0, checkpoints=tmp_path, resume=True, epochs=3)
    other = model()
    other.add(Dense(3))
    with pytest.raises(BundleError, match="another network"):
        fit(made=other, checkpoints=tmp_path, resume=True)


def test_a_bar_may_come_and_go(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dead(tmp_path, 7)
    assert end_of(fit(checkpoints=tmp_path, resume=True, verbose=1)) == end_of(fit())


def test_only_one_writer(tmp_path: Path) -> None:
    with RunLock(tmp_path), pytest.raises(RunError):
        fit(checkpoints=tmp_path)
    fit(checkpoints=tmp_path)
    assert not (tmp_path / "lock").exists()


def test_a_stop_says_how_to_go_on(tmp_path: Path) -> None:
    class Ask(Callback):
        def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
            if self.trainer.step == 4:
                interruption.request()

    with pytest.raises(Stopped) as stopped:
        fit(None, Ask(), checkpoints=tmp_path)
    assert f"fit(…, checkpoints={str(tmp_path)!r}, resume=True)" in str(stopped.value)
    assert end_of(fit(checkpoints=tmp_path, resume=True)) == end_of(fit())


def test_the_same_object_goes_on(tmp_path: Path) -> None:
    made = model()
    with pytest.raises(KilledError):
        fit(None, Kill(7), made=made, checkpoints=tmp_path, save_every=1)
    assert end_of(fit(made=made, checkpoints=tmp_path, resume=True)) == end_of(fit())


def test_the_best_model_file_is_that_of_the_uninterrupted_training(tmp_path: Path) -> None:
    files = []
    for name, step in (("a", None), ("b", 12)):
        best = tmp_path / f"{name}.safetensors"

        def saving(best: Path = best) -> ModelCheckpoint:
            return ModelCheckpoint(best, save_best_only=True, save_weights_only=True)

        at = tmp_path / name
        if step is not None:
            with pytest.raises(KilledError):
                fit(None, saving(), Kill(step), checkpoints=at, save_every=1, validation_split=0.2)
        fit(None, saving(), checkpoints=at, resume=step is not None, validation_split=0.2)
        files.append(best.read_bytes())
    assert files[0] == files[1]


# Loaders


class Noisy(Dataset[tuple[Tensor, Tensor]]):
    """Draws from the global generator of whatever process reads it."""

    def __len__(self) -> int:
        return 18

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(X[place]) + 0.1 * torch.randn(4), torch.tensor(Y[place])


class Endless(IterableDataset[tuple[Tensor, Tensor]]):
    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for place in range(18):
            yield torch.from_numpy(X[place]) + 0.1 * torch.randn(4), torch.tensor(Y[place])


def own() -> torch.Generator:
    return torch.Generator().manual_seed(5)


LOADERS: dict[str, Callable[[], DataLoader[Any]]] = {
    "shuffled": lambda: DataLoader(Noisy(), batch_size=4, shuffle=True),
    "own generator": lambda: DataLoader(Noisy(), batch_size=4, shuffle=True, generator=own()),
    "sampler": lambda: DataLoader(
        Noisy(), batch_size=4, sampler=WeightedRandomSampler([1.0] * 9 + [3.0] * 9, 18, generator=own())
    ),
    "iterable": lambda: DataLoader(Endless(), batch_size=4),
    "workers": lambda: DataLoader(Noisy(), batch_size=4, shuffle=True, num_workers=2),
}  # fmt: skip


@pytest.mark.parametrize("name", LOADERS)
@pytest.mark.parametrize("step", [2, 5, 8])
def test_a_loader_goes_on_with_what_it_would_have_drawn(tmp_path: Path, name: str, step: int) -> None:
    if name == "workers" and step != 8:
        pytest.skip("two processes for each epoch: once is enough")
    dead(tmp_path, step, LOADERS[name]())
    resumed = fit(LOADERS[name](), checkpoints=tmp_path, resume=True)
    assert end_of(resumed) == end_of(fit(LOADERS[name]()))


class Plain(Noisy):
    """Draws nothing, so that it is the same in any process."""

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(X[place]), torch.tensor(Y[place])


@pytest.mark.parametrize("first", [0, 2])
@pytest.mark.parametrize("step", [1, 6])
def test_the_stream_is_the_same_with_any_number_of_workers(tmp_path: Path, first: int, step: int) -> None:
    def loader(workers: int, ahead: int | None = None) -> DataLoader[Any]:
        return DataLoader(Plain(), batch_size=4, shuffle=True, num_workers=workers, prefetch_factor=ahead)

    ahead = {0: None, 2: 4}
    dead(tmp_path, step, loader(first, ahead[first]), epochs=2)
    kept = CheckpointFolder(tmp_path)
    kept.forget_after(0 if step == 1 else 18)
    resumed = fit(loader(2 - first, ahead[2 - first]), checkpoints=tmp_path, resume=True, epochs=2)
    assert end_of(resumed) == end_of(fit(loader(0), epochs=2))


def test_truncated_sequences_out_of_a_loader(tmp_path: Path) -> None:
    from corecur.layers.lstm import LSTM

    drawn = torch.Generator().manual_seed(1)
    data = torch.utils.data.TensorDataset(
        torch.randn(8, 10, 3, generator=drawn), torch.randn(8, 10, 2, generator=drawn)
    )

    def run(*callbacks: Callback, **options: Any) -> tuple[Any, ...]:
        same_numbers()
        made = Sequential([LSTM(4, return_sequences=True, dropout=0.2, input_shape=(None, 3)), Dense(2)])
        made.compile("adam", "mse")
        loader = DataLoader(data, batch_size=4, shuffle=True)
        made.fit(loader, epochs=2, bptt_steps=4, verbose=0, callbacks=[Settled(), *callbacks], **options)
        return end_of(made)

    wanted = run()
    for step in (2, 3, 4):
        at = tmp_path / str(step)
        with pytest.raises(KilledError):
            run(Kill(step), checkpoints=at, save_every=1)
        assert run(checkpoints=at, resume=True) == wanted


def test_augmented_and_mixed_pictures(tmp_path: Path) -> None:
    drawn = torch.Generator().manual_seed(1)
    pictures = torch.randint(256, (18, 8, 8, 1), generator=drawn, dtype=torch.uint8)
    labels = torch.randint(3, (18,), generator=drawn)
    augmentation = Augmentation(crop=1, flip="horizontal", rotate=9, brightness=0.2, cutout=2, mixup=0.4, cutmix=1.0)

    def run(*callbacks: Callback, **options: Any) -> tuple[Any, ...]:
        same_numbers()
        transform = ImageTransform(
            Normalisation((0.5,), (0.3,)), augmentation, seed=4, images=pictures, labels=labels, classes=3
        )
        source = TensorBatches(pictures, labels, batch_size=4, shuffle=True, seed=2, transform=transform)
        made = Sequential([nn.Flatten(), nn.Linear(64, 3)])
        made.compile("adam", "crossentropy")
        made.fit(source, epochs=2, verbose=0, callbacks=[Settled(), *callbacks], **options)
        return end_of(made)

    with pytest.raises(KilledError):
        run(Kill(7), checkpoints=tmp_path, save_every=1)
    assert run(checkpoints=tmp_path, resume=True) == run()

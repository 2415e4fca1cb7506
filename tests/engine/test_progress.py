from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch import nn

from corecur.data.batches import TensorBatches
from corecur.engine import progress
from corecur.engine.callback import Callback
from corecur.engine.callbacks import LambdaCallback
from corecur.engine.losses import MeanSquaredError
from corecur.engine.progress import ProgressBar, clock, describe_epoch
from corecur.engine.trainer import Trainer

X = torch.randn(8, 2)


def fit(epochs: int, *callbacks: Callback) -> Trainer:
    net = nn.Linear(2, 1)
    trainer = Trainer(net, loss=MeanSquaredError(), optimizer=torch.optim.SGD(net.parameters(), lr=0.1))
    trainer.fit(TensorBatches(X, X[:, :1], batch_size=4), epochs=epochs, callbacks=callbacks)
    return trainer


def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Standard error that takes itself for a terminal of 100 columns."""
    shown = io.StringIO()
    shown.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stderr", shown)
    for name, value in (("TERM", "xterm-256color"), ("COLUMNS", "100"), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_DRAWS", 0.0)
    return shown


def test_a_line_for_each_epoch_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    fit(2, ProgressBar(2))
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert all("  loss " in line for line in lines)
    assert "\x1b" not in err


def test_lines_are_not_broken(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    many = LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update({f"result_{k}": 0.5 for k in range(9)}))
    fit(1, many, ProgressBar(1))
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(("epochs", "lines"), [(40, 40), (100, 50), (None, 3)])
def test_many_epochs_are_not_all_told(epochs: int | None, lines: int, capsys: pytest.CaptureFixture[str]) -> None:
    fit(epochs or 3, ProgressBar(epochs))
    err = capsys.readouterr().err.splitlines()
    assert len(err) == lines
    assert err[-1].startswith(f"epoch {epochs}/{epochs}" if epochs else "epoch 3  ")


def test_the_epoch_that_ends_early_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    def stop(epoch: int, logs: Any) -> None:
        trainer_holder[0].trainer.stop_training = epoch == 2

    trainer_holder = [LambdaCallback(on_epoch_end=stop)]
    fit(200, trainer_holder[0], ProgressBar(200))
    assert capsys.readouterr().err.splitlines()[-1].startswith("epoch 3/200")


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    fit(3, ProgressBar(3))
    shown = screen.getvalue()
    assert "epoch 2/3" in shown
    assert "loss " in shown
    assert " left" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")  # the cursor is hidden and comes back


def test_the_cursor_comes_back_after_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)

    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(3, ProgressBar(3), LambdaCallback(on_train_batch_end=interrupt))
    shown = screen.getvalue()
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")


def test_a_bar_is_not_drawn_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_DRAWS", 1e9)
    fit(3, ProgressBar(3))
    assert " left" not in screen.getvalue()


def test_what_an_epoch_s_line_holds() -> None:
    results = {"loss": 0.5, "matrix": [[1]], "learning_rate": 0.1, "seconds": 12.34, "waiting": 0.04, "val_auc": 0.75}
    assert describe_epoch(results) == "loss 0.5000  val_auc 0.7500  12.3 s"
    assert describe_epoch({"loss": float("nan"), "waiting": 0.41}) == "loss nan  waiting for data 41 %"
    assert describe_epoch({}) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0 s"), (0.4, "0 s"), (59.6, "1 min 0 s"), (61, "1 min 1 s"), (3600, "1 h 0 min"), (90_000, "25 h 0 min")],
)
def test_seconds_as_a_person_says_them(seconds: float, text: str) -> None:
    assert clock(seconds) == text

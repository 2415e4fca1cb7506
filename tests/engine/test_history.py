from __future__ import annotations

from corecur.engine.history import History


def test_results_by_name() -> None:
    history = History(3, [{"loss": 0.5}, {"loss": 0.25, "val_loss": 0.4}])
    assert history.epoch == [3, 4]
    assert history.history == {"loss": [0.5, 0.25], "val_loss": [0.4]}
    assert repr(history) == "History(2 epochs of loss, val_loss)"


def test_no_epochs() -> None:
    assert History(0, []).history == {}

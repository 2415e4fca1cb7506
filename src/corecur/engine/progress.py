"""What a person sees while a training runs: a bar with the time left on a terminal, a line an epoch elsewhere."""

from __future__ import annotations

import time
from typing import Any

from corecur.engine.callback import Callback, Logs

# A bar that is drawn more often than this costs time and looks no smoother.
_SECONDS_BETWEEN_DRAWS = 0.1


class ProgressBar(Callback):
    """Shows steps, loss, time left and the share of time spent waiting for data, on standard error."""

    def __init__(self, epochs: int | None = None) -> None:
        self.epochs = epochs
        self._bar: Any = None
        self._console: Any = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._console = Console(stderr=True)
        self._began = self._drawn = time.perf_counter()
        if self._console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[shown]}"))
            self._bar = Progress(*columns, console=self._console, transient=True, auto_refresh=False)
            self._bar.start()
            self._task = self._bar.add_task("training", total=1.0, shown="")

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self._bar is None:
            return
        now = time.perf_counter()
        if now - self._drawn < _SECONDS_BETWEEN_DRAWS:
            return
        self._drawn = now
        done = self.trainer.budget.progress(self.trainer.steps_done)
        elapsed = now - self._began
        left = f"{clock(elapsed / done - elapsed)} left" if done > 0 else ""
        loss = float((logs or {}).get("loss", 0.0))
        self._bar.update(self._task, completed=done, description=self._title(), shown=f"loss {loss:.4f}  {left}")
        self._bar.refresh()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        results = logs or {}
        if self._epochs_shown(epoch):
            self._console.print(f"{self._title()}  {describe_epoch(results)}", highlight=False, soft_wrap=True)

    def close(self) -> None:
        if self._bar is not None:  # it hides the cursor
            self._bar.stop()
            self._bar = None

    def _title(self) -> str:
        return f"epoch {self._epoch + 1}" + (f"/{self.epochs}" if self.epochs else "")

    def _epochs_shown(self, epoch: int) -> bool:
        """All of up to 40 epochs; of more, every few and the last."""
        every = max(1, (self.epochs or 1) // 40)
        return (epoch + 1) % every == 0 or self.trainer.stop_training or epoch + 1 == self.epochs


def describe_epoch(results: Logs) -> str:
    """One line of an epoch's results.

    >>> describe_epoch({"loss": 0.5, "val_accuracy": 0.91, "seconds": 2.0, "waiting": 0.25, "learning_rate": 0.1})
    'loss 0.5000  val_accuracy 0.9100  2.0 s  waiting for data 25 %'
    """
    shown = [
        f"{name} {value:.4f}"
        for name, value in results.items()
        if name not in ("seconds", "waiting", "learning_rate") and isinstance(value, float)
    ]
    if "seconds" in results:
        shown.append(f"{results['seconds']:.1f} s")
    if results.get("waiting", 0.0) >= 0.05:
        shown.append(f"waiting for data {results['waiting']:.0%}".replace("%", " %"))
    return "  ".join(shown)


def clock(seconds: float) -> str:
    """Seconds as a person says them.

    >>> clock(7.4), clock(190), clock(7300)
    ('7 s', '3 min 10 s', '2 h 1 min')
    """
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"

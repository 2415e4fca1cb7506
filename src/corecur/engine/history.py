"""What a training leaves behind: the results of each epoch, by name."""

from __future__ import annotations

from collections.abc import Sequence

from corecur.engine.callback import Logs


class History:
    """What ``fit`` returns: ``epoch`` numbers and, by name, the ``history`` of each result.

    >>> History(0, [{"loss": 0.5}, {"loss": 0.25}]).history
    {'loss': [0.5, 0.25]}
    """

    def __init__(self, first_epoch: int, rows: Sequence[Logs]) -> None:
        self.epoch = list(range(first_epoch, first_epoch + len(rows)))
        names = dict.fromkeys(name for row in rows for name in row)
        self.history = {name: [row[name] for row in rows if name in row] for name in names}

    def __repr__(self) -> str:
        return f"History({len(self.epoch)} epochs of {', '.join(self.history)})"

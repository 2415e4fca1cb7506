"""Windows over a table: what a forecaster sees and what it is to say, as views of one tensor, never N copies of it.

Shapes: T time (of all tables, one after the other), C channels, F calendar features, W windows, B batch, L lookback,
H horizon.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from corecur.data.batches import Batch, Batches, Transform, checked_start, moved
from corecur.data.random_keys import permutation
from corecur.errors import ConfigError, DataError, ShapeError


def window_starts(rows: range, *, lookback: int, horizon: int, stride: int = 1, where: object = None) -> Tensor:
    """The first rows (W,) int64 of all windows whose targets lie in ``rows``; they may look back before them.

    A window of start s sees rows s … s + lookback - 1 and forecasts the next ``horizon``. Raises ConfigError for a
    lookback, horizon or stride below 1, DataError where there is no window.

    >>> window_starts(range(6, 10), lookback=4, horizon=3)
    tensor([2, 3])
    """
    for name, value in (("lookback", lookback), ("horizon", horizon), ("stride", stride)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(f"wrong {name}", got=repr(value), expected="a whole number of rows, 1 or more")
    first = max(rows.start, lookback)
    count = rows.stop - first - horizon + 1
    if count < 1:
        own = lookback + horizon if rows.start == 0 else horizon
        raise DataError(
            "the series is shorter than one window",
            where=where,
            got=f"{len(rows):,} rows",
            expected=f"at least {own:,}: "
            + (f"lookback {lookback:,} + " if rows.start == 0 else "")
            + f"horizon {horizon:,}",
            do="give more rows, or a smaller horizon" + (" or lookback" if rows.start == 0 else ""),
        )
    return torch.arange(first - lookback, first - lookback + count, stride)


class WindowBatches(Batches):
    """Batches of windows: inputs (B, L, C) float32, targets (B, H, C') float32, index (B,) the numbers of the windows.

    ``values`` is (T, C), or a list of such tables, whose windows stay inside each; ``rows`` the rows that are forecast
    (a range for each table; all by default). ``targets`` are the columns to forecast (all). With ``calendar`` (T, F),
    known for the future too, inputs are (inputs, calendar of the window and of what follows it (B, L + H, F)).
    ``shuffle`` draws a new order each epoch from ``seed`` alone. The last batch may be smaller, none is dropped.
    Raises DataError for a table too short for one window, ConfigError for wrong sizes, ShapeError for tables of
    different columns.

    >>> batches = WindowBatches(torch.arange(6.0)[:, None], lookback=2, horizon=1, batch_size=3)
    >>> [(b.inputs[..., 0].tolist(), b.targets.flatten().tolist()) for b in batches]
    [([[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]], [2.0, 3.0, 4.0]), ([[3.0, 4.0]], [5.0])]
    """

    batch_size: int
    samples: int

    def __init__(
        self,
        values: Tensor | Sequence[Tensor],
        *,
        lookback: int,
        horizon: int,
        rows: range | Sequence[range] | None = None,
        targets: Sequence[int] | None = None,
        calendar: Tensor | Sequence[Tensor] | None = None,
        stride: int = 1,
        batch_size: int = 32,
        shuffle: bool = False,
        seed: int = 0,
        transform: Transform | None = None,
        device: torch.device | None = None,
    ) -> None:
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ConfigError("wrong batch size", got=repr(batch_size), expected="a whole number, 1 or more")
        tables = [values] if isinstance(values, Tensor) else list(values)
        self.lookback, self.horizon, self.stride = lookback, horizon, stride
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self.transform, self.device = transform, device
        self._base = _joined(tables, device)  # (T, C)
        self.starts = _all_starts(tables, rows, lookback, horizon, stride).to(self._base.device)  # (W,)
        self.samples = len(self.starts)
        width = self._base.shape[1]
        self.targets = tuple(range(width) if targets is None else targets)
        if not self.targets or not all(0 <= place < width for place in self.targets):
            raise ConfigError("the targets are no columns", got=self.targets, expected=f"numbers from 0 to {width - 1}")
        extra = None if calendar is None else [calendar] if isinstance(calendar, Tensor) else list(calendar)
        if extra is not None and [len(one) for one in extra] != [len(one) for one in tables]:
            raise ShapeError("values and calendar differ in length", got=[len(one) for one in extra])
        self._views = [_view(self._base, lookback + horizon)]  # (T - L - H + 1, L + H, C)
        if extra is not None:
            self._views.append(_view(_joined(extra, device), lookback + horizon))
        picked = list(self.targets) != list(range(width))
        self._picked = torch.tensor(self.targets, device=self._base.device) if picked else None

    def __len__(self) -> int:
        return -(-self.samples // self.batch_size)

    def order(self, epoch: int) -> Tensor:
        """The numbers of the windows in the order of an epoch, (W,) int64.

        >>> WindowBatches(torch.zeros(4, 1), lookback=2, horizon=1).order(0)
        tensor([0, 1])
        """
        if not self.shuffle:
            return torch.arange(self.samples, device=self.starts.device)
        return permutation(self.samples, self.seed, epoch).to(self.starts.device)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, after the first ``start``."""
        order, size = self.order(epoch), self.batch_size
        for number in range(checked_start(start), len(self)):
            batch = self.windows(order[number * size : (number + 1) * size])
            if self.device is not None:
                batch = moved(batch, self.device)
            yield batch if self.transform is None else self.transform(batch, epoch)

    def windows(self, index: Tensor) -> Batch:
        """The windows of some numbers (B,) int64 as one batch."""
        starts = self.starts[index]  # (B,)
        whole, *extra = (view[starts] for view in self._views)  # (B, L + H, C), (B, L + H, F)
        inputs, targets = whole[:, : self.lookback], whole[:, self.lookback :]  # (B, L, C), (B, H, C)
        if self._picked is not None:
            targets = targets[..., self._picked]  # (B, H, C')
        return Batch((inputs, *extra) if extra else inputs, targets, None, index)

    def target_rows(self, index: Tensor) -> Tensor:
        """The rows of the joined tables that some windows (B,) forecast, (B, H) int64."""
        first = self.starts[index] + self.lookback
        return first[:, None] + torch.arange(self.horizon, device=first.device)


def _joined(tables: Sequence[Tensor], device: torch.device | None) -> Tensor:
    """Tables one below the other, (T, C) float32, contiguous; on the device where the batches go to."""
    if not tables:
        raise DataError("there is no table to take windows from")
    widths = {tuple(table.shape[1:]) for table in tables}
    if len(widths) != 1 or tables[0].dim() != 2:
        raise ShapeError(
            "tables must have the same columns",
            got=", ".join(str(tuple(table.shape)) for table in tables[:5]),
            expected="(time, columns), with the same number of columns",
        )
    base = tables[0] if len(tables) == 1 else torch.cat(list(tables))
    return base.detach().to(device=device, dtype=torch.float32).contiguous()


def _all_starts(
    tables: Sequence[Tensor], rows: range | Sequence[range] | None, lookback: int, horizon: int, stride: int
) -> Tensor:
    """The starts of the windows of all tables, in rows of the joined tensor."""
    parts = (
        [range(len(table)) for table in tables] if rows is None else [rows] if isinstance(rows, range) else list(rows)
    )
    if len(parts) != len(tables):
        raise ConfigError("one range of rows for each table", got=f"{len(parts)} ranges, {len(tables)} tables")
    starts, offset, short = [], 0, None
    for number, (table, part) in enumerate(zip(tables, parts, strict=True)):
        if part.step != 1 or not 0 <= part.start <= part.stop <= len(table):
            raise ConfigError("these rows are not in the table", got=part, expected=f"within range(0, {len(table)})")
        where = None if len(tables) == 1 else f"table {number + 1} of {len(tables)}"
        try:
            starts.append(offset + window_starts(part, lookback=lookback, horizon=horizon, stride=stride, where=where))
        except DataError as error:
            short = error  # a panel may have tables too short to take part, but not only such
        offset += len(table)
    if not starts and short is not None:
        raise short
    return torch.cat(starts)


def _view(base: Tensor, length: int) -> Tensor:
    """All stretches of ``length`` rows of (T, C), as a view: (T - length + 1, length, C)."""
    rows, width = base.shape
    return base.as_strided((max(rows - length + 1, 0), length, width), (width, width, 1))

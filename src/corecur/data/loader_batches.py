"""Batches out of a torch DataLoader, or out of any other iterable of batches.

Shapes: N samples, B batch; the rest of a sample's shape is free.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from typing import TypeGuard

import torch
from torch.utils.data import Sampler

from corecur.data.arrays import as_inputs, as_targets, as_tensor
from corecur.data.batches import Batch, Batches, Transform, checked_start, moved
from corecur.data.random_keys import permutation
from corecur.errors import DataError

# The names under which a batch that is a mapping may hold its parts.
_PARTS = {
    "inputs": ("inputs", "input", "x", "images", "image", "pixel_values"),
    "targets": ("targets", "target", "y", "labels", "label"),
    "weights": ("weights", "sample_weight"),
}


def is_loader(value: object) -> TypeGuard[Iterable[object]]:
    """Whether this hands out batches (a DataLoader, a generator, …) and is no array or sequence of samples.

    >>> is_loader(iter([])), is_loader([1, 2]), is_loader(torch.zeros(2))
    (True, False, False)
    """
    return isinstance(value, Iterable) and not hasattr(value, "__getitem__") and not hasattr(value, "__array__")


class LoaderBatches(Batches):
    """Batches of a torch DataLoader, or of any iterable of ``x``, ``(x, y)``, ``(x, y, weight)`` or mappings.

    The order is the loader's own. Where its sampler, dataset or itself has ``set_epoch``, an epoch can be repeated; one
    drawn from the global generators, or from its own, repeats itself where they are set back first, as a resumed
    training does. (What ``persistent_workers`` draw is out of reach: they go on from epoch to epoch.)
    ``index`` is None: nobody says which samples these are. Raises DataError for an item that is none of these, and for
    an epoch without a batch (a generator runs once).

    >>> [b.inputs.tolist() for b in LoaderBatches([(torch.ones(1), torch.zeros(1))])]
    [[1.0]]
    """

    def __init__(
        self,
        loader: Iterable[object],
        *,
        device: torch.device | None = None,
        transform: Transform | None = None,
    ) -> None:
        if not isinstance(loader, Iterable):
            raise DataError("these are no batches", got=type(loader).__name__, expected="a DataLoader or an iterable")
        self.loader, self.device, self.transform = loader, device, transform
        dataset = getattr(loader, "dataset", None)
        self.samples = len(dataset) if isinstance(dataset, Sized) else None
        self.batch_size = getattr(loader, "batch_size", None)

    def __len__(self) -> int:
        if not isinstance(self.loader, Sized):
            raise TypeError(f"a {type(self.loader).__name__} does not say how many batches it has")
        return len(self.loader)

    @property
    def generators(self) -> Sequence[torch.Generator]:
        """Those of the loader and of its samplers."""
        parts = self._parts()
        parts.append(getattr(getattr(self.loader, "batch_sampler", None), "sampler", None))
        found = [getattr(part, "generator", None) for part in parts]
        return list({id(g): g for g in found if isinstance(g, torch.Generator)}.values())

    def _parts(self) -> list[object]:
        return [self.loader, *(getattr(self.loader, name, None) for name in ("sampler", "batch_sampler", "dataset"))]

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch; the first ``start`` are read and thrown away."""
        for part in self._parts():
            set_epoch = getattr(part, "set_epoch", None)
            if set_epoch is not None:
                set_epoch(epoch)
        items = iter(self.loader)
        # Here, not at the first batch: whoever resumes sets the global generators after this.
        skipped = sum(1 for _ in itertools.islice(items, checked_start(start)))
        return self._rest(items, skipped, epoch)

    def _rest(self, items: Iterator[object], skipped: int, epoch: int) -> Iterator[Batch]:
        number = skipped
        for number, item in enumerate(items, start=skipped + 1):
            batch = read_item(item, where=f"batch {number}")
            if self.device is not None:
                batch = moved(batch, self.device)
            yield batch if self.transform is None else self.transform(batch, epoch)
        if number == 0:
            raise DataError(
                "the loader gave no batch",
                where=f"epoch {epoch}",
                got=type(self.loader).__name__,
                do="pass something that can be run through many times: a DataLoader or a list, not a generator",
            )


def read_item(item: object, *, where: str) -> Batch:
    """One item of a loader as a batch. Raises DataError where its parts cannot be told, or are no numbers.

    Values are not checked for NaN here, which would cost a pass over every batch.

    >>> read_item({"x": [1.0], "label": [2]}, where="batch 1").targets
    tensor([2])
    """
    if isinstance(item, Batch):
        return item
    parts: list[object]
    if isinstance(item, Mapping):
        parts = [next((item[name] for name in names if name in item), None) for names in _PARTS.values()]
        if parts[0] is None:
            raise DataError(
                "the batch has no inputs",
                where=where,
                got=f"the keys {', '.join(map(str, item))}",
                expected="one of " + ", ".join(_PARTS["inputs"]),
            )
    else:
        parts = list(item) if isinstance(item, (tuple, list)) else [item]
        if not 1 <= len(parts) <= 3:
            raise DataError(
                "the batch has too many parts", where=where, got=len(parts), expected="x, (x, y) or (x, y, weight)"
            )
        parts += [None] * (3 - len(parts))
    inputs, targets, weights = parts
    if weights is not None:
        weights = as_tensor(weights, name="sample_weight", where=where, finite=False).to(torch.float32)
    return Batch(
        as_inputs(inputs, where=where, finite=False),
        None if targets is None else as_targets(targets, where=where, finite=False),
        weights,
    )


class EpochSampler(Sampler[int]):
    """The order of a map-style dataset's samples, a function of the seed and the epoch alone.

    >>> sampler = EpochSampler(4, seed=0)
    >>> sampler.set_epoch(3)
    >>> sorted(sampler)
    [0, 1, 2, 3]
    """

    def __init__(self, samples: int, *, seed: int) -> None:
        self.samples, self.seed, self._epoch = samples, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self.samples

    def __iter__(self) -> Iterator[int]:
        return iter(permutation(self.samples, self.seed, self._epoch).tolist())

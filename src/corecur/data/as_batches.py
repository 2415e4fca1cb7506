"""Whatever somebody has to train on, as batches: arrays, tensors, a Dataset, a DataLoader."""

from __future__ import annotations

from collections.abc import Sized

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, default_collate

from corecur.data.arrays import as_inputs, as_targets, as_weights, samples_in
from corecur.data.batches import Batch, Batches, TensorBatches, Transform
from corecur.data.loader_batches import EpochSampler, LoaderBatches, is_loader, read_item
from corecur.data.random_keys import key
from corecur.errors import ConfigError, DataError

# A map-style dataset up to this many bytes is read once and kept as tensors.
SMALL = 512 * 2**20
_PROBES = 16


def as_batches(
    x: object,
    y: object = None,
    sample_weight: object = None,
    *,
    batch_size: int = 32,
    shuffle: bool = False,
    seed: int = 0,
    device: torch.device | None = None,
    transform: Transform | None = None,
) -> Batches:
    """Whatever somebody has to train on, as batches.

    ``x`` is an array, a nested list, a tensor, a tuple or list of arrays (several inputs), a torch Dataset, a
    DataLoader or another iterable of batches that is no sequence, or Batches (returned as they are). A map-style
    Dataset that is small and gives the same samples twice is read once into memory; one that draws random numbers, or
    a large one, goes through a DataLoader. Batch size and shuffling of a DataLoader or Batches are their own. Raises
    DataError for arrays that do not fit together or cannot be learned from, ConfigError for an argument that has no
    meaning beside this ``x``.

    >>> [b.targets.tolist() for b in as_batches([[1.0], [2.0], [3.0]], [0, 1, 0], batch_size=2)]
    [[0, 1], [0]]
    """
    if isinstance(x, Batches):
        _refuse_beside(x, y=y, sample_weight=sample_weight, transform=transform)
        return x
    if isinstance(x, Dataset):
        _refuse_beside(x, y=y, sample_weight=sample_weight)
        whole = _read_whole(x)
        if whole is None:
            loader = _loader_over(x, batch_size=batch_size, shuffle=shuffle, seed=seed)
            return LoaderBatches(loader, device=device, transform=transform)
        x, y, sample_weight, _ = whole
    if is_loader(x):
        _refuse_beside(x, y=y, sample_weight=sample_weight)
        return LoaderBatches(x, device=device, transform=transform)
    inputs = as_inputs(x)
    return TensorBatches(
        inputs,
        None if y is None else as_targets(y),
        None if sample_weight is None else as_weights(sample_weight, samples_in(inputs)),
        batch_size=batch_size,
        shuffle=shuffle,
        seed=seed,
        device=device,
        transform=transform,
    )


def _refuse_beside(x: object, **given: object) -> None:
    """Raise for arguments that ``x`` already holds."""
    for name, value in given.items():
        if value is not None:
            raise ConfigError(
                f"{name} cannot be given beside a {type(x).__name__}",
                got=f"{name} of type {type(value).__name__}",
                do=f"leave {name} out: the {type(x).__name__} gives its own",
            )


def _read_whole(dataset: Dataset[object]) -> Batch | None:
    """Every sample of a map-style dataset, stacked; None where it is large, random, or no map-style dataset."""
    if isinstance(dataset, TensorDataset):
        return read_item(dataset.tensors, where="the TensorDataset")
    if isinstance(dataset, IterableDataset) or not isinstance(dataset, Sized):
        return None
    samples = len(dataset)
    if samples == 0:
        raise DataError("the dataset is empty", got=type(dataset).__name__, expected="at least one sample")
    probes = min(samples, _PROBES)
    first, again = _leaves(_stack(dataset, probes)), _leaves(_stack(dataset, probes))
    size = sum(leaf.nbytes for leaf in first) / probes * samples
    if size > SMALL or not all(map(torch.equal, first, again)):
        return None
    return _stack(dataset, samples)


def _stack(dataset: Dataset[object], samples: int) -> Batch:
    """The first samples of a dataset as one batch."""
    try:
        return read_item(default_collate([dataset[place] for place in range(samples)]), where="the dataset")
    except (TypeError, RuntimeError) as error:
        raise DataError(
            "the dataset's samples cannot be stacked",
            where=type(dataset).__name__,
            got=str(error).splitlines()[0],
            expected="tensors, arrays or numbers of one shape",
            do="convert them in the dataset, or pass a DataLoader",
        ) from error


def _leaves(batch: Batch) -> list[Tensor]:
    """Every tensor of a batch."""
    fields = [field for field in batch if field is not None]
    return [leaf for field in fields for leaf in ((field,) if isinstance(field, Tensor) else field)]


def _loader_over(dataset: Dataset[object], *, batch_size: int, shuffle: bool, seed: int) -> DataLoader[object]:
    """A DataLoader whose order depends on seed and epoch alone; it leaves the global generator alone."""
    mapped = isinstance(dataset, Sized) and not isinstance(dataset, IterableDataset)
    sampler = EpochSampler(len(dataset), seed=seed) if shuffle and isinstance(dataset, Sized) and mapped else None
    generator = torch.Generator().manual_seed(key(seed, 0, stream="loader") >> 1)
    return DataLoader(dataset, batch_size=batch_size, sampler=sampler, generator=generator)

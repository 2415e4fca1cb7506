from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from corecur.bundle.layout import DTYPES
from corecur.bundle.open import open_tensors
from corecur.bundle.tensor_file import table_of, tensor_content


def written(tensors: dict[str, Tensor]) -> bytes:
    parts: list[bytes] = []
    tensor_content(tensors)(lambda piece: parts.append(bytes(piece)))
    return b"".join(parts)


def one_of_each() -> dict[str, Tensor]:
    torch.manual_seed(0)
    made = {
        f"{name}.{size}": torch.randn(size, 3).mul(9).to(dtype) for name, dtype in DTYPES.items() for size in (2, 0)
    }
    return made | {"scalar": torch.tensor(2.5), "größe": torch.ones(1), 'a "quoted" name': torch.ones(2)}


def test_the_bytes_are_those_of_the_formats_own_library() -> None:
    tensors = one_of_each()
    assert written(tensors) == save(tensors)
    assert written({}) == save({})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    tensors, path = one_of_each(), tmp_path / "w"
    path.write_bytes(written(tensors))
    file = open_tensors(path)
    assert file.table == table_of(tensors)
    found = file.load(table_of(tensors))
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    empty = {name: torch.empty_like(tensor) for name, tensor in tensors.items()}
    file.fill(empty)
    assert all(torch.equal(empty[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("size", [1, (1 << 18) - 1, 1 << 18, (1 << 18) + 1, 700_001])
def test_tensors_longer_than_a_piece(tmp_path: Path, size: int) -> None:
    tensors, path = {"a": torch.arange(size).float(), "b": torch.arange(size)}, tmp_path / "w"
    path.write_bytes(written(tensors))
    found = open_tensors(path).load(table_of(tensors))
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)


def test_tensors_of_another_order_in_memory(tmp_path: Path) -> None:
    kernels = torch.randn(4, 3, 5, 5).contiguous(memory_format=torch.channels_last)
    (tmp_path / "w").write_bytes(written({"k": kernels}))
    assert written({"k": kernels}) == save({"k": kernels.contiguous()})
    target = torch.empty_like(kernels)
    assert not target.is_contiguous()
    open_tensors(tmp_path / "w").fill({"k": target})
    assert torch.equal(target, kernels)

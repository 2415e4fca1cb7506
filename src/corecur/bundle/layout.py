"""What a model file (a bundle) and a checkpoint consist of: members, limits, tensor types, versions.

Both are a manifest, which holds the size and SHA-256 of every other member, JSON, and one file of tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

MANIFEST = "manifest.json"
MODEL = "model.json"
WEIGHTS = "weights.safetensors"
PREPROCESS = "preprocess.json"
LABELS = "labels.json"
CARD = "card.md"

COMMIT = "COMMIT"
STATE = "state.json"
TENSORS = "tensors.safetensors"

#: The types of a tensor by their name in the file. BOOL is for masks and counters of a model; I32 is what NumPy makes
#: indices of on some systems; F64 is a model turned to double. Nothing here needs unsigned words or eight-bit floats.
DTYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True)
class Limit:
    """How much of a member is read: bytes, and of JSON values, which take more memory than their text, and a text."""

    size: int
    values: int = 0
    text: int = 1 << 16


@dataclass(frozen=True)
class Layout:
    """The form of a file: its name and versions (the last is written), its members, and the largest of each.

    >>> BUNDLE.members
    ('manifest.json', 'model.json', 'weights.safetensors', 'preprocess.json', 'labels.json', 'card.md')
    """

    format: str
    versions: tuple[int, ...]
    manifest: str
    tensors: str
    required: tuple[str, ...]
    optional: tuple[str, ...]
    limits: Mapping[str, Limit]
    may_be_one_file: bool

    @property
    def members(self) -> tuple[str, ...]:
        """All names that may stand in such a file."""
        return (self.manifest, *self.required, *self.optional)


BUNDLE = Layout(
    format="corecur",
    versions=(1,),
    manifest=MANIFEST,
    tensors=WEIGHTS,
    required=(MODEL, WEIGHTS),
    optional=(PREPROCESS, LABELS, CARD),
    limits={
        MANIFEST: Limit(1 << 16, 100),
        MODEL: Limit(1 << 22, 100_000),
        WEIGHTS: Limit(1 << 36),
        PREPROCESS: Limit(1 << 26, 2_500_000, text=1 << 26),  # a vocabulary, or the state of a subword tokeniser
        LABELS: Limit(1 << 22, 100_000),
        CARD: Limit(1 << 20),
    },
    may_be_one_file=True,
)

CHECKPOINT = Layout(
    format="corecur-checkpoint",
    versions=(1,),
    manifest=COMMIT,
    tensors=TENSORS,
    required=(STATE, TENSORS),
    optional=(),
    limits={COMMIT: Limit(1 << 16, 100), STATE: Limit(1 << 26, 4_000_000, text=1 << 20), TENSORS: Limit(1 << 36)},
    may_be_one_file=False,
)

#: Endings that make a bundle one file instead of a folder.
FILE_ENDINGS = (".zip", ".corecur")

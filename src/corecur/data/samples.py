"""Sets of pictures known by a name: one comes with scikit-learn, the others are looked for in a folder or fetched once.

Shapes: N samples, H height, W width.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from corecur.data.cifar import gather_cifar_binary, gather_cifar_pickle, is_cifar_binary, is_cifar_pickle
from corecur.data.gathered import Gathered
from corecur.data.idx import gather_idx, is_idx
from corecur.data.image_arrays import array_part
from corecur.errors import DataError
from corecur.names import Table

FOLDER_VARIABLE = "CORECUR_DATA"


@dataclass(frozen=True)
class Sample:
    """Where a set is published, its files with their SHA-256, and the names of its classes."""

    address: str
    files: tuple[tuple[str, str], ...]
    classes: tuple[str, ...]


DIGITS = tuple("0123456789")
FASHION = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
KANA = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
OBJECTS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

# The sums are those published with TensorFlow Datasets (url_checksums/*.txt), each found again in other public
# projects; of the MNIST files three were computed anew from official copies, and the fourth's unpacked content.
PUBLISHED = {
    "mnist": Sample(
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        (
            ("train-images-idx3-ubyte.gz", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
            ("train-labels-idx1-ubyte.gz", "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
            ("t10k-images-idx3-ubyte.gz", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
            ("t10k-labels-idx1-ubyte.gz", "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
        ),
        DIGITS,
    ),
    "fashion-mnist": Sample(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        (
            ("train-images-idx3-ubyte.gz", "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
            ("train-labels-idx1-ubyte.gz", "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
            ("t10k-images-idx3-ubyte.gz", "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
            ("t10k-labels-idx1-ubyte.gz", "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
        ),
        FASHION,
    ),
    "kmnist": Sample(
        "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        (
            ("train-images-idx3-ubyte.gz", "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4"),
            ("train-labels-idx1-ubyte.gz", "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17"),
            ("t10k-images-idx3-ubyte.gz", "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5"),
            ("t10k-labels-idx1-ubyte.gz", "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c"),
        ),
        KANA,
    ),
    "cifar10": Sample(
        "https://www.cs.toronto.edu/~kriz/",
        (("cifar-10-binary.tar.gz", "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),),
        OBJECTS,
    ),
}

READERS: tuple[tuple[Callable[[Path], bool], Callable[[Path], Gathered]], ...] = (
    (is_idx, gather_idx),
    (is_cifar_binary, gather_cifar_binary),
    (is_cifar_pickle, gather_cifar_pickle),
)


def gather_sample(name: str) -> Gathered:
    """The set of that name: ``digits``, or one looked for under $CORECUR_DATA, else fetched and checked by SHA-256.

    Raises ConfigError for an unknown name; DataError where the set is not there and cannot be fetched, or is not what
    was published.

    >>> len(gather_sample("digits").parts["train"])
    1797
    """
    return SAMPLES[name]()


def _digits() -> Gathered:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)  # (1797, 8, 8), 0…16 made 0…255
    return Gathered("sample", {"train": array_part(images, bunch.target, split="train", where="digits")}, DIGITS)


def _gather_published(name: str) -> Gathered:
    sample = PUBLISHED[name]
    folder = _local_folder(name) or _fetch(name, sample)
    gather = next((gather for recognises, gather in READERS if recognises(folder)), None)
    if gather is None:
        raise DataError(f"the files of {name} are not in the folder", where=folder, expected=_file_names(sample))
    found = gather(folder)
    if found.classes is None:
        found = _with_names(found, sample.classes, name)
    return replace(found, kind="sample")


def _with_names(found: Gathered, classes: tuple[str, ...], name: str) -> Gathered:
    """Class numbers turned into the names of a published set."""
    names = np.array(classes)
    parts = {}
    for split, part in found.parts.items():
        if len(part) and part.labels.max() >= len(classes):
            raise DataError(f"the labels are not those of {name}", where=split, got=int(part.labels.max()))
        parts[split] = replace(part, labels=names[part.labels])
    return replace(found, parts=parts, classes=classes)


def _local_folder(name: str) -> Path | None:
    """The folder under $CORECUR_DATA that holds the set, or None."""
    root = os.environ.get(FOLDER_VARIABLE)
    if not root:
        return None
    folders = (Path(root, name), Path(root, name.replace("-", "_")))
    return next((f for f in folders if f.is_dir() and any(recognises(f) for recognises, _ in READERS)), None)


def _fetch(name: str, sample: Sample) -> Path:
    import pooch

    cache = Path(pooch.os_cache("corecur")) / name
    for file, digest in sample.files:
        unpack = pooch.Untar(extract_dir=".") if file.endswith(".tar.gz") else None
        try:
            pooch.retrieve(sample.address + file, f"sha256:{digest}", fname=file, path=cache, processor=unpack)
        except OSError as error:
            raise DataError(
                f"the sample set {name} is not on this machine and cannot be fetched",
                where=sample.address + file,
                got=" ".join(str(error).split())[:150],
                do=f"put {_file_names(sample)} into {_place(name)}",
            ) from error
        except ValueError as error:
            raise DataError(
                f"the file fetched for {name} is not the one that was published",
                where=sample.address + file,
                expected=f"SHA-256 {digest}",
                do=f"try again later, or put {_file_names(sample)} into {_place(name)}",
            ) from error
    return cache


def _file_names(sample: Sample) -> str:
    return ", ".join(f"the files of {file}, unpacked," if ".tar" in file else file for file, _ in sample.files)


def _place(name: str) -> str:
    root = os.environ.get(FOLDER_VARIABLE)
    if root:
        return f"the folder {Path(root, name)}"
    return f"a folder named {name}, and set {FOLDER_VARIABLE} to the folder above it"


SAMPLES: Table[Callable[[], Gathered]] = Table(
    "sample set",
    {
        "digits": _digits,
        "mnist": lambda: _gather_published("mnist"),
        "fashion-mnist": lambda: _gather_published("fashion-mnist"),
        "kmnist": lambda: _gather_published("kmnist"),
        "cifar10": lambda: _gather_published("cifar10"),
    },
    aliases={"cifar-10": "cifar10"},
)

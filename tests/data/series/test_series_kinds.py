"""What a path is for, by names and first lines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from corecur.data.series.series_kinds import series_kind

FILES = {
    "GunPoint_TRAIN.ts": ("# a comment\n@problemName a\n@data\n1,2:a\n", "classification"),
    "video.ts": ("GA\x00\x01\x02", None),
    "program.ts": ("export const x = 1\n", None),
    "a.arff": ("% x\n@relation a\n", "classification"),
    "ucr.tsv": ("1\t0.5\t0.7\t0.1\n2\t0.1\t0.2\t0.1\n", "classification"),
    "ucr.txt": ("  1.0000000e+00  5.1e-1  7e-1\n  2.0e+00 1e-1 3e-1\n", "classification"),
    "counted.tsv": ("1\t0.5\t0.7\n2\t0.1\t0.2\n3\t0.1\t0.2\n", None),
    "ett.csv": ("date,HUFL,OT\n2016-07-01 00:00:00,5.8,30.5\n2016-07-01 01:00:00,5.6,27.7\n", "forecast"),
    "airline.csv": ("Date,Passengers\n1949-01,112\n1949-02,118\n", "forecast"),
    "years.csv": ("year,sunspots\n1700,5\n1701,11\n", "forecast"),
    "parts.csv": ("No,year,month,day,hour,pm25\n1,2010,1,1,0,NA\n2,2010,1,1,1,129\n3,2010,1,1,2,120\n", "forecast"),
    "stores.csv": ("date,store,sales\n2020-01-01,a,3\n2020-01-01,b,4\n", "forecast"),
    "panel.csv": ("id,time,x,label\na,0,1,up\na,1,2,up\nb,0,3,down\nb,1,4,down\n", "classification"),
    "long.csv": ("unique_id,ds,y\na,2020-01-01,1\na,2020-01-02,2\nb,2020-01-01,3\nb,2020-01-02,4\n", "forecast"),
    "pictures.csv": ("path,label\na.png,cat\nb.png,dog\n", None),
    "pictures2.csv": ("2020-01-01,a.png\n2020-01-02,b.png\n", None),
    "reviews.csv": ("label,review\n1,very good\n0,bad\n", None),
    "tweets.csv": ("date,text,likes\n2020-01-01,hello,3\n2020-01-02,bye,4\n", None),
    "prose.csv": (
        "date,what,n\n2020-01-01,the food was very good here,3\n2020-01-02,we will never come back again,4\n",
        None,
    ),
    "pairs.tsv": ("hello\tbonjour\ngood day\tbonne journée\n", None),
    "novel.txt": ("It was a dark night.\nAnd so on, and so forth.\n", None),
    "iris.csv": ("sepal,petal,label\n5.1,1.4,a\n4.9,1.4,b\n", None),
    "empty.csv": ("", None),
    "header.csv": ("date,x\n", None),
    "ragged.csv": ("date,x\n2020-01-01,1,2\n", None),
    "binary.csv": ("\x00\x01\x02", None),
    "notes.md": ("# x\n", None),
}


@pytest.mark.parametrize("name", FILES)
def test_files(tmp_path: Path, name: str) -> None:
    text, wanted = FILES[name]
    (tmp_path / name).write_text(text, "utf-8")
    assert series_kind(tmp_path / name) == wanted


def test_arrays(tmp_path: Path) -> None:
    y = [0, 1]
    np.savez(tmp_path / "series.npz", x=np.zeros((2, 30, 3)), y=y)
    np.savez(tmp_path / "flat.npz", x_train=np.zeros((2, 30)), y_train=y)
    np.savez(tmp_path / "table.npz", values=np.zeros((30, 2)))
    np.savez(tmp_path / "bytes.npz", x=np.zeros((2, 28, 20), dtype=np.uint8), y=y)
    np.savez(tmp_path / "squares.npz", x=np.zeros((2, 28, 28)), y=y)
    np.savez(tmp_path / "pictures.npz", images=np.zeros((2, 28, 20)), labels=y)
    np.savez(tmp_path / "colour.npz", x=np.zeros((2, 28, 28, 3)), y=y)
    kinds = {path.stem: series_kind(path) for path in tmp_path.iterdir()}
    assert kinds == {
        "series": "classification", "flat": "classification", "table": "forecast", "bytes": None, "squares": None,
        "pictures": None, "colour": None,
    }  # fmt: skip
    np.save(tmp_path / "x.npy", np.zeros((2, 30)))
    assert series_kind(tmp_path / "x.npy") is None
    np.save(tmp_path / "y.npy", y)
    assert series_kind(tmp_path / "x.npy") == "classification"
    np.save(tmp_path / "load.npy", np.zeros(100))
    assert series_kind(tmp_path / "load.npy") == "forecast"
    (tmp_path / "broken.npz").write_bytes(b"no archive")
    assert series_kind(tmp_path / "broken.npz") is None


def test_folders(tmp_path: Path) -> None:
    problem = tmp_path / "Moves"
    problem.mkdir()
    (problem / "Moves_TRAIN.ts").write_text("@data\n", "utf-8")
    assert series_kind(problem) == "classification"
    for label in ("walk", "run"):
        (tmp_path / "csv" / label).mkdir(parents=True)
        (tmp_path / "csv" / label / "1.csv").write_text("x,y\n1,2\n3,4\n5,6\n", "utf-8")
        (tmp_path / "texts" / label).mkdir(parents=True)
        (tmp_path / "texts" / label / "1.txt").write_text("A film.\nA good one, and more.\nYes, 1 of 2.\n", "utf-8")
        (tmp_path / "photos" / label).mkdir(parents=True)
        Image.new("L", (4, 4)).save(tmp_path / "photos" / label / "1.png")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "novel_train.txt").write_text("It was a dark night.\nAnd so on.\n", "utf-8")
    (tmp_path / "empty").mkdir()
    kinds = {name: series_kind(tmp_path / name) for name in ("csv", "texts", "photos", "corpus", "empty", "none")}
    assert kinds == {
        "csv": "classification",
        "texts": None,
        "photos": None,
        "corpus": None,
        "empty": None,
        "none": None,
    }

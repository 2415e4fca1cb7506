"""The run folder: whole or gone, always readable as JSON, with one writer."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from corecur.bundle.write import write_bundle
from corecur.data.batches import TensorBatches
from corecur.engine.losses import MeanSquaredError
from corecur.engine.trainer import Trainer
from corecur.errors import BundleError, ConfigError, RunError, Stopped
from corecur.run_folder import MetricsLog, RunFolder, check_writable, find_bundle
from corecur.run_lock import RunLock


def strict(text: str) -> Any:
    """JSON without NaN and infinity."""

    def refuse(name: str) -> Any:
        raise ValueError(name)

    return json.loads(text, parse_constant=refuse)


def test_a_new_folder_with_time_and_name(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "runs", "digits") as run:
        assert re.fullmatch(r"\d{8}-\d{6}-digits", run.path.name)
        assert strict((run.path / "lock").read_text())["pid"] == os.getpid()
        assert (run.bundle, run.report) == (run.path / "bundle", run.path / "report.html")
        run.log("begun")
        run.log_metrics({"epoch": 1})
    assert sorted(os.listdir(run.path)) == ["log.txt", "metrics.jsonl"]
    assert re.fullmatch(r"\d\d:\d\d:\d\d begun\n", (run.path / "log.txt").read_text())


def test_runs_of_one_second_get_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corecur.run_folder.time.strftime", lambda form: "20260101-000000")
    runs = [RunFolder.create(tmp_path, "a") for _ in range(3)]
    for run in runs:
        run.close()
    names = [run.path.name for run in runs]
    assert names == ["20260101-000000-a", "20260101-000000-a-1", "20260101-000000-a-2"]


def test_nothing_that_has_the_name_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corecur.run_folder.time.strftime", lambda form: "20260101-000000")
    (tmp_path / "20260101-000000-a").mkdir()
    (tmp_path / "20260101-000000-a-1").touch()
    (tmp_path / "20260101-000000-a-2").symlink_to("nowhere")
    with RunFolder.create(tmp_path, "a") as run:
        assert run.path.name == "20260101-000000-a-3"
    assert len(os.listdir(tmp_path)) == 4


@pytest.mark.parametrize(
    ("name", "stem"),
    [("my photos", "my-photos"), ("../../etc", "etc"), ("a/b\\c", "a-b-c"), ("猫と犬", "猫と犬"), ("..", "run"),
     ("", "run"), ("x" * 300, "x" * 60), ("𠀀" * 300, "𠀀" * 45), ("it's \"so\"", "it-s-so"), ("\udcff", "run")],
)  # fmt: skip
def test_any_name_is_one_folder_in_its_parent(tmp_path: Path, name: str, stem: str) -> None:
    run = RunFolder.create(tmp_path, name)
    run.close()
    assert run.path.parent == tmp_path
    assert run.path.name.split("-", 2)[2] == stem


def test_the_config_is_json_whatever_is_in_it(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "a")
    run.write_config({"epochs": 1})
    run.write_config({"source": Path("photos"), "größe": torch.float32, "broken": "\udcff"})
    found = strict((run.path / "config.json").read_text(encoding="utf-8"))
    assert found["source"] == "photos"
    assert found["größe"] == "torch.float32"
    assert sorted(os.listdir(run.path)) == ["config.json", "lock", "log.txt"]
    assert found["broken"] == r"\udcff"
    run.close()


def test_results_of_each_epoch_are_lines_of_json(tmp_path: Path) -> None:
    net, x = nn.Linear(2, 1), torch.ones(4, 2)
    trainer = Trainer(net, loss=MeanSquaredError(), optimizer=torch.optim.SGD(net.parameters(), lr=0.1))
    with RunFolder.create(tmp_path, "a") as run:
        history = trainer.fit(TensorBatches(x, x[:, :1]), epochs=3, callbacks=[MetricsLog(run)])
        assert run.epochs == 3
    rows = [strict(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert rows == [{"epoch": number} | row for number, row in enumerate(history, start=1)]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_null(tmp_path: Path, value: float) -> None:
    with RunFolder.create(tmp_path, "a") as run:
        MetricsLog(run).on_epoch_end(0, {"loss": value, "matrix": [[1]], "val_loss": 0.5})
    assert strict((run.path / "metrics.jsonl").read_text()) == {"epoch": 1, "loss": None, "val_loss": 0.5}


def test_a_run_that_fails_before_its_first_epoch_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError) as caught, RunFolder.create(tmp_path, "a"):
        raise KeyError("oh")
    assert os.listdir(tmp_path) == []
    assert "nothing; no epoch was finished" in caught.value.__notes__[0]


@pytest.mark.parametrize("error", [RuntimeError("it broke\nbadly"), KeyboardInterrupt()])
def test_a_run_that_fails_later_says_what_is_left(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, RunFolder.create(tmp_path, "a") as run:
        run.log_metrics({"epoch": 1})
        raise error
    assert sorted(os.listdir(run.path)) == ["log.txt", "metrics.jsonl"]
    assert re.search(r"log.txt, metrics.jsonl \(epochs finished: 1, no model\)", caught.value.__notes__[0])
    assert "ended early: " + (str(error).split("\n")[0] or "KeyboardInterrupt") in (run.path / "log.txt").read_text()


@pytest.mark.parametrize("error", [Stopped("stopped at step 3"), KeyError("oh")])
def test_a_run_that_can_be_gone_on_with_is_kept(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)), RunFolder.create(tmp_path, "a", {"seed": 1}) as run:
        if not isinstance(error, Stopped):
            (run.checkpoints / "step-3").mkdir(parents=True)
            (run.checkpoints / "step-3" / "COMMIT").touch()
        raise error
    assert RunFolder.open(run.path).config == {"seed": 1}
    assert "ended early" in (run.path / "log.txt").read_text()


def test_half_a_checkpoint_is_none(tmp_path: Path) -> None:
    with pytest.raises(KeyError), RunFolder.create(tmp_path, "a") as run:
        (run.checkpoints / "step-3.tmp-1").mkdir(parents=True)
        (run.checkpoints / "step-3.tmp-1" / "COMMIT.txt").touch()
        raise KeyError
    assert os.listdir(tmp_path) == []


def test_an_opened_run_is_never_removed(run: RunFolder) -> None:
    run.close()
    with pytest.raises(KeyError), RunFolder.open(run.path):
        raise KeyError("the data are gone")
    assert sorted(os.listdir(run.path)) == ["config.json", "log.txt"]


# going on with a run


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunFolder]:
    """A run with a config, open."""
    with RunFolder.create(tmp_path / "runs", "digits", {"seed": 7}) as made:
        yield made


def rows(run: RunFolder) -> list[Any]:
    return [strict(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]


def test_a_run_is_opened_again_with_what_is_in_it(run: RunFolder) -> None:
    run.log("first")
    run.log_metrics({"epoch": 1})
    run.log_metrics({"epoch": 2})
    run.close()
    with RunFolder.open(run.path) as again:
        assert (again.config, again.epochs, again.checkpoints) == ({"seed": 7}, 2, run.path / "checkpoints")
        again.replace_metrics([{"epoch": 1, "loss": math.nan}])
        again.log_metrics({"epoch": 2, "loss": 0.5})
        assert again.epochs == 2
        again.log("second")
    assert rows(run) == [{"epoch": 1, "loss": None}, {"epoch": 2, "loss": 0.5}]
    assert re.fullmatch(r"\S+ first\n\S+ second\n", (run.path / "log.txt").read_text())


def test_a_second_writer_is_refused(run: RunFolder) -> None:
    with pytest.raises(RunError, match=f"(?s)another process writes this run.*process {os.getpid()} on"):
        RunFolder.open(run.path)


def test_the_config_of_a_run_is_read_strictly(run: RunFolder) -> None:
    run.write_config({"a": [math.nan, (math.inf, 1.5)], "b": {"c": -math.inf}, "path": Path("x\udcff")})
    assert run.config == {"a": [None, [None, 1.5]], "b": {"c": None}, "path": r"x\udcff"}
    for content in ('{"a": 1, "a": 2}', '{"a": NaN}', "{", "[]", ""):
        (run.path / "config.json").write_text(content)
        with pytest.raises(RunError, match=r"config.json is damaged"):
            _ = run.config
        with pytest.raises(RunError, match=r"config.json is damaged"):
            RunFolder.open(run.path)


def test_what_a_killed_writer_left_is_removed_and_nothing_else(run: RunFolder) -> None:
    run.close()
    left = [".config.json.abcd1_3x", ".metrics.jsonl.zzzzzzzz", ".report.html.0a1b2c3d", "best.tmp-12-ab"]
    kept = [".notes.markdown", "notes.txt", ".config.json.old", "my.tmp", ".bundle"]
    for name in (*left, *kept):
        (run.path / name).write_text("x")
    (run.path / ".bundle.abcdefgh" / "new").mkdir(parents=True)
    before = {"config.json", "log.txt"}
    RunFolder.open(run.path).close()
    assert set(os.listdir(run.path)) == before | set(kept)


def test_the_end_of_a_line_that_a_kill_cut_is_cut_off(run: RunFolder) -> None:
    run.log_metrics({"epoch": 1})
    run.close()
    for name in ("metrics.jsonl", "log.txt"):
        with (run.path / name).open("a") as file:
            file.write('{"epoch": 2, "lo')
    with RunFolder.open(run.path) as again:
        assert again.epochs == 1
        again.log_metrics({"epoch": 2})
        again.log("on")
    assert rows(run) == [{"epoch": 1}, {"epoch": 2}]
    assert re.fullmatch(r"\S+ on\n", (run.path / "log.txt").read_text())


def test_a_lock_taken_over_is_said_once_in_the_log(run: RunFolder) -> None:
    run.close()
    holding = "import os, sys, pathlib; from corecur.run_lock import RunLock as L\n"
    holding += "L(pathlib.Path(sys.argv[1])).acquire(); print(os.getpid(), flush=True); os.kill(os.getpid(), 9)"
    killed = subprocess.run([sys.executable, "-c", holding, run.path], capture_output=True, text=True, check=False)
    RunFolder.open(run.path).close()
    RunFolder.open(run.path).close()
    said = [line for line in (run.path / "log.txt").read_text().splitlines() if "taken over" in line]
    assert len(said) == 1 and f"process {killed.stdout.strip()} on" in said[0]


@pytest.mark.parametrize(
    ("place", "got", "meant"),
    [
        (".", "another folder", None),
        ("runs", "a folder of runs", "b"),
        ("runs/a/bundle", "a place in a run", "a"),
        ("runs/a/checkpoints/step-1", "a place in a run", "a"),
        ("runs/a/config.json", "a place in a run", "a"),
        ("runs/a/nothing", "a place in a run", "a"),
        ("runs/20260101-000000-bb", "no such folder", "b"),
        ("nowhere", "no such folder", None),
        ("model", "a model file", None),
        ("file", "a file", None),
        ("x" * 300, "File name too long", None),
        ("x/" * 2500, "File name too long", None),
    ],
)
def test_what_is_no_run_is_not_opened_and_not_made(tmp_path: Path, place: str, got: str, meant: str | None) -> None:
    names = {"a": "20260101-000000-a", "b": "20260101-000000-b"}
    for name in names.values():
        (tmp_path / "runs" / name / "checkpoints" / "step-1").mkdir(parents=True)
        (tmp_path / "runs" / name / "config.json").write_text("{}")
        (tmp_path / "runs" / name / "log.txt").touch()
    (tmp_path / "runs" / ".20270101-000000-c.tmp-1").mkdir()
    bundle(tmp_path / "model")
    bundle(tmp_path / "runs" / names["a"] / "bundle")
    (tmp_path / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    path = tmp_path / place.replace("runs/a", f"runs/{names['a']}")
    with pytest.raises(RunError) as refused:
        RunFolder.open(path)
    text = str(refused.value)
    assert f"got:      {got}" in text
    guesses = [] if meant is None else [str(tmp_path / "runs" / names[meant])]
    assert re.findall("did you mean (.*)[?]", text) == guesses
    assert sorted(tmp_path.rglob("*")) == before


# several processes

BEGIN = r"""
import json, os, re, sys, time
from pathlib import Path
from corecur.errors import RunError
from corecur.run_folder import RunFolder
place = Path(sys.argv[1])
def say(value): os.write(1, json.dumps(value).encode() + b"\n")   # in one piece, for several say something
def at_once(count, work):
    go, start = os.pipe()
    for number in range(count):
        if os.fork() == 0:
            os.close(start)
            os.read(go, 1)          # ends for all when their parent closes it
            work(number)
            os._exit(0)
    os.close(start)
"""


def in_a_process(script: str, place: Path) -> list[Any]:
    """The lines of JSON that a program prints."""
    line = [sys.executable, "-c", BEGIN + textwrap.dedent(script), str(place)]
    found = subprocess.run(line, capture_output=True, text=True, check=False, timeout=300)
    assert (found.returncode, found.stderr) == (0, "")
    return [json.loads(text) for text in found.stdout.splitlines()]


def test_processes_that_begin_at_once_never_share_a_folder(tmp_path: Path) -> None:
    script = """
        def work(number):
            for turn in range(5):
                with RunFolder.create(place, "a", {"by": number}) as run:
                    run.log_metrics({"by": number})
                    say([run.path.name, number])
        at_once(8, work)
        for _ in range(8): os.wait()
    """
    made = in_a_process(script, tmp_path)
    assert len({name for name, _ in made}) == len(made) == 40
    assert {name for name, _ in made} == set(os.listdir(tmp_path))
    for name, number in made:
        for file in ("config.json", "metrics.jsonl"):
            assert json.loads((tmp_path / name / file).read_text()) == {"by": number}


def test_a_reader_never_sees_a_part_of_a_file_or_of_a_new_folder(run: RunFolder) -> None:
    script = """
        from corecur.run_lock import is_running
        run, seconds = RunFolder.open(place), 2
        def look():
            config = json.loads((place / "config.json").read_text())
            rows = [json.loads(line) for line in (place / "metrics.jsonl").read_text().splitlines()]
            return len(config["text"]) == config["size"] and len(rows) == len(rows[0])
        def look_at(folder):
            return is_running(folder) and "size" in json.loads((folder / "config.json").read_text())
        def read(number):
            whole = partial = 0
            seen, until = set(), time.monotonic() + seconds
            while time.monotonic() < until:
                new = {name for name in os.listdir(place.parent) if name[0] != "."} - seen
                for work, *given in [(look,), *((look_at, place.parent / name) for name in new)]:
                    try: good = work(*given)
                    except (OSError, ValueError): good = False
                    whole, partial = whole + good, partial + (not good)
                seen |= new
            say([whole, partial, len(seen)])
        def write(turn):
            size = 4 ** (turn % 9)
            run.write_config({"text": "x" * size, "size": size})
            run.replace_metrics([dict.fromkeys(map(str, range(1 + turn % 70)), 1.0)] * (1 + turn % 70))
            return {"size": size}
        write(0)
        at_once(1, read)
        made, turn, until = [], 0, time.monotonic() + seconds
        while time.monotonic() < until:
            turn += 1
            config = write(turn)
            if turn % 4 == 0: made.append(RunFolder.create(place.parent, "b", config))
        os.wait()
        say([turn, len(made)])
    """
    run.close()
    (whole, partial, seen), (turns, made) = in_a_process(script, run.path)
    assert partial == 0, (whole, partial, seen, turns, made)
    assert whole > 100 and turns > 20 and seen > made / 2 > 2, "the reader must have been there"


# places


def test_a_place_with_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "runs"):
        with pytest.raises(RunError, match=r"(?s)file in the way.*--out"):
            RunFolder.create(place, "a")
    check_writable(tmp_path / "not" / "yet" / "there")
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("name", ["with space", "größe 猫", "it's", 'a "b"', "-x", "a\nb", "$(HOME)", "\udcff"])
def test_a_place_of_any_name(tmp_path: Path, name: str) -> None:
    with RunFolder.create(tmp_path / name, "a", {"seed": 1}) as run:
        run.log_metrics({"epoch": 1})
        run.log(f"in {tmp_path / name}")
    with RunFolder.open(run.path) as again:
        assert (again.config, again.epochs) == ({"seed": 1}, 1)


@pytest.mark.parametrize("place", ["x" * 300, "x" * 250 + "/" + "y" * 250 + "/" + "z/" * 1900])
def test_a_place_with_too_long_a_name(tmp_path: Path, place: str) -> None:
    with pytest.raises(RunError, match=r"(?s)runs cannot be written here.*File name too long"):
        RunFolder.create(tmp_path / place, "a")
    assert os.listdir(tmp_path) == []


def test_a_place_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *args: False)
    with pytest.raises(RunError, match=r"(?s)cannot be written here.*no permission"):
        check_writable(tmp_path)


def test_runs_do_not_go_into_the_data(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "runs"):
        with pytest.raises(ConfigError, match="written into the data"):
            check_writable(place, tmp_path)
    check_writable(tmp_path / "runs", tmp_path / "photos")
    check_writable(tmp_path, "digits")


# bundles in them


def bundle(path: Path) -> Path:
    return write_bundle(path, model={}, weights={"w": torch.zeros(1)})


def test_the_bundle_of_a_run_is_found(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "a")
    run.close()
    bundle(run.bundle)
    assert find_bundle(run.path) == find_bundle(run.bundle) == run.bundle
    assert find_bundle(tmp_path / "m.corecur") == tmp_path / "m.corecur"
    with pytest.raises(RunError, match=rf"(?s)folder of runs.*did you mean .*{run.path.name}"):
        find_bundle(tmp_path)


def test_a_bundle_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "a", {})
    run.close()
    (tmp_path / "elsewhere").mkdir()
    run.bundle.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="a link to another place"):
        find_bundle(run.path)


def test_a_run_without_a_bundle(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "it's", "a", {})
    with pytest.raises(RunError, match=r"(?s)a run that goes on\n.*wait until it is done"):
        find_bundle(run.path)
    run.close()
    quoted = re.escape("'" + str(run.path).replace("'", "'\"'\"'") + "'")
    with pytest.raises(RunError, match=rf"(?s)a run that was stopped or killed.*corecur train --resume {quoted}$"):
        find_bundle(run.path)
    (run.path / "lock").write_text("left by a kill")
    with pytest.raises(RunError, match="a run that was stopped or killed"):
        find_bundle(run.path)
    (run.path / "config.json").unlink()
    with pytest.raises(RunError, match="train again"):
        find_bundle(run.path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="no model file in this folder"):
        find_bundle(tmp_path / "empty")


def test_a_child_made_by_fork_has_no_say(run: RunFolder) -> None:
    child = os.fork()
    if child == 0:
        with run:
            os._exit(3)
    os.waitpid(child, 0)
    assert run.path.is_dir() and (run.path / "lock").exists()
    with pytest.raises(RunError, match="another process"):
        RunLock(run.path).acquire()

"""SIGINT and SIGTERM: real signals sent to real processes, which are light, for the module needs no torch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from corecur import interruption
from corecur.errors import Stopped

SIGNALS = (signal.SIGINT, signal.SIGTERM)
BEGIN = """
import os, select, signal, sys, time
from corecur import interruption
from corecur.interruption import hint, polite, unwatch, wanted, watch
def ready(word="ready"): print(word, flush=True)
"""
ECHO = interruption._SECONDS_OF_ECHO
# A step that ends long before the test, and long after a process that leaves at once.
ENDLESS = 60


class Child:
    """A Python program that has said it is ready."""

    def __init__(self, script: str, **options: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", BEGIN + textwrap.dedent(script)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
        )  # fmt: skip
        self.sent = time.monotonic()
        self.hear("ready")

    def hear(self, word: str) -> None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert line == word, (line, self.process.stderr.read() if self.process.stderr else "")

    def send(self, number: int) -> None:
        self.sent = time.monotonic()
        self.process.send_signal(number)

    def end(self) -> tuple[int, str, str, float]:
        """Exit code, standard output and error, and the seconds after the last signal."""
        assert self.process.stdout is not None and self.process.stderr is not None
        out, err = self.process.stdout.read(), self.process.stderr.read()  # what ``hear`` read ahead is in it
        return self.process.wait(timeout=30), out, err, time.monotonic() - self.sent


@pytest.fixture
def child() -> Iterator[Callable[..., Child]]:
    children: list[Child] = []

    def start(script: str, **options: Any) -> Child:
        children.append(Child(script, **options))
        return children[-1]

    yield start
    for one in children:
        one.process.kill()
        one.process.communicate()


@pytest.fixture(autouse=True)
def of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "_SECONDS_OF_ECHO", 0.0)
    monkeypatch.setattr(interruption, "_NOW", interruption._Requests())


# a program that watches, outside of polite stretches


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("hint", [None, "corecur train --resume 'my run'"])
def test_a_signal_ends_the_process_at_once(child: Callable[..., Child], number: int, hint: str | None) -> None:
    # one long call into C that looks at no signal: Python's own handlers would wait for its end
    one = child(f"""
        import hashlib
        watch()
        if {hint!r}: hint({hint!r})
        ready()
        hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000_000)
    """)
    one.send(number)
    code, _, err, seconds = one.end()
    advice = "nothing was begun: give the same command again" if hint is None else f"go on with: {hint}"
    assert (code, err) == (75, f"corecur: stopped; {advice}\n")
    assert seconds < 2


def test_other_signals_that_are_handled_mean_nothing(child: Callable[..., Child]) -> None:
    one = child("""
        watch(); ready()
        signal.signal(signal.SIGCHLD, lambda *_: None)  # as torch's data loader does
        with polite():
            for _ in range(3):
                if os.fork() == 0: os._exit(0)
                os.wait()
            time.sleep(0.2)
            print(wanted(), flush=True)
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGCHLD)
        time.sleep(0.2)
        print("still here")
    """)
    assert one.end()[:3] == (0, "False\nstill here\n", "")


def test_what_was_ignored_stays_ignored(child: Callable[..., Child]) -> None:
    one = child("watch(); ready(); time.sleep(0.5); print('done')",
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))  # fmt: skip
    one.send(signal.SIGINT)
    assert one.end()[:3] == (0, "done\n", "")


def test_without_a_reader_of_standard_error_it_ends_too(child: Callable[..., Child]) -> None:
    one = child("""
        os.set_blocking(2, False)
        try:
            while True: os.write(2, b"x" * 4096)
        except BlockingIOError: os.set_blocking(2, True)
        watch(); ready(); time.sleep(60)
    """)
    one.send(signal.SIGTERM)
    assert one.process.wait(timeout=5) == 75


def test_unwatched_the_signals_are_what_they_were(child: Callable[..., Child]) -> None:
    script = """
        watch(); watch(); unwatch(); unwatch(); ready()
        try: time.sleep(30)
        except KeyboardInterrupt: print("interrupted")
    """
    one, other = child(script), child(script)
    one.send(signal.SIGINT)
    other.send(signal.SIGTERM)
    assert one.end()[:3] == (0, "interrupted\n", "")
    assert other.end()[:3] == (-signal.SIGTERM, "", "")


# polite stretches of a program that watches

LOOP = """
    watch(); hint("corecur train --resume runs/1")
    try:
        with polite():
            ready()
            while not wanted(): time.sleep(0.01)
            ready("saved")
            {then}
    except BaseException as error:
        print(type(error).__name__, error); sys.exit(error.exit_code)
"""


@pytest.mark.parametrize("number", SIGNALS)
def test_a_polite_stretch_ends_by_itself(child: Callable[..., Child], number: int) -> None:
    one = child(LOOP.format(then="pass"))
    one.send(number)
    code, out, err, _ = one.end()
    said = "Stopped stopped on request\n  do this:  corecur train --resume runs/1\n"
    assert (code, out) == (75, f"saved\n{said}")
    assert err == "corecur: stopping after this step; once more to stop at once\n"


@pytest.mark.parametrize("second", SIGNALS)
def test_a_second_signal_ends_it_at_once(child: Callable[..., Child], second: int) -> None:
    one = child(LOOP.format(then=f"time.sleep({ENDLESS})"))
    one.send(signal.SIGINT)
    one.hear("saved")
    time.sleep(ECHO * 1.5)
    one.send(second)
    code, _, err, seconds = one.end()
    assert code == 75 and seconds < 2
    assert err.splitlines()[1:] == ["corecur: stopped; go on with: corecur train --resume runs/1"]


def test_the_echo_of_a_signal_is_no_second_one(child: Callable[..., Child]) -> None:
    one = child(LOOP.format(then="time.sleep(0.5); print('whole')"))
    for _ in range(5):
        one.send(signal.SIGTERM)
        time.sleep(0.01)
    code, out, _, _ = one.end()
    assert code == 75 and out.startswith("saved\nwhole\n")


def test_timeout_sends_its_signal_twice_and_it_counts_once() -> None:
    script = BEGIN + textwrap.dedent(LOOP.format(then="time.sleep(0.4); print('whole')"))
    line = ["timeout", "-k", "9", "1.5", sys.executable, "-c", script]
    found = subprocess.run(line, capture_output=True, text=True, check=False, timeout=30)
    assert found.stdout.startswith("ready\nsaved\nwhole\n")
    assert found.returncode == 124  # of timeout, which hides the code of its child


def test_a_step_that_does_not_end_has_a_deadline(child: Callable[..., Child]) -> None:
    one = child("interruption.PATIENCE = 0.5\n" + textwrap.dedent(LOOP.format(then=f"time.sleep({ENDLESS})")))
    one.send(signal.SIGTERM)
    code, _, err, seconds = one.end()
    assert code == 75 and 0.4 < seconds < 3
    assert err.splitlines()[1:] == ["corecur: the step did not end in 0.5 s; go on with: corecur train --resume runs/1"]
    assert interruption.PATIENCE == 8


def test_the_deadline_holds_after_the_stretch_too(child: Callable[..., Child]) -> None:
    script = LOOP.format(then="pass").replace("sys.exit", f"time.sleep({ENDLESS}); sys.exit")
    one = child("interruption.PATIENCE = 0.5\n" + textwrap.dedent(script))
    one.send(signal.SIGTERM)
    assert one.end()[0] == 75


# children


@pytest.mark.parametrize("before", ["", "watch()"], ids=["library", "program"])
def test_workers_of_a_polite_stretch_outlive_ctrl_c_and_end_when_told(child: Callable[..., Child], before: str) -> None:
    one = child(
        f"""
        {before}
        reading, writing = os.pipe()
        try:
            with polite():
                ready(); worker = os.fork()
                if worker == 0:
                    ready("worker")
                    time.sleep(1)
                    os.write(writing, b"batch")
                    time.sleep({ENDLESS})
                os.close(writing)
                while not wanted(): time.sleep(0.01)
                print(os.read(reading, 9).decode(), flush=True)   # the step needs one more batch
        except interruption.Stopped:
            os.kill(worker, signal.SIGTERM)
            print(os.WTERMSIG(os.waitpid(worker, 0)[1]))
        """,
        start_new_session=True,
    )
    one.hear("worker")
    os.killpg(one.process.pid, signal.SIGINT)  # as a terminal does
    code, out, _, seconds = one.end()
    assert (code, out) == (0, f"batch\n{int(signal.SIGTERM)}\n")
    assert seconds < 10


@pytest.mark.parametrize("before", ["watch()", "watch(); unwatch()"])
def test_other_children_have_the_usual_handlers(child: Callable[..., Child], before: str) -> None:
    one = child(f"""
        {before}; ready()
        if os.fork() == 0:
            print(signal.getsignal(signal.SIGINT) is signal.default_int_handler,
                  signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, signal.set_wakeup_fd(-1), wanted(), flush=True)
            os._exit(0)
        os.wait()
    """)
    assert one.end()[:3] == (0, "True True -1 False\n", "")


def test_a_data_loader_works_on_after_ctrl_c(child: Callable[..., Child]) -> None:
    one = child(
        """
        watch(); ready()
        from torch.utils.data import DataLoader
        try:
            with polite():
                for _ in DataLoader(range(4), num_workers=2): pass   # its workers end: SIGCHLD
                loader = iter(DataLoader(range(100), batch_size=10, num_workers=2))
                next(loader)
                print(wanted(), flush=True); ready("training")
                while not wanted(): time.sleep(0.01)
                print(sum(len(batch) for batch in loader), flush=True)
        except interruption.Stopped as stopped:
            sys.exit(stopped.exit_code)
        """,
        start_new_session=True,
    )
    one.hear("False")
    one.hear("training")
    os.killpg(one.process.pid, signal.SIGINT)
    code, out, err, _ = one.end()
    assert (code, out) == (75, "90\n")
    assert err == "corecur: stopping after this step; once more to stop at once\n"


# in a program that does not watch


@pytest.mark.parametrize("number", SIGNALS)
def test_for_a_stretch_the_signals_ask_and_then_are_what_they_were(number: signal.Signals) -> None:
    before = [signal.getsignal(n) for n in SIGNALS]
    interruption.hint("do it again")
    with pytest.raises(Stopped, match=r"(?s)stopped on request.*do it again"), interruption.polite():
        assert not interruption.wanted()
        with interruption.polite():
            signal.raise_signal(number)
            assert interruption.wanted()
        assert interruption.wanted()
    assert not interruption.wanted()
    assert [signal.getsignal(n) for n in SIGNALS] == before


def test_a_second_ctrl_c_is_a_keyboard_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt), interruption.polite():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
    assert not interruption.wanted()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_sigterm_ends_the_program(child: Callable[..., Child]) -> None:
    one = child(f"interruption._SECONDS_OF_ECHO = 0\nwith polite():\n    ready(); time.sleep({ENDLESS})")
    one.send(signal.SIGTERM)
    time.sleep(0.2)
    one.send(signal.SIGTERM)
    assert one.end()[0] == -signal.SIGTERM


def test_an_error_is_not_hidden_by_a_request() -> None:
    with pytest.raises(KeyError), interruption.polite():
        interruption.request()
        raise KeyError
    assert not interruption.wanted()


def test_off_the_main_thread_signals_are_left_alone() -> None:
    found = []

    def work() -> None:
        with interruption.polite():
            found.append([signal.getsignal(n) for n in SIGNALS])

    before = [signal.getsignal(n) for n in SIGNALS]
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]


def test_a_handler_that_python_did_not_set_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    real = signal.getsignal
    monkeypatch.setattr(signal, "getsignal", lambda n: None if n == signal.SIGTERM else real(n))
    before = real(signal.SIGTERM)
    with interruption.polite():
        assert real(signal.SIGTERM) is before
        assert real(signal.SIGINT) is not signal.default_int_handler
    assert real(signal.SIGINT) is signal.default_int_handler


# the command


def catches(pid: int, number: int) -> bool:
    """Whether a process handles a signal, as the system sees it."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(mask.split()[1], 16) >> (number - 1) & 1)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc to see when the command watches")
@pytest.mark.parametrize("number", SIGNALS)
def test_the_command_can_be_stopped_while_it_is_loading(number: int, tmp_path: Path) -> None:
    line = [sys.executable, "-X", "importtime", "-m", "corecur", "train", "digits"]
    process = subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not catches(process.pid, signal.SIGTERM):
        assert process.poll() is None
        time.sleep(0.001)
    sent = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    said = [line for line in err.splitlines() if not line.startswith("import time:")]
    assert (process.returncode, out, said) == (
        75, "", ["corecur: stopped; nothing was begun: give the same command again"],
    )  # fmt: skip
    assert time.monotonic() - sent < 5
    assert " typer\n" not in err and " torch\n" not in err  # it watched before they were loaded
    assert os.listdir(tmp_path) == []


def test_the_program_is_the_module() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"corecur": "corecur.__main__:main"}


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (Stopped("stopped at step 7"), 75)])
def test_the_command_leaves_with_the_code_of_what_stopped_it(
    command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("corecur.learners.tasks.load_learner", stop)
    found = command("predict", "model.corecur", "a.png")
    assert found.exit_code == code
    assert found.stderr == f"corecur: {str(error) or 'stopped'}\n"

"""Stopping on request: real signals to real processes, which need no torch and start in milliseconds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from corecur import interruption
from corecur.errors import Stopped

BEGINNING = """
import os, signal, sys, time
from corecur import interruption
from corecur.errors import Stopped
def ready(word="ready"):
    print(word, flush=True)
def steps(most=400):
    for number in range(most):
        time.sleep(0.02)
        if interruption.wanted():
            print(f"stopped after step {number}", flush=True)
            return
"""
BOTH = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])


@contextmanager
def program(body: str, **options: object) -> Iterator[subprocess.Popen[str]]:
    """A program that has said that it is ready."""
    line = [sys.executable, "-c", BEGINNING + body]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(line, text=True, **(pipes | options)) as process:  # type: ignore[call-overload]
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def end_of(process: subprocess.Popen[str], *, within: float) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a program that must end in so many seconds."""
    out, err = process.communicate(timeout=within)
    return process.returncode, out, err


# in a program that watches from its first line


@BOTH
def test_where_nothing_is_lost_a_signal_ends_the_program_at_once(number: int) -> None:
    with program("interruption.watch(); ready(); time.sleep(60)") as process:
        process.send_signal(number)
        code, _, err = end_of(process, within=5)
    assert code == 75
    assert err == "corecur: stopped\n  do this:  nothing was begun: give the same command again\n"


def test_a_long_call_in_which_python_hears_nothing_ends_too() -> None:
    body = "import hashlib; interruption.watch(); ready(); hashlib.pbkdf2_hmac('sha256', b'a', b'b', 10**9)"
    with program(body) as process:
        process.send_signal(signal.SIGINT)
        assert end_of(process, within=5)[0] == 75


def test_the_hint_is_printed_whatever_it_is_made_of() -> None:
    with program(
        "interruption.watch(); interruption.hint('corecur train --resume \\udcff猫'); ready(); time.sleep(60)"
    ) as p:
        p.send_signal(signal.SIGTERM)
        code, _, err = end_of(p, within=5)
    assert code == 75 and err.endswith("do this:  corecur train --resume \\udcff猫\n")


POLITE = """
interruption.watch()
interruption.hint("go on")
try:
    with interruption.polite("resume it"):
        ready()
        steps()
except Stopped as error:
    print(error, flush=True)
    sys.exit(error.exit_code)
"""


@BOTH
def test_a_polite_stretch_ends_after_its_step(number: int) -> None:
    with program(POLITE) as process:
        process.send_signal(number)
        code, out, err = end_of(process, within=5)
    assert code == 75 and err == "stopping after this step; once more to stop at once\n"
    assert out.startswith("stopped after step ") and out.endswith("stopped on request\n  do this:  resume it\n")


def test_one_wish_may_come_twice_as_from_timeout_and_supervisors() -> None:
    with program(POLITE.replace("steps()", "time.sleep(0.5); steps()")) as process:
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            process.send_signal(number)
            time.sleep(0.02)
        code, out, err = end_of(process, within=5)
    assert code == 75 and "stopped after step 0" in out
    assert err.count("\n") == 1


DEAF = POLITE.replace("steps()", "time.sleep(60)")


def test_the_second_signal_ends_it_at_once() -> None:
    with program(DEAF) as process:
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        code, _, err = end_of(process, within=3)
    assert code == 75 and err.endswith("corecur: stopped at once\n  do this:  go on\n")


def test_a_step_without_end_is_left_after_the_deadline() -> None:
    assert interruption.PATIENCE <= 8
    with program("interruption.PATIENCE = 0.6\n" + DEAF) as process:
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        code, _, err = end_of(process, within=5)
    assert code == 75 and 0.5 < time.monotonic() - began < 3
    assert "the step and its checkpoint did not end in 0.6 s" in err and "go on" in err


def test_the_deadline_holds_for_what_comes_after_the_stretch() -> None:
    body = POLITE.replace("sys.exit", "time.sleep(60); sys.exit")
    with program("interruption.PATIENCE = 0.6\n" + body) as process:
        process.send_signal(signal.SIGTERM)
        assert end_of(process, within=5)[0] == 75


def test_a_wish_too_late_for_the_last_step_is_heeded_at_the_end() -> None:
    body = POLITE.replace("steps()", "sys.stdin.readline()")
    with program(body) as process:
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)  # communicate closes standard input, which ends the line
        code, out, _ = end_of(process, within=5)
    assert code == 75 and "resume it" in out


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_who_reads_no_more_does_not_keep_it(stream: str) -> None:
    body = f"interruption.watch(); ready()\nwhile True: print('x' * 1000, file=sys.{stream})"
    with program(body) as process:
        time.sleep(0.3)  # the pipe is full now, and its lock taken
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=5) == 75


FULL = """
os.set_blocking(2, False)
try:
    while True:
        os.write(2, b"x" * 1000)
except BlockingIOError:
    os.set_blocking(2, True)
"""


def test_a_stop_after_the_step_waits_for_no_reader() -> None:
    with program(FULL + POLITE) as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=5) == 75


def test_other_signals_are_no_wish_to_stop() -> None:
    body = """
interruption.watch()
heard = []
for number in (signal.SIGUSR1, signal.SIGCHLD):
    signal.signal(number, lambda number, frame: heard.append(number))
with interruption.polite():
    ready()
    os.kill(os.getpid(), signal.SIGUSR1)
    import subprocess
    subprocess.run(["true"])
    time.sleep(0.2)
    print(len(heard), interruption.wanted())
"""
    with program(body) as process:
        assert end_of(process, within=5) == (0, "2 False\n", "")


def test_a_job_in_the_background_does_not_hear_ctrl_c() -> None:
    line = ["sh", "-c", 'trap \'\' INT; exec "$0" -c "$1"', sys.executable, BEGINNING + POLITE]
    with subprocess.Popen(line, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        code, _, err = end_of(process, within=5)
    assert code == 75 and err.count("stopping after this step") == 1


def test_signals_get_their_usual_meaning_back() -> None:
    body = "interruption.watch(); interruption.unwatch(); ready(); time.sleep(60)"
    with program(body) as process:
        process.send_signal(signal.SIGTERM)
        assert end_of(process, within=5)[0] == -signal.SIGTERM
    with program(body) as process:
        process.send_signal(signal.SIGINT)
        code, _, err = end_of(process, within=5)
    assert code == -signal.SIGINT and "KeyboardInterrupt" in err


FORK = """
{before}
with interruption.polite():
    child = os.fork()
    if not child:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    ready()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), interruption.wanted())
"""


@pytest.mark.parametrize("before", ["interruption.watch()", ""])
def test_children_made_by_fork_end_as_their_parent_says(before: str) -> None:
    with program(FORK.format(before=before)) as process:
        assert end_of(process, within=5) == (0, f"{-signal.SIGTERM} False\n", "")


# in a program of somebody else, such as a notebook


@pytest.fixture
def handlers() -> Iterator[Callable[[], list[object]]]:
    """Both signals' handlers now; those before are there again at the end."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    yield lambda: [signal.getsignal(number) for number in numbers]
    assert {number: signal.getsignal(number) for number in numbers} == before


@BOTH
def test_a_stretch_hears_signals_and_gives_them_back(number: int, handlers: Callable[[], list[object]]) -> None:
    before = handlers()
    with pytest.raises(Stopped, match="(?s)stopped on request.*fit again"), interruption.polite("fit again"):
        assert handlers() != before
        with interruption.polite():
            os.kill(os.getpid(), number)
            assert interruption.wanted()
        assert interruption.wanted()  # the outer stretch is not over
    assert handlers() == before and not interruption.wanted()


def test_there_the_second_signal_is_a_keyboard_interrupt(
    handlers: Callable[[], list[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interruption, "_SAME_WISH", 0.05)
    with pytest.raises(KeyboardInterrupt), interruption.polite():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)  # the same wish
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
    assert not interruption.wanted()


def test_an_error_in_the_stretch_is_what_is_raised() -> None:
    with pytest.raises(ZeroDivisionError), interruption.polite():
        interruption.request()
        raise ZeroDivisionError
    assert not interruption.wanted()


def test_a_thread_of_its_own_leaves_signals_alone(handlers: Callable[[], list[object]]) -> None:
    before, found = handlers(), []

    def work() -> None:
        try:
            with interruption.polite():
                found.append(handlers() == before)
                interruption.request()
        except Stopped as error:
            found.append(error.exit_code)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [True, 75]


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    old = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruption.polite():
            os.kill(os.getpid(), signal.SIGINT)
            assert not interruption.wanted()
    finally:
        signal.signal(signal.SIGINT, old)

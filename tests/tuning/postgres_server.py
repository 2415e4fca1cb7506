"""A PostgreSQL server of a test's own: in a temporary folder, on a free port of this machine, ended with the test."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")
# A password that would show if it stood in a message.
PASSWORD = "s3cret-{word}"


def find_program(name: str) -> str | None:
    """A program of PostgreSQL, also where distributions keep it off the path."""
    if found := shutil.which(name):
        return found
    root = Path("/")
    return next((str(file) for place in _PLACES for file in sorted(root.glob(f"{place[1:]}/{name}"))), None)


def missing() -> str | None:
    """Why there can be no server, or None."""
    lacking = [name for name in ("initdb", "postgres") if find_program(name) is None]
    return f"PostgreSQL's {' and '.join(lacking)} not found: apt-get install -y postgresql" if lacking else None


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """The address of a running, empty server; it refuses to run as root, and then runs as nobody."""
    folder = Path(tempfile.mkdtemp(prefix="corecur-pg-"))
    user = {"user": "nobody"} if getpass.getuser() == "root" or os.geteuid() == 0 else {}
    if user:
        shutil.chown(folder, "nobody")
    data, secret, port = folder / "data", folder / "secret", _free_port()
    secret.write_text(PASSWORD + "\n")
    secret.chmod(0o644)
    plain = os.environ | {"LC_ALL": "C", "HOME": str(folder)}
    make = [find_program("initdb"), "-D", data, "-U", "ann", "-A", "scram-sha-256", f"--pwfile={secret}", "-N"]
    subprocess.run([str(word) for word in make], env=plain, check=True, capture_output=True, cwd=folder, **user)  # type: ignore[call-overload]
    serve = [find_program("postgres"), "-D", data, "-p", port, "-k", folder, "-c", "listen_addresses=127.0.0.1",
             "-c", "fsync=off"]  # fmt: skip
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([str(word) for word in serve], env=plain, cwd=folder, stdout=log, stderr=log, **user)  # type: ignore[call-overload]
    try:
        _wait_for(port, server, folder / "log")
        yield f"postgresql+psycopg://ann:{PASSWORD.replace('{', '%7B').replace('}', '%7D')}@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    last = time.monotonic() + 30
    while time.monotonic() < last and server.poll() is None:
        if b"ready to accept connections" in log.read_bytes():
            return
        time.sleep(0.05)
    raise RuntimeError(log.read_text())

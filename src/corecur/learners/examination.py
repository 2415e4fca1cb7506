"""The doctor at a learner's training, and what it says of a run afterwards, from the run's folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corecur.bundle.layout import Limit
from corecur.bundle.strict_json import parse_json
from corecur.engine.callback import Callback
from corecur.engine.doctor.diagnose import diagnose
from corecur.engine.doctor.doctor import Doctor
from corecur.errors import BundleError, RunError
from corecur.finding import Finding
from corecur.learners.prescriptions import prescribed
from corecur.run_folder import DOCTOR, RunFolder, read_config

_LIMIT = Limit(1 << 24, 2_000_000)


@dataclass(frozen=True)
class Examination:
    """What the doctor says of a run: findings, the gravest first, and what they were made from.

    >>> Examination(Path("runs/a"), (), ()).is_sound
    True
    """

    run: Path
    findings: tuple[Finding, ...]
    rows: Sequence[Mapping[str, Any]]

    @property
    def is_sound(self) -> bool:
        """Whether there is nothing to complain about."""
        return all(finding.level == "note" for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """The findings and the size of what was measured, as JSON values."""
        looks = sum(row.get("row") == "look" for row in self.rows)
        return {"run": str(self.run), "findings": [f.as_json() for f in self.findings], "sound": self.is_sound,
                "looks": looks, "steps": max((int(row.get("step") or 0) for row in self.rows), default=0)}  # fmt: skip


def doctor_for(
    callbacks: Sequence[Callback], config: Mapping[str, Any], *, run: RunFolder | None, heal: bool,
    tell: Callable[[str], object],
) -> Doctor:  # fmt: skip
    """The doctor for a training: one given as a callback, or a new one that keeps what it measures in the run."""
    given = next((callback for callback in callbacks if isinstance(callback, Doctor)), None)
    if given is not None:
        return given

    def heard(line: str) -> None:
        if run is not None:
            run.log(line.removeprefix("! "))
        tell(line)

    return Doctor(
        heal=heal,
        tell=heard,
        write=None if run is None else run.log_doctor,
        rewrite=None if run is None else run.replace_doctor,
        remedy=lambda finding: _with_remedy(finding, config),
    )


def with_doctor(callbacks: Sequence[Callback], doctor: Doctor) -> list[Callback]:
    """The callbacks and the doctor, who stands among them once.

    >>> doctor = Doctor()
    >>> with_doctor([], doctor) == with_doctor([doctor], doctor) == [doctor]
    True
    """
    return [*callbacks] if doctor in callbacks else [*callbacks, doctor]


def examine(path: Path) -> Examination:
    """What the doctor says of the run in a folder; RunError where that is no run, or none that was watched.

    A run that goes on, or was stopped, is judged by what has been measured so far.
    """
    config = read_config(path, purpose="examine")
    rows = _read_rows(path)
    return Examination(path, tuple(_with_remedy(finding, config) for finding in diagnose(rows)), rows)


def _with_remedy(finding: Finding, config: Mapping[str, Any]) -> Finding:
    request, recipe = config.get("request"), config.get("recipe")
    asked = request if isinstance(request, Mapping) else {}
    given = asked.get("settings")
    source = asked.get("source")
    return prescribed(
        finding,
        recipe if isinstance(recipe, Mapping) else {},
        source=source if isinstance(source, str) else None,
        given=given if isinstance(given, Mapping) else {},
    )


def _read_rows(path: Path) -> list[dict[str, Any]]:
    """The lines of ``doctor.jsonl``; a last one that is not whole, of a run that was killed, is left out."""
    file = path / DOCTOR
    try:
        lines = file.read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise RunError(
            "no doctor watched this run", where=path, got=error.strerror, expected=f"a file {DOCTOR}",
            do="train again with this version: corecur train SOURCE",
        ) from error  # fmt: skip
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        if not line.endswith(b"\n"):
            continue
        try:
            row = parse_json(line, _LIMIT, where=path, name=DOCTOR)
        except BundleError as error:
            raise _damaged(file, number) from error
        if not isinstance(row, dict) or not isinstance(row.get("row"), str):
            raise _damaged(file, number)
        rows.append(row)
    try:
        diagnose(rows)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(file, len(rows)) from error
    return rows


def _damaged(file: Path, number: int) -> RunError:
    return RunError("what the doctor measured is damaged", where=file, got=f"line {number}", do="train again")

"""Every check of a model file, one stage after the other, and what each rule has come to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from corecur.bundle.open import open_untrusted
from corecur.bundle.rules import STAGES
from corecur.bundle.signature import check_signature
from corecur.errors import BundleError
from corecur.learners.outcome import Listing
from corecur.learners.tasks import learner_in
from corecur.model_file import model_in


@dataclass(frozen=True)
class Outcome:
    """What a rule has come to: kept, broken, or not looked at, because an earlier one is broken or nobody asked."""

    stage: str
    code: str
    rule: str
    outcome: Literal["kept", "broken", "not checked"]


@dataclass(frozen=True)
class Verification:
    """The outcome of every rule, and the error of the first that is broken."""

    outcomes: tuple[Outcome, ...]
    error: BundleError | None

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        broken = None if self.error is None else {"code": self.error.code, "message": self.error.what}
        return {"kept": self.error is None, "broken": broken, "rules": {o.code: o.outcome for o in self.outcomes}}

    def listing(self) -> Listing:
        """For people: a row for every rule."""
        rows = [[o.outcome, o.code, o.rule] for o in self.outcomes]
        count = sum(o.outcome == "kept" for o in self.outcomes)
        remark = f"\n{count} rules kept." if self.error is None else ""
        return ["", "rule", "what it says"], rows, remark


def verify(path: Path, *, key: Path | None = None) -> Verification:
    """Check a model file whole: its form, its network, its weights, its task, and its signature where a key is given.

    ConfigError where the key is none. The stages of ``STAGES`` are as the checks come; the rules of a stage that
    stopped half way are not called kept.
    """
    unasked = set() if key else set(STAGES["the signature"])
    error = None
    try:
        bundle = open_untrusted(path)
        model_in(bundle)
        if bundle.preprocess is not None:
            learner_in(bundle, device="cpu")
        if key is not None:
            check_signature(bundle, key)
    except BundleError as found:
        error = found
    outcomes, reached = [], True
    for stage, rules in STAGES.items():
        reached = reached and (error is None or error.code not in rules)
        for code, rule in rules.items():
            kept = reached and code not in unasked
            broken = error is not None and code == error.code
            outcomes.append(Outcome(stage, code, rule, "broken" if broken else "kept" if kept else "not checked"))
    return Verification(tuple(outcomes), error)

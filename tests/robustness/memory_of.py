"""How long something takes, and how much memory, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

_MEASURE = """
import json, resource, sys, time
from corecur.errors import CorecurError
{prepare}
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
refusals, before, began = [], peak(), time.perf_counter()
for item in json.load(sys.stdin):
    try:
        work(item)
        refusals.append(None)
    except CorecurError as error:
        refusals.append(str(error))
print(json.dumps([time.perf_counter() - began, peak() - before, refusals]))
"""


@dataclass(frozen=True)
class Cost:
    """Seconds, megabytes beyond those taken before, and for each item what it was refused with, or None."""

    seconds: float
    megabytes: float
    refusals: list[str | None]


def cost_of(prepare: str, items: list[str], *, limit: float = 60.0) -> Cost:
    """The cost of ``work(item)``, which the lines of ``prepare`` define, for each item."""
    program = _MEASURE.format(prepare=prepare)
    done = subprocess.run(
        [sys.executable, "-c", program], input=json.dumps(items), capture_output=True, text=True, timeout=limit,
        check=True,
    )  # fmt: skip
    return Cost(*json.loads(done.stdout.splitlines()[-1]))

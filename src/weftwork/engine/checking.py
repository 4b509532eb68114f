"""Calculations run again on purpose, and their results held against each other: what a check found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from weftwork.core.agreement import Agreement, State
from weftwork.core.job import Record
from weftwork.engine.again import Recorded
from weftwork.engine.conflicts import compared
from weftwork.engine.jobs import Waiter
from weftwork.errors import CalculationFailed, WeftError
from weftwork.ports import Store

Found = Literal["identical", "within", "different", "varies", "failed", "not run"]

_ORDER: tuple[State, ...] = ("identical", "within", "different")


@dataclass(frozen=True, slots=True)
class Checked:
    """One calculation that was run again.

    ``found`` is ``identical``, ``within`` (its module's tolerance), ``different``, ``varies`` (different or within, as the
    module declares by ``deterministic: false``), ``failed`` (it raised what it had not raised before), or ``not run``
    (its environment is another one now, bytes are gone). ``agreement`` is the widest difference of all repeats,
    ``error`` why it failed or was not run.
    """

    key: str
    name: str
    job: str
    found: Found
    agreement: Agreement | None = None
    error: WeftError | None = None
    step: str | None = None

    def __str__(self) -> str:
        if self.error is not None:
            return f"{'FAILED' if self.found == 'failed' else 'not run'}: {self.error}"
        text = str(self.agreement)
        if self.found != "varies":
            return text
        return f"{text.replace('DIFFERENT', 'differs')}, as declared (deterministic: false)"

    def document(self) -> dict[str, Any]:
        """As JSON."""
        out: dict[str, Any] = {"key": self.key, "name": self.name, "job": self.job, "step": self.step}
        if self.agreement is not None:
            out |= self.agreement.document()
        return out | {"state": self.found, "error": None if self.error is None else self.error.document()}


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found: ``checked`` by calculation, of ``among`` that there are; each was run again ``repeat`` times.

    ``seed`` chose the sample. ``ok`` is whether everything agrees that should: with ``strict`` in the same bytes.
    """

    target: str
    checked: tuple[Checked, ...]
    among: int
    repeat: int
    seed: int
    strict: bool = False

    @property
    def ok(self) -> bool:
        wrong = {"different", "failed", "within"} if self.strict else {"different", "failed"}
        return not any(each.found in wrong for each in self.checked)

    def __str__(self) -> str:
        counts = Counter(each.found for each in self.checked)
        told = ", ".join(f"{counts[found]} {_WORDS[found]}" for found in _WORDS if counts[found])
        some = f"a sample of {len(self.checked)} of {self.among:,}" if len(self.checked) < self.among else self.among
        seed = f" (seed {self.seed})" if len(self.checked) < self.among else ""
        times = "once" if self.repeat == 1 else f"{self.repeat} times"
        plural = "" if self.among == 1 else "s"
        return f"{self.target}: {some} calculation{plural}{seed}, each run again {times}: {told}"

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "target": self.target,
            "ok": self.ok,
            "among": self.among,
            "repeat": self.repeat,
            "seed": self.seed,
            "strict": self.strict,
            "checked": [each.document() for each in self.checked],
        }


_WORDS: dict[Found, str] = {
    "identical": "identical",
    "within": "within tolerance",
    "varies": "differing as declared",
    "different": "DIFFERENT",
    "failed": "FAILED",
    "not run": "not run",
}


def judged(
    store: Store, found: Recorded, job: str, step: str | None, before: Record | None, ends: Sequence[Waiter]
) -> Checked:
    """A calculation whose repeats have ended, held against the result from before; without one against the first."""
    key, name = str(found.calculation.key), found.calculation.frame.name
    error = next((each.error for each in ends if each.error is not None), None)
    if error is not None:
        return Checked(
            key, name, job, "failed" if isinstance(error, CalculationFailed) else "not run", error=error, step=step
        )
    records = [each.record for each in ends if each.record is not None]
    first, *rest = records if before is None else [before, *records]
    widest = Agreement("identical")
    for record in rest:
        agreement = compared(store, found.module, first, record)
        widest = max(widest, agreement, key=lambda each: (_ORDER.index(each.state), each.relative))
    varies = widest.state != "identical" and not found.module.deterministic
    return Checked(key, name, job, "varies" if varies else widest.state, widest, step=step)

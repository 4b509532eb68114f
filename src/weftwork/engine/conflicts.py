"""Two results of one calculation, held against each other by what its module declares, and told."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from weftwork.core.agreement import Agreement, agreement
from weftwork.core.checksum import Checksum, from_canonical
from weftwork.core.job import Record
from weftwork.core.module import Module
from weftwork.errors import Conflict, Corrupt, NotFound
from weftwork.ports import ConflictRow, Evidence, Store

if TYPE_CHECKING:
    from weftwork.engine.engine import Engine
    from weftwork.engine.jobs import Live

NEXT = "`weft conflicts` shows both"


@dataclass(frozen=True, slots=True)
class Told:
    """A conflict with how far apart its two results are. ``declared`` says that the module claims to be deterministic."""

    row: ConflictRow
    agreement: Agreement
    declared: bool = True

    @property
    def what(self) -> str:
        """What differs, on one line."""
        text = str(self.agreement)
        return text if self.declared else f"{text.replace('DIFFERENT', 'differs')}, as declared (deterministic: false)"

    def __str__(self) -> str:
        """Module, key and both checksums, on one line."""
        one, other = (_checksums(each.record) for each in (self.row.stands, self.row.differs))
        return f"{self.row.name} (key {self.row.key.short}) gave {other} where {one} stands: {self.what}"

    def lines(self) -> Iterator[str]:
        """The conflict for whoever looks at one of its jobs."""
        yield self.what
        yield f"stands: {evidence_line(self.row.stands)}"
        yield f"differs: {evidence_line(self.row.differs)}"

    def document(self) -> dict[str, Any]:
        """The conflict as JSON."""
        return {
            "key": str(self.row.key),
            "name": self.row.name,
            "deterministic": self.declared,
            **self.agreement.document(),
            "stands": _evidence_document(self.row.stands),
            "differs": _evidence_document(self.row.differs),
        }

    def error(self) -> Conflict:
        """What a run ends with that allows no conflict."""
        documents = [_evidence_document(each) for each in (self.row.stands, self.row.differs)]
        return Conflict(
            f"{self}; {NEXT}",
            key=str(self.row.key),
            job=self.row.later.job,
            stands=documents[0]["outputs"],
            differs=documents[1]["outputs"],
        )


async def conflicts_refused(engine: Engine, lives: Sequence[Live]) -> Mapping[str, Conflict]:
    """The conflicts that jobs have brought up whose callers allow none, by job."""
    if not lives:
        return {}
    jobs = [live.id for live in lives]
    rows = await engine.scribe.call(lambda: engine.ledger.conflicts(jobs=jobs, limit=len(jobs)))
    errors = await asyncio.to_thread(lambda: [told(engine.store, row).error() for row in rows])
    by_job = {each.job: error for row, error in zip(rows, errors, strict=True) for each in (row.stands, row.differs)}
    return {job: by_job[job] for job in jobs if job in by_job}


def told(store: Store, row: ConflictRow) -> Told:
    """A conflict, told with the tolerance that its module declared last."""
    module = declared(store, row.module)
    found = compared(store, module, row.stands.record, row.differs.record)
    return Told(row, found, module is None or module.deterministic)


def declared(store: Store, checksum: Checksum) -> Module | None:
    """A module's document; ``None`` where its bytes are gone."""
    try:
        return Module.of(from_canonical(store.get(checksum)))
    except (NotFound, Corrupt):
        return None


def compared(store: Store, module: Module | None, one: Record, other: Record) -> Agreement:
    """How two records' outputs agree; where bytes of them are gone that they differ is all that can be said."""
    outputs = dict(one.outputs), dict(other.outputs)
    try:
        return agreement(*outputs, module.tolerance_of if module is not None else lambda _: 0.0, store)
    except (NotFound, Corrupt):
        name = next(name for name, ref in one.outputs if ref != outputs[1].get(name))
        texts = (str(each[name].checksum.short) if name in each else "nothing" for each in outputs)
        return Agreement("different", math.inf, f"{name} (its bytes are gone)", *texts)


def evidence_line(evidence: Evidence) -> str:
    """When and where a result was made, and by which job."""
    record = evidence.record
    where = record.observed.get("host", "an unknown host")
    text = f"{_checksums(record)} of {_when(record.created)} on {where}, site {record.observed.get('site', 'local')}"
    if evidence.job is not None:
        text += f", job {evidence.job}"
    return text + (f" ({evidence.run}:{evidence.step})" if evidence.run and evidence.step else "")


def _checksums(record: Record) -> str:
    """The outputs by checksum; the only one of a function without its name."""
    if [name for name, _ in record.outputs] == ["result"]:
        return record.outputs[0][1].checksum.short
    return " ".join(f"{name}={ref.checksum.short}" for name, ref in record.outputs)


def _evidence_document(evidence: Evidence) -> dict[str, Any]:
    record = evidence.record
    return {
        "job": evidence.job,
        "run": evidence.run,
        "step": evidence.step,
        "created": record.created,
        "host": record.observed.get("host"),
        "site": record.observed.get("site"),
        "outputs": record.outputs_document(),
    }


def _when(time: float) -> str:
    return datetime.fromtimestamp(time).strftime("%Y-%m-%d %H:%M:%S")

"""Why a job ran, or did not: answered from the records that made the keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from weftwork.core import codecs
from weftwork.core.bundle import differences
from weftwork.core.checksum import Checksum, canonical, from_canonical, shorten
from weftwork.core.values import Ref
from weftwork.engine.conflicts import told
from weftwork.errors import NotFound, WeftError
from weftwork.ports import JobRow, Ledger, StepRow, Store

_CONFLICTS = 3
_CANDIDATES = 50
"""How many earlier jobs are looked at for the one most alike: the items of a map differ in their inputs alone."""


def why(ledger: Ledger, store: Store, job: str) -> list[str]:
    """Lines that say why a job ran or was answered from the cache, against the earlier job most like it."""
    row = ledger.job(job)
    return list(_Teller(ledger, store).told(row))


def why_step(ledger: Ledger, store: Store, run: str, step: str) -> list[str]:
    """Lines that say why a step of a run ran, was answered from the cache, or did not run.

    For a map: how many of its items ran, and why the first of these did; for a race: each of its candidates. Raises
    :class:`~weftwork.errors.NotFound` for a step that the run does not have.
    """
    rows = ledger.steps(run, step)
    teller = _Teller(ledger, store)
    own = next((row for row in rows if row.step == step), None)
    if own is not None and own.job is not None:
        return list(teller.told(ledger.job(own.job)))
    parts = [row for row in rows if row.step.startswith((f"{step}[", f"{step}{{"))]
    if own is None and not parts:
        raise NotFound(f"the run {run} has no step {step!r}")
    return list(teller.told_in_parts(step, own, parts))


class _Teller:
    def __init__(self, ledger: Ledger, store: Store) -> None:
        self._ledger = ledger
        self._store = store

    def told(self, row: JobRow) -> Iterator[str]:
        job = row.job
        if job.cached:
            yield from self._cached(row)
            return
        how = {"succeeded": "ran", "failed": "ran and failed", "cancelled": "was cancelled"}.get(
            job.state, f"is {job.state}"
        )
        yield f"{row.step or job.name} {how} (job {job.id}, key {job.key.short})"
        failure = job.failure()
        if failure is not None:
            yield f"  {failure}"
        if not row.placement.cache:
            yield "  it was to run whether or not a result is known (cache: false, or its module says deterministic: false)"
        yield from self._restored(row)
        yield from self._unusable(row)
        yield from self._conflicts(row)
        earlier = self._nearest(row)
        if earlier is not None:
            yield from self._compared(row, earlier)
            return
        yield f"  nothing to compare it with: {job.name} was never calculated here before"

    def told_in_parts(self, step: str, own: StepRow | None, parts: Sequence[StepRow]) -> Iterator[str]:
        """A step that is no single job: a map, a race, or one that never got so far."""
        if own is not None and (not parts or own.detail.get("why")):
            yield f"{step} is {own.state}: {own.detail.get('why') or 'no reason was given'}"
        jobs = [(part, self._ledger.job(part.job)) for part in parts if part.job is not None]
        ran = [row for part, row in jobs if not row.job.cached]
        if any("{" in part.step for part in parts):
            for _, row in jobs:
                yield from self.told(row)
        elif ran:
            yield f"{step}: {len(ran)} of {len(parts)} items ran, and {len(jobs) - len(ran)} came from the cache; the first:"
            yield from self.told(ran[0])
        elif jobs:
            yield f"{step}: all {len(jobs)} items came from the cache; the first:"
            yield from self.told(jobs[0][1])

    def _nearest(self, row: JobRow) -> JobRow | None:
        """The earlier job that differs in the fewest parts; of equals the one that the ledger names first."""
        run = None if row.run is None else self._ledger.run(row.run).name
        now = self._document(row.job.key)
        best: tuple[int, JobRow] | None = None
        for job in self._ledger.previous(row.job.name, row.job.id, run, row.step)[:_CANDIDATES]:
            earlier = self._ledger.job(job)
            before = self._document(earlier.job.key)
            if now is None or before is None:
                continue
            distance = _distance(before, now)
            if best is None or distance < best[0]:
                best = (distance, earlier)
        return None if best is None else best[1]

    def _cached(self, row: JobRow) -> Iterator[str]:
        record = self._ledger.record_of(row.job.id)
        yield f"{row.step or row.job.name} came from the cache (job {row.job.id}, key {row.job.key.short})"
        if record is not None:
            where = record.observed.get("host", "an unknown host")
            yield f"  the same calculation gave this result on {_when(record.created)} on {where}"
        yield "  program, environment, inputs and outputs are the same: equal calculations have equal keys"
        yield from self._conflicts(row)

    def _conflicts(self, row: JobRow) -> Iterator[str]:
        """Other results that the very same calculation gave."""
        for each in self._ledger.conflicts(key=row.job.key, limit=_CONFLICTS):
            first, *rest = told(self._store, each).lines()
            yield f"  it gave two results: {first}"
            yield from (f"    {line}" for line in rest)

    def _restored(self, row: JobRow) -> Iterator[str]:
        """What was lost: of its result, so that it ran, or of its inputs, so that others ran."""
        for _, event in self._ledger.events(row.job.id):
            if event.kind == "noted" and "lost" in event.data:
                yield f"  its result was recorded, and is lost: {event.data['lost']}"
            for made in event.data.get("again") or () if event.kind == "noted" else ():
                yield f"  bytes of its inputs were lost, and were made again: {made}"

    def _unusable(self, row: JobRow) -> Iterator[str]:
        """Results of the very same calculation that could not be used."""
        record = self._ledger.record_of(row.job.id)
        outside = record.observed.get("outside") if record is not None else None
        if outside:
            names = ", ".join(map(str, outside))
            yield f"  its result is not reused: while it ran it used what is not in its key: {names}"
            yield "    pass these as inputs (weft.File), or declare them with uses="

    def _compared(self, row: JobRow, earlier: JobRow) -> Iterator[str]:
        before, after = self._document(earlier.job.key), self._document(row.job.key)
        if before is None or after is None:
            return
        when = "" if earlier.job.queued is None else f" of {_when(earlier.job.queued)}"
        if earlier.job.key == row.job.key:
            yield f"  the same calculation was tried before: job {earlier.job.id}{when} has {earlier.job.state}"
            failure = earlier.job.failure()
            if failure is not None:
                yield f"    {failure}"
            return
        yield f"  compared with job {earlier.job.id}{when}:"
        yield from self._program(before, after)
        yield from entries_changed("environment", before["environment"], after["environment"])
        yield from self._inputs(before["inputs"], after["inputs"])
        if before["outputs"] != after["outputs"]:
            yield from entries_changed("output", before["outputs"], after["outputs"])

    def _document(self, key: Checksum) -> dict[str, Any] | None:
        data = self._ledger.calculation(key)
        return None if data is None else from_canonical(data)

    def _program(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
        if before["program"] == after["program"]:
            return
        old, new = self._bundle(before), self._bundle(after)
        if old is None or new is None:
            yield from entries_changed("program", before["program"], after["program"])
            return
        for change in differences(old, new):
            yield f"  {change}"

    def _bundle(self, document: Mapping[str, Any]) -> dict[str, Any] | None:
        if document["program"].get("kind") != "function":
            return None
        try:
            module = from_canonical(self._store.get(Checksum(document["module"])))
            bundle: dict[str, Any] = from_canonical(self._store.get(Checksum(module["program"]["bundle"])))
        except WeftError:
            return None
        return bundle

    def _inputs(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
        for name in sorted({*before, *after}):
            old, new = before.get(name), after.get(name)
            if old == new:
                continue
            if old is None or new is None:
                yield f"  input {name}: {'was given' if new is None else 'is new'}: {self._shown(old or new)}"
            elif old["checksum"] == new["checksum"]:
                yield f"  input {name}: {_type(old)} → {_type(new)}"
            else:
                yield f"  input {name}: {self._shown(old)} → {self._shown(new)}"

    def _shown(self, document: Mapping[str, Any] | None) -> str:
        """A value for people: itself where it is short, else its type, size and checksum."""
        assert document is not None
        ref = Ref.of(document)
        if ref.type.inline and ref.size <= 200:
            try:
                return shorten(codecs.decode_bytes(ref.type, self._store.get(ref.checksum)), 100)
            except WeftError:
                pass
        return f"{ref.type} {ref.checksum.short} ({ref.size:,} bytes)"


def _distance(before: Mapping[str, Any], after: Mapping[str, Any]) -> int:
    """In how many parts two calculations differ, each input a part."""
    parts = sum(before[part] != after[part] for part in ("program", "environment", "outputs"))
    names = {*before["inputs"], *after["inputs"]}
    return int(parts + sum(before["inputs"].get(name) != after["inputs"].get(name) for name in names))


def _type(document: Mapping[str, Any]) -> str:
    return str(document["type"])


def entries_changed(what: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """The entries in which two objects differ, one line each, going one level down."""
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            yield from entries_changed(f"{what} {name}", old, new)
        else:
            yield f"  {what} {name}: {_plain(old)} → {_plain(new)}"


def _plain(value: Any) -> str:
    if value is None:
        return "nothing"
    text = value if isinstance(value, str) else canonical(value).decode("utf-8")
    return text if len(text) <= 120 else text[:117] + "..."


def _when(time: float) -> str:
    return datetime.fromtimestamp(time).strftime("%Y-%m-%d %H:%M:%S")

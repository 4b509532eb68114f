"""Who holds stored values: what a holder names is never freed. The list is open: whatever keeps values for later joins it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from weftwork.core.bundle import blobs
from weftwork.core.calculation import Calculation
from weftwork.core.checksum import Checksum, from_canonical
from weftwork.core.module import Function, Module
from weftwork.core.values import Ref, Type
from weftwork.core.workflow import Workflow
from weftwork.errors import WeftError
from weftwork.ports import Ledger, PinRow, Store

BUFFER = Type("bytes")
"""The type of what is held for its bytes alone."""


class Holder(Protocol):
    """Something that needs stored values. ``holds`` names each, with all that it holds, and says for what."""

    name: str

    def holds(self) -> Iterable[tuple[Ref, str]]: ...


def buffer(checksum: Checksum) -> Ref:
    """A value of which no more is known than its checksum."""
    return Ref(BUFFER, checksum, -1)


class Pins:
    """What people have pinned."""

    name = "pinned"

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def holds(self) -> Iterator[tuple[Ref, str]]:
        for pin in self._ledger.pins():
            for ref in pinned(self._ledger, pin):
                yield ref, f"pinned ({pin.kind} {pin.target})"


def pinned(ledger: Ledger, pin: PinRow) -> list[Ref]:
    """The values that a pin keeps: outputs of a job, of a run and all of its steps, of a calculation; or just a value."""
    if pin.kind == "job":
        record = ledger.record_of(pin.target)
        return [] if record is None else [ref for _, ref in record.outputs]
    if pin.kind == "run":
        return list(_of_run(ledger, pin.target))
    if pin.kind == "key":
        record = ledger.records([Checksum(pin.target)]).get(Checksum(pin.target))
        return [] if record is None else [ref for _, ref in record.outputs]
    checksum = Checksum(pin.target)
    keys = ledger.makers([checksum]).get(checksum, [])
    given = [ref for each in ledger.records(keys).values() for _, ref in each.outputs if ref.checksum == checksum]
    return given[:1] or [buffer(checksum)]


def _of_run(ledger: Ledger, run: str) -> Iterator[Ref]:
    for step in ledger.steps(run):
        record = None if step.job is None else ledger.record_of(step.job)
        if record is not None:
            yield from (ref for _, ref in record.outputs)
    row = ledger.run(run)
    yield from _refs(row.document.get("inputs"))
    yield from _refs((row.outcome or {}).get("outputs"))


def _refs(document: object) -> Iterator[Ref]:
    """The references in a document of a run."""
    if isinstance(document, dict):
        if isinstance(document.get("ref"), dict):
            yield Ref.of(document["ref"])
        else:
            for each in document.values():
                yield from _refs(each)
    elif isinstance(document, list):
        for each in document:
            yield from _refs(each)


class Live:
    """What jobs and runs that go on now need: inputs of jobs, results of steps."""

    name = "in use"

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def holds(self) -> Iterator[tuple[Ref, str]]:
        for row in self._ledger.jobs(states=("queued", "running"), limit=10**9):
            document = self._ledger.calculation(row.job.key)
            if document is not None:
                for _, ref in Calculation.from_document(from_canonical(document)).inputs:
                    yield ref, f"an input of the job {row.job.id}"
        for run in self._ledger.runs(10**9):
            if run.state == "running":
                for ref in _of_run(self._ledger, run.id):
                    yield ref, f"of the run {run.id}"


class Programs:
    """What it takes to run again whatever was run: documents of modules and workflows, bundles, helper files, inputs of runs."""

    name = "programs"

    def __init__(self, ledger: Ledger, store: Store, modules: Iterable[Checksum]) -> None:
        self._ledger = ledger
        self._store = store
        self._modules = modules

    def holds(self) -> Iterator[tuple[Ref, str]]:
        modules = set(self._modules)
        for run in self._ledger.runs(10**9):
            for ref in _refs(run.document.get("inputs")):
                yield ref, f"an input of the run {run.id}"
            if isinstance(checksum := run.document.get("workflow"), str):
                yield buffer(Checksum(checksum)), "a workflow"
                modules |= self._modules_of(Checksum(checksum))
        for module in modules:
            yield buffer(module), "a module"
            for each in self._parts(module):
                yield buffer(each), "a module"

    def _modules_of(self, workflow: Checksum) -> set[Checksum]:
        try:
            return set(Workflow.of(from_canonical(self._store.get(workflow))).modules())
        except (WeftError, ValueError, KeyError, TypeError):
            return set()

    def _parts(self, module: Checksum) -> Iterator[Checksum]:
        """A function's bundle and what it captured; a command's helper files."""
        try:
            program = Module.of(from_canonical(self._store.get(module))).program
            if not isinstance(program, Function):
                yield from (each for _, _, each in program.files)
                return
            yield program.bundle
            yield from blobs(from_canonical(self._store.get(program.bundle)))
        except WeftError:
            return

"""What the instructions of a flow ask for: steps become requests, and of these those are answered that are known.

On a thread, for one run; nothing here writes but the inputs of steps into the store. Steps that records answer lead to
the next steps at once, so that a run whose results are known goes through its layers without waiting for anything.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from weftwork.core import codecs
from weftwork.core.building import building
from weftwork.core.calculation import Calculation, Frame
from weftwork.core.checksum import Checksum, canonical, from_canonical
from weftwork.core.expression import Literal
from weftwork.core.flow import Flow
from weftwork.core.job import Record
from weftwork.core.messages import (
    Binding,
    Chosen,
    Ended,
    Event,
    Expand,
    Instruction,
    Items,
    LookUp,
    Submit,
)
from weftwork.core.module import Module
from weftwork.core.placement import Placement
from weftwork.core.step import Overrides
from weftwork.core.values import Ref
from weftwork.engine.engine import Engine
from weftwork.engine.jobs import Request, internal
from weftwork.engine.losses import losses
from weftwork.engine.remaking import LOST
from weftwork.errors import WeftError
from weftwork.ports import StepRow

TOGETHER: Final = 1024
"""Steps that are bound and looked up together at most: the first may run while the last are still bound."""

_PATIENCE: Final = 0.1
"""Seconds after which the loop has its turn although more is known: somebody may have withdrawn the run."""

Bound = tuple[Submit, Request]


@dataclass(slots=True)
class Turn:
    """What has come of some events: ``requests`` to be submitted, requests that records have ``answered``, tasks that
    this run had ended ``before`` it was interrupted (with their jobs), tasks that ``failed``, and all ``others``.

    ``lost``: submissions for which values have to be read whose bytes are lost. They are handed to :meth:`Asker.handle`
    again when these are made."""

    requests: list[Bound] = field(default_factory=list)
    answered: list[tuple[Request, Record]] = field(default_factory=list)
    before: list[tuple[Submit, Record, str]] = field(default_factory=list)
    failed: list[tuple[str, WeftError]] = field(default_factory=list)
    lost: list[tuple[Submit, list[Ref]]] = field(default_factory=list)
    others: list[Instruction] = field(default_factory=list)


class Asker:
    """The flow of one run, the store and the ledger of its engine. One call at a time, on any thread."""

    def __init__(self, engine: Engine, run: str, modules: Mapping[Checksum, Module], placement: Placement) -> None:
        self._engine = engine
        self._run = run
        self._modules = modules
        self._default = placement
        self._placements: dict[tuple[Checksum, int], tuple[Overrides, Placement]] = {}
        self._alike: dict[Placement, Placement] = {}
        self._frames: dict[tuple[int, int], Frame] = {}
        self._races: dict[str, tuple[Checksum, dict[str, Checksum]]] = {}
        self._before: dict[str, StepRow] = {}
        self._restored: set[str] = set()
        self._submits: deque[Submit] = deque()
        self._events: list[Event] = []
        self._looking = True

    @property
    def waiting(self) -> bool:
        """Whether :meth:`handle` has something to do without any event."""
        return bool(self._submits or self._events)

    def start(self, flow: Flow, before: Mapping[str, StepRow]) -> Turn:
        """The first turn; ``before`` is how the steps stood when the run was interrupted."""
        self._flow, self._before = flow, dict(before)
        with building():
            return self._turn(flow.start())

    def handle(self, happened: Sequence[Event | Submit]) -> Turn:
        """What follows from the events, as far as records lead; and from submissions that are made once more."""
        self._submits.extend(each for each in happened if isinstance(each, Submit))
        events = [*self._events, *(each for each in happened if not isinstance(each, Submit))]
        self._events = []
        with building():
            return self._turn(self._flow.handle(events) if events else ())

    def needs_scalars(self, submit: Submit) -> frozenset[str]:
        """The outputs whose values the flow needs with the end of a task."""
        return self._flow.needs_scalars(submit.step)

    def _turn(self, instructions: Sequence[Instruction]) -> Turn:
        turn, until = Turn(), time.monotonic() + _PATIENCE
        while True:
            for each in instructions:
                if type(each) is Submit:
                    self._submits.append(each)
                else:
                    turn.others.append(each)
            if not self._submits:
                return turn
            self._ask(turn)
            if turn.requests or not self._events or time.monotonic() > until:
                return turn
            events, self._events = self._events, []
            instructions = self._flow.handle(events)

    def _ask(self, turn: Turn) -> None:
        """Bind the next submissions, and find out what is known of them."""
        submits = list(islice(self._submits, TOGETHER))
        for _ in submits:
            self._submits.popleft()
        bound, failures = self._bind(submits)
        for submit, error in failures:
            if not self._lost(turn, submit, error, refs_of(*submit.inputs.values())):
                turn.failed.append((submit.task, error))
                self._events.append(Ended(submit.task, "failed", error=str(error)))
        records = self._records(bound) if self._looking else {}
        for submit, request in bound:
            record = records.get(request.calculation.key) if request.placement.cache else None
            before = self._had_before(submit, request) if record is None and self._before else None
            if before is not None:
                record = before[0]
            if record is None:
                turn.requests.append((submit, request))
                continue
            event = self._answered(turn, submit, record)
            if event is None:
                continue
            if before is not None:
                turn.before.append((submit, *before))
            else:
                turn.answered.append((request, record))
            if event.state == "failed":
                turn.failed.append((submit.task, WeftError(event.error)))
            self._events.append(event)
        # Where nothing is known, claiming finds out the same: looking pays for runs that are known in large parts.
        self._looking = len(records) > 0 if self._looking else False

    def _answered(self, turn: Turn, submit: Submit, record: Record) -> Ended | None:
        """The end of a task that a record answers; ``None`` where what the flow needs of it is lost."""
        try:
            return self.ended(submit, record)
        except LOST as error:
            if self._lost(turn, submit, error, [ref for _, ref in record.outputs]):
                return None
            return Ended(submit.task, "failed", error=str(error))

    def _lost(self, turn: Turn, submit: Submit, error: WeftError, refs: list[Ref]) -> bool:
        """Whether a submission waits until lost bytes are made again: once, since what cannot be made would fail for ever."""
        if not isinstance(error, LOST) or not refs or submit.task in self._restored:
            return False
        self._restored.add(submit.task)
        turn.lost.append((submit, refs))
        return True

    def _records(self, bound: Sequence[Bound]) -> dict[Checksum, Record]:
        """The records that answer, whether or not their bytes are there."""
        keys = {request.calculation.key: None for _, request in bound if request.placement.cache}
        return self._engine.ledger.records(list(keys))

    def _had_before(self, submit: Submit, request: Request) -> tuple[Record, str] | None:
        """What this run, before it was interrupted, got for the step, and records do not give to others; with its job."""
        row = self._before.pop(submit.task, None)
        if row is None or row.state != "succeeded" or row.job is None:
            return None
        record = self._engine.ledger.record_of(row.job)
        if record is None or record.key != request.calculation.key:
            return None
        if losses(self._engine.store, [ref for _, ref in record.outputs], read=False):
            return None
        return record, row.job

    def ended(self, submit: Submit, record: Record) -> Ended:
        """The end of a task that has a record, with the values that the flow needs. Raises where bytes of these are lost."""
        outputs = dict(record.outputs)
        needs = self._flow.needs_scalars(submit.step)
        if not needs:
            return Ended(submit.task, "succeeded", outputs)
        try:
            scalars = {name: self._scalar(outputs.get(name)) for name in needs}
        except LOST:
            raise
        except Exception as error:
            return Ended(submit.task, "failed", error=str(internal(error)))
        return Ended(submit.task, "succeeded", outputs, scalars)

    def _scalar(self, ref: Ref | None) -> Any:
        return None if ref is None else self._engine.binder.value(ref)

    # Inputs

    def _bind(self, submits: Sequence[Submit]) -> tuple[list[Bound], list[tuple[Submit, WeftError]]]:
        """The inputs of many steps into the store, and their keys: together for all that run the same and name the same inputs."""
        good: list[Bound] = []
        bad: list[tuple[Submit, WeftError]] = []
        groups: dict[tuple[Any, ...], tuple[Placement, list[Submit]]] = {}
        for submit in submits:
            try:
                placement = self._placement(submit)
            except WeftError as error:
                bad.append((submit, error))
                continue
            groups.setdefault((submit.module, id(placement), *submit.inputs), (placement, []))[1].append(submit)
        for placement, alike in groups.values():
            self._bind_alike(self._modules[alike[0].module], placement, alike, good, bad)
        return good, bad

    def _bind_alike(
        self,
        module: Module,
        placement: Placement,
        submits: Sequence[Submit],
        good: list[Bound],
        bad: list[tuple[Submit, WeftError]],
    ) -> None:
        try:
            calculations = self._calculations(module, placement, submits)
        except WeftError as error:
            if len(submits) == 1:
                bad.append((submits[0], error))
                return
            # One bad row must not fail the others: each by itself.
            for each in submits:
                self._bind_alike(module, placement, [each], good, bad)
            return
        run = self._run
        for submit, calculation in zip(submits, calculations, strict=True):
            good.append((submit, Request(calculation, module, placement, run, submit.task)))

    def _calculations(self, module: Module, placement: Placement, submits: Sequence[Submit]) -> list[Calculation]:
        frame, binder, count = self._frame(module, placement), self._engine.binder, len(submits)
        given = {
            name: self._column([each.inputs[name] for each in submits], module.input(name).type.inline)
            for name in submits[0].inputs
        }
        taken = binder.taken()
        bound = binder.bind_columns(module, given, count, taken)
        taken.store()
        return Calculation.of_columns(frame, bound, count)

    def _placement(self, submit: Submit) -> Placement:
        """Where a step runs: one object for all that run alike, so that the ledger need not compare them."""
        said = submit.placement
        known = self._placements.get((submit.module, id(said)))
        if known is None:
            module = self._modules[submit.module]
            made = self._engine.placed(module, said.placement(module.resources, self._default))
            made = self._alike.setdefault(made, made)
            # What was said is kept beside it, so that its identity is not given to another.
            known = self._placements[submit.module, id(said)] = said, made
        return known[1]

    def _frame(self, module: Module, placement: Placement) -> Frame:
        key = (id(module), id(placement))
        if key not in self._frames:
            self._frames[key] = self._engine.frame(module, placement)
        return self._frames[key]

    def _column(self, bindings: Sequence[Binding], inline: bool) -> Sequence[Any]:
        """What the binder takes for one input of many steps."""
        if _REFS.issuperset(map(type, bindings)):
            return bindings
        return [self._value(each, inline) for each in bindings]

    def _value(self, binding: Binding, inline: bool) -> Any:
        """What the binder takes: a reference, a plain value, or a list of such (read, where the list is one JSON value)."""
        if isinstance(binding, Literal):
            return binding.value
        if isinstance(binding, tuple):
            plain = inline or all(_is_plain(each) for each in binding)
            return [self._item(each, plain) for each in binding]
        return binding

    def _item(self, binding: Binding, plain: bool) -> Any:
        if isinstance(binding, Ref) and plain and binding.type.inline:
            return self._engine.binder.value(binding)
        return self._value(binding, plain)

    # Maps and races

    def expand(self, expand: Expand) -> Event:
        """The items of a collection, in its order. Raises where its bytes are lost."""
        binding = expand.binding
        if isinstance(binding, tuple):
            return Items(expand.step, tuple(enumerate(binding)))
        if isinstance(binding, Literal):
            return Items(expand.step, _plain_items(canonical(binding.value)))
        data = self._engine.store.get(binding.checksum)
        if binding.type.inline:
            return Items(expand.step, _plain_items(data))
        items = codecs.items(binding.type, data)
        numbered = binding.type.name == "list"
        return Items(expand.step, tuple((int(name) if numbered else name, self._sized(ref)) for name, ref in items))

    def _sized(self, ref: Ref) -> Ref:
        return Ref(ref.type, ref.checksum, self._engine.store.size(ref.checksum))

    def look_up(self, look: LookUp) -> Event:
        """The recorded choice of a race, named by its candidates' keys and what is accepted."""
        bound, failures = self._bind(list(look.candidates.values()))
        if failures:
            return Chosen(look.task, None)
        of_task = {request.step: request.calculation.key for _, request in bound}
        keys = {name: of_task[submit.task] for name, submit in look.candidates.items()}
        document = ["weft.choice.v1", {name: str(key) for name, key in sorted(keys.items())}, look.accept]
        race, _ = self._races[look.task] = Checksum.of(canonical(document)), keys
        choice = self._engine.ledger.choice(race)
        return Chosen(look.task, None if choice is None else choice["candidate"])

    def race(self, task: str) -> tuple[Checksum, Mapping[str, Checksum]] | None:
        """By what the choice of a race is found, and the keys of its candidates; ``None`` where these could not be bound."""
        return self._races.get(task)


_REFS: Final = frozenset({Ref})


def refs_of(*bindings: Binding) -> list[Ref]:
    """The stored values in bindings."""
    found = []
    for binding in bindings:
        if isinstance(binding, Ref):
            found.append(binding)
        elif isinstance(binding, tuple):
            found += refs_of(*binding)
    return found


def _is_plain(binding: Binding) -> bool:
    if isinstance(binding, Ref):
        return binding.type.inline
    return isinstance(binding, Literal) or all(_is_plain(each) for each in binding)


def _plain_items(data: bytes) -> tuple[tuple[str | int, Literal], ...]:
    value = from_canonical(data)
    pairs = codecs.inline_items(data)
    numbered = isinstance(value, list)
    return tuple((int(name) if numbered else name, Literal(from_canonical(each))) for name, _, each in pairs)

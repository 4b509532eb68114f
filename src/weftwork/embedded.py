"""The embedded session: an engine of this process over a home, for synchronous and asynchronous callers alike."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence, Sized
from typing import Any, Self, TypeVar

from weftwork import config
from weftwork.core.binding import binding_document, binding_of, scalar_inputs
from weftwork.core.building import building
from weftwork.core.calculation import Calculation, Explanation
from weftwork.core.checksum import Checksum, canonical
from weftwork.core.expression import Literal
from weftwork.core.job import Record
from weftwork.core.messages import Binding, Outcome
from weftwork.core.module import Command, Module, Output
from weftwork.core.placement import Placement, Resources
from weftwork.core.step import NOTHING, Overrides
from weftwork.core.values import Ref, Type
from weftwork.core.workflow import Workflow
from weftwork.engine import again, interpreter, logs, why
from weftwork.engine.asking import refs_of
from weftwork.engine.conflicts import Told, told
from weftwork.engine.driver import Driver, StepEvent
from weftwork.engine.engine import Engine
from weftwork.engine.jobs import Live, Request, Waiter
from weftwork.engine.leaving import PATIENCE
from weftwork.engine.mapping import Mapper, Rows, all_ended
from weftwork.engine.portal import Portal
from weftwork.engine.remaking import LOST
from weftwork.errors import CalculationFailed, Cancelled, Conflict, Invalid, WeftError
from weftwork.handles import Job, Run, shaped
from weftwork.modules.prepared import Prepared
from weftwork.modules.stored import stored_workflow
from weftwork.modules.wrapping import Wrapped
from weftwork.node.request import request_cancel
from weftwork.ports import RunRow

T = TypeVar("T")

HEED = 0.2
"""Seconds between two looks at whether somebody asked for the end of a run."""


class Embedded:
    """Runs modules and workflows in this process's engine. Safe from many threads. Closed at the end of the process."""

    def __init__(self, home: str | config.Home | None = None) -> None:
        self.home = home if isinstance(home, config.Home) else config.open_home(home)
        self._portal = Portal("weft-engine")
        self._portal.start()
        self._runs: dict[asyncio.Task[Any], Driver] = {}
        self.closed = False
        try:
            self.engine: Engine = self._portal.call(self._open())
        except BaseException:
            self._portal.stop()
            self.home.close()
            raise
        interpreter.engine_opened()
        # Registered after the executors' own, so it is called before them: the last writes still need threads.
        threading._register_atexit(self.close)  # type: ignore[attr-defined]

    async def _open(self) -> Engine:
        engine = config.open_engine(self.home)
        await engine.start()
        return engine

    def close(self) -> None:
        """Withdraw from what is live, write what is to be written, end what runs for this process alone."""
        if self.closed:
            return
        self.closed = True
        if self._portal.forked:
            # A copy in a child: nothing of it is the child's to end.
            return
        try:
            self._portal.call(self._close())
        finally:
            self._portal.stop()
            self.home.close()
            interpreter.engine_closed()

    async def _close(self) -> None:
        for driver in self._runs.values():
            driver.cancel("the end of its process")
        if self._runs:
            await asyncio.wait(set(self._runs), timeout=PATIENCE)
        await self.engine.close()
        await self._let_go(self.engine.scratch.closed())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Submit

    def submit(
        self,
        thing: Any,
        inputs: Mapping[str, Any],
        said: Overrides = NOTHING,
        watch: Watch | None = None,
        *,
        events: bool = True,
    ) -> Job | Run:
        """Start a module or workflow; its job or run. ``said`` is what the caller says about the placement.
        ``events`` says whether the run keeps what happens to its steps: nobody else can ask it than who gets it.

        Raises Invalid before anything runs when an input is wrong.
        """
        self.check()
        prepared = thing if isinstance(thing, Prepared) else self.prepare(thing)
        if prepared.module is not None:
            return self._submit_module(prepared, prepared.module, inputs, said)
        if said.resources:
            raise Invalid(f"{prepared.name} is a workflow: resources belong to its modules, or to a step of it")
        return self._submit_workflow(prepared, inputs, said.placement(Resources(), Placement()), watch, events)

    def prepare(self, thing: Any) -> Prepared:
        """Resolve what is to be run. What it carries is stored with its inputs, once they were found right."""
        if isinstance(thing, Wrapped):
            return Prepared.of(*thing.resolve())
        # Imported here: a plain command needs none of what reads documents and functions.
        from weftwork.modules.loading import prepare

        return prepare(thing, self._keep)

    def _keep(self, declared: Type, value: Any, where: str) -> Ref:
        return self.home.binder.put(declared, value, where)

    def _submit_module(self, prepared: Prepared, module: Module, inputs: Mapping[str, Any], said: Overrides) -> Job:
        placement = self.engine.placed(module, said.placement(module.resources, Placement()))
        engine, binder, taken = self.engine, self.home.binder, self.home.binder.taken()
        given = {name: [value] for name, value in inputs.items()}
        columns = self._reading(inputs, lambda: binder.bind_columns(module, given, 1, taken))
        (calculation,) = Calculation.of_columns(engine.frame(module, placement), columns, 1)
        request = Request(calculation, module, placement)

        def store() -> None:
            for data in _carried(prepared):
                taken.keep(data)
            taken.store()

        (record,) = engine.known.records([calculation]) if request.placement.cache else (None,)
        if record is not None:
            # What is known needs nothing of what it was made from, unless its bytes turn out to be lost.
            return self._known_job(request, record, store)
        store()
        return self._job(request)

    def _known_job(self, request: Request, record: Record, store: Callable[[], None]) -> Job:
        """A job that has ended before it is written down. ``store`` brings what it would take to make it again."""
        live = Live(request, self.engine.site(request.placement), self._portal.loop, cached=True)
        waiter = live.join()
        live.settle(record, None)
        live.noted = self.engine.known.answered([request.calculation], request.placement)
        future: concurrent.futures.Future[Record] = concurrent.futures.Future()
        future.set_result(record)

        def again(records: Sequence[Record]) -> Sequence[Record]:
            store()
            return self.whole(records)

        return Job(self, waiter, future, lambda record: shaped(next(self.home.binder.values([record], again))))

    def again(self, key: str, said: Overrides = NOTHING) -> Job:
        """Run a calculation that was recorded once more, from its key alone and whether or not its result is known.

        Raises what :func:`weftwork.engine.again.request` raises where it cannot be run as it was.
        """
        self.check()
        found = again.recorded(self.home.ledger, self.home.store, Checksum(key))
        return self._job(again.request(self.engine, found, said))

    def _job(self, request: Request) -> Job:
        waiter = self._portal.call(self.engine.submit([request]))[0]
        return Job(self, waiter, self._portal.send(_waited(self.engine, waiter)), self._shape)

    def _bound(self, module: Module, inputs: Mapping[str, Any], beside: Sequence[bytes] = ()) -> dict[str, Ref]:
        """The inputs as references."""
        return self._reading(inputs, lambda: self.home.binder.bind(module, inputs, beside))

    def _reading(self, inputs: Mapping[str, Any], bind: Callable[[], T]) -> T:
        """Bind inputs. One that must be read, to be given another type, may have to be made again."""
        try:
            return bind()
        except LOST:
            return self.reading([value for value in inputs.values() if isinstance(value, Ref)], bind)

    def _shape(self, record: Record) -> Any:
        return shaped(next(self.home.binder.values([record], self.whole)))

    def whole(self, records: Sequence[Record]) -> list[Record]:
        """The records with all of their bytes there: what is lost is made again.

        One that gave something else when it was made again gives way to that. Raises MissingInputs for what cannot be
        made again, and why.
        """
        return self._portal.call(self.engine.remaking.answers(records))

    def reading(self, refs: Iterable[Ref], read: Callable[[], T]) -> T:
        """What ``read`` gives; where bytes of ``refs`` that it reads are lost, they are made again first."""
        return self._portal.call(self.engine.remaking.reading(refs, read))

    def _submit_workflow(
        self, prepared: Prepared, inputs: Mapping[str, Any], placement: Placement, watch: Watch | None, events: bool
    ) -> Run:
        assert prepared.workflow is not None
        with building():
            text = prepared.workflow.encoded()
        bound, scalars = self._bind_workflow(prepared, prepared.workflow, text, inputs)
        document = {
            "workflow": str(Checksum.of(text)),
            "inputs": {name: binding_document(each) for name, each in bound.items()},
            "placement": placement.document(),
        }
        row = RunRow(f"r{secrets.token_hex(6)}", prepared.name, "running", time.time(), document)
        self.home.ledger.start_run(self.engine.owner, row)
        return self._drive(row, prepared, bound, scalars, placement, watch, events)

    def _bind_workflow(
        self, prepared: Prepared, workflow: Workflow, text: bytes, inputs: Mapping[str, Any]
    ) -> tuple[dict[str, Binding], dict[str, Any]]:
        """A workflow's inputs, and the values of those that its conditions look at. ``text`` is its document, to be stored."""
        shell = _signature_of(prepared)
        beside = [text, *_carried(prepared)]
        bound: dict[str, Binding] = dict(self._bound(shell, inputs, beside))
        needed = scalar_inputs(workflow)
        scalars = {name: self.value(ref) for name, ref in bound.items() if name in needed and isinstance(ref, Ref)}
        return bound, scalars

    def _drive(
        self,
        row: RunRow,
        prepared: Prepared,
        bound: Mapping[str, Binding],
        scalars: Mapping[str, Any],
        placement: Placement,
        watch: Watch | None,
        events: bool = True,
    ) -> Run:
        seen: list[StepEvent] = []

        def told(event: StepEvent) -> None:
            seen.append(event)
            if watch is not None:
                watch(event)

        workflow = prepared.workflow
        assert workflow is not None
        driver = Driver(self.engine, row.id, workflow, prepared.modules, placement, told if events else watch)
        future = self._portal.send(self._run(row, driver, bound, scalars))

        def cancel(by: str) -> None:
            self._portal.loop.call_soon_threadsafe(driver.cancel, by)

        return Run(self, row.id, prepared.name, future, lambda outcome: self._outputs(row, outcome), cancel, seen)

    async def _run(
        self, row: RunRow, driver: Driver, bound: Mapping[str, Binding], scalars: Mapping[str, Any]
    ) -> Outcome:
        engine = self.engine
        task = asyncio.current_task()
        assert task is not None
        self._runs[task] = driver
        heeding = asyncio.create_task(self._heed_cancel(row.id, driver))
        try:
            outcome = await driver.drive(bound, scalars)
        except BaseException as error:
            stopped = isinstance(error, asyncio.CancelledError)
            state, why = ("cancelled", "an interrupt") if stopped else ("failed", f"{type(error).__name__}: {error}")
            ended = engine.scribe.call(engine.ledger.end_run, engine.owner, row.id, state, {"why": why}, time.time())
            await asyncio.shield(ended)
            raise
        finally:
            heeding.cancel()
            del self._runs[task]
        document = {
            "why": outcome.why,
            # Of those that succeeded there is nothing to add to what the ledger has of them already.
            "steps": {
                name: {"state": each.state, "why": each.why}
                for name, each in outcome.steps.items()
                if each.state != "succeeded"
            },
            "outputs": {name: binding_document(each) for name, each in outcome.outputs.items()},
        }
        await engine.scribe.call(engine.ledger.end_run, engine.owner, row.id, outcome.state, document, time.time())
        given = refs_of(*outcome.outputs.values())
        await self._let_go(engine.scratch.ended(row.id, given))
        return outcome

    async def _let_go(self, refs: Sequence[Ref]) -> None:
        """Free scratch outputs that nobody else needs. What is still there then goes with the next collection."""
        if refs:
            # Imported here: few modules have such outputs.
            from weftwork.data.holders import Live, Pins
            from weftwork.data.scratch import let_go

            ledger = self.home.ledger
            with contextlib.suppress(WeftError):
                await asyncio.to_thread(let_go, self.engine, refs, [Pins(ledger), Live(ledger)])

    async def _heed_cancel(self, run: str, driver: Driver) -> None:
        """Withdraw the run when another process asks for its end. Looks only when somebody has written."""
        ledger, seen = self.home.ledger, -1
        while True:
            await asyncio.sleep(HEED)
            try:
                version = await asyncio.to_thread(ledger.version)
                if version == seen:
                    continue
                by = (await asyncio.to_thread(ledger.run, run)).cancel
            except WeftError:
                # Out of reach for now: the next look may find it.
                continue
            seen = version
            if by is not None:
                driver.cancel(by)
                return

    def _outputs(self, row: RunRow, outcome: Outcome) -> Any:
        """The outputs of a run that succeeded; else its failure, telling which step and why."""
        if outcome.state == "cancelled":
            raise Cancelled(f"{row.name} ({row.id}) was cancelled: {outcome.why}", run=row.id, by=outcome.why)
        if outcome.state == "failed":
            found = self.conflicts(run=row.id) if row.document["placement"].get("strict") else []
            if found:
                raise Conflict(f"{row.name} ({row.id}) failed: {outcome.why}", **found[0].error().details, run=row.id)
            raise CalculationFailed(f"{row.name} ({row.id}) failed: {outcome.why}", run=row.id)
        return shaped({name: self.value(binding) for name, binding in outcome.outputs.items()})

    def keep(self, prepared: Prepared) -> None:
        """Store what a module or workflow needs to be run."""
        self.home.store.put_many(_carried(prepared))

    def all_ended(self, requests: Sequence[Request]) -> list[Waiter]:
        """Submit many requests, side by side, and wait for all to end, however they do."""
        return self._portal.call(all_ended(self.engine, list(requests)))

    def conflicts(self, **asked: Any) -> list[Told]:
        """Keys that gave two results, the latest first; asked for as the ledger's own, and told."""
        return [told(self.home.store, row) for row in self.home.ledger.conflicts(**asked)]

    def value(self, binding: Binding) -> Any:
        """The value of a binding. What of its bytes is lost is made again."""
        if isinstance(binding, Ref):
            try:
                return self.home.binder.value(binding)
            except LOST:
                return self.reading([binding], lambda: self.home.binder.value(binding))
        if isinstance(binding, Literal):
            return binding.value
        return [self.value(each) for each in binding]

    def resume(self, run: str, watch: Watch | None = None) -> Run:
        """Go on with a run that was interrupted, or start one that has ended again, with its inputs: what had finished
        comes from the cache. Raises Conflict while another process drives it."""
        self.check()
        row = self.home.ledger.run(run)
        if row.ended is None:
            row = self.home.ledger.take_run(self.engine.owner, row.id)
        else:
            row = RunRow(f"r{secrets.token_hex(6)}", row.name, "running", time.time(), row.document)
            self.home.ledger.start_run(self.engine.owner, row)
        prepared = stored_workflow(self.home.store, row.document["workflow"])
        bound = {name: binding_of(each) for name, each in row.document["inputs"].items()}
        workflow = prepared.workflow
        assert workflow is not None
        scalars = {name: self.value(bound[name]) for name in scalar_inputs(workflow) if name in bound}
        return self._drive(row, prepared, bound, scalars, Placement.of(row.document["placement"]), watch)

    # Many at once

    def map(self, thing: Any, *columns: Iterable[Any], **constants: Any) -> Generator[Any, None, None]:
        """The results of a module for each row of the columns, in order; see ``FunctionModule.map``.

        What the module is, and what the constants are, is settled now; the columns are read as results are taken.
        """
        self.check()
        prepared = self.prepare(thing)
        module = prepared.module
        if module is None:
            raise Invalid(f"{prepared.name} is a workflow; map takes a module")
        names = [each.name for each in module.inputs if each.name not in constants][: len(columns)]
        if len(names) < len(columns):
            raise Invalid(
                f"{module.name} has {len(module.inputs)} inputs, and {len(columns)} columns and {len(constants)} constants are given"
            )
        lengths = [len(each) for each in columns if isinstance(each, Sized)]
        if len(set(lengths)) > 1:
            told = " and ".join(f"{length:,}" for length in lengths)
            raise Invalid(f"{module.name}: a map has a row for each item, and its columns have {told} items")
        placement = self.engine.placed(module, NOTHING.placement(module.resources, Placement()))
        frame = self.engine.frame(module, placement)
        self.home.store.put_many(_carried(prepared))
        fixed = {name: self.home.binder.bind_one(module, name, value) for name, value in constants.items()}
        rows = Rows(names, zip(*columns, strict=False), fixed)
        return Mapper(self.engine, self._portal, module, frame, placement, rows).results(shaped)

    # Ask

    def explain(self, thing: Any, inputs: Mapping[str, Any]) -> Explanation:
        """The key of a module with these inputs, and what it is made of. Nothing runs."""
        self.check()
        prepared = thing if isinstance(thing, Prepared) else self.prepare(thing)
        if prepared.module is None:
            raise Invalid(f"{prepared.name} is a workflow: explain takes a module, or ask `weft why` about a step")
        module = prepared.module
        placement = self.engine.placed(module, NOTHING.placement(module.resources, Placement()))
        frame = self.engine.frame(module, placement)
        calculation = Calculation.of(frame, self._bound(module, inputs))
        return Explanation(str(calculation.key), calculation.parts, prepared.warnings)

    def why(self, job: str) -> str:
        """Why a job ran, or was answered from the cache."""
        return "\n".join(why.why(self.home.ledger, self.home.store, job))

    def why_step(self, run: str, step: str) -> str:
        """Why a step of a run ran, was answered from the cache, or did not run."""
        return "\n".join(why.why_step(self.home.ledger, self.home.store, run, step))

    def logs(self, job: str) -> str:
        """What a job wrote to its streams, over all of its attempts."""
        return logs.text(self.home.folder, self.home.ledger, job)

    def check(self) -> None:
        """Raise Refused where this session can answer nothing: in a fork of its process, and once it is closed."""
        self._portal.check()

    def withdraw(self, waiter: Waiter) -> None:
        """Want a job no longer."""
        self._portal.call(self.engine.leaving.withdraw([waiter], "user"))

    def kill(self) -> None:
        """Ask for every command of this engine to be killed, and wait for nothing: this process is about to end."""
        for live in self.engine.lives():
            folder = self.engine.folders.path(live.task)
            if folder.exists():
                request_cancel(str(folder), "user", 0.0)

    def cancel(self, job: str, by: str = "user") -> None:
        """Cancel a job of this home for everybody, whichever process owns it."""
        self._portal.call(self.engine.leaving.cancel_anywhere(job, by))

    def cancel_run(self, run: str, by: str = "user") -> None:
        """Cancel a run of this home, whichever process drives it; where none does any more, what it left is ended here."""
        ledger = self.home.ledger
        row = ledger.run(run)
        if row.ended is not None:
            raise Conflict(f"run {row.id} has ended already ({row.state}): there is nothing to cancel")
        ledger.request_cancel_run(row.id, by)
        try:
            ledger.take_run(self.engine.owner, row.id)
        except Conflict:
            return
        for each in ledger.jobs(run=row.id, states=("queued", "running"), limit=10**9):
            if not each.waiters:
                self.cancel(each.job.id, by)
        ledger.end_run(self.engine.owner, row.id, "cancelled", {"why": f"cancelled by {by}"}, time.time())


Watch = Callable[[StepEvent], None]


async def _waited(engine: Engine, waiter: Waiter) -> Record:
    """A job's record. A caller that stops waiting withdraws."""
    try:
        return await waiter.wait()
    except asyncio.CancelledError:
        await asyncio.shield(engine.leaving.withdraw([waiter], "its caller"))
        raise


def _carried(prepared: Prepared) -> list[bytes]:
    """What must be in the store for it to run, now and by whoever goes on with it."""
    buffers = [data for carried in prepared.carried for data in carried.buffers]
    return [*buffers, *(canonical(module.document()) for module in prepared.modules.values())]


def _signature_of(prepared: Prepared) -> Module:
    """The inputs of a workflow as those of a module, so that they are bound by the same rules."""
    return Module(prepared.name, prepared.inputs, (Output("result", Type("any")),), Command(("true",)))

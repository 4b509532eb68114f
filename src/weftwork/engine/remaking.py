"""Bytes that are gone or damaged are made again: the calculation that gave them runs once more, and must give the same.

A record answers whether or not its bytes are there. Who reads them and misses them comes here: a job for its inputs, a
caller for its results. What may have to run first, because its own inputs are gone too, is settled by
:mod:`weftwork.engine.makers`; each calculation is made again once for all who need it, in all processes of the home.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from weftwork.core.agreement import agreement
from weftwork.core.checksum import Checksum
from weftwork.core.job import Event, Record
from weftwork.core.values import Ref
from weftwork.engine.conflicts import declared
from weftwork.engine.jobs import Live, Request
from weftwork.engine.losses import Loss, losses
from weftwork.engine.makers import Maker, plan
from weftwork.errors import CalculationFailed, Conflict, Corrupt, MissingInputs, NotFound, WeftError

if TYPE_CHECKING:
    from weftwork.engine.engine import Engine

T = TypeVar("T")

LOST = (MissingInputs, NotFound, Corrupt)
"""What a reader of bytes raises where they are gone or damaged."""

TRIES = 10
"""How often one reader has something made again: bytes may be freed as fast as they are made."""


class Remaking:
    """What is lost and made again, for one engine, on its loop."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def reading(self, refs: Iterable[Ref], read: Callable[[], T]) -> T:
        """What ``read`` gives on a thread. Where it raises since bytes of ``refs`` are lost, they are made again first."""
        refs = list(refs)
        for left in range(TRIES, -1, -1):
            try:
                return await asyncio.to_thread(read)
            except LOST as error:
                if not left or not await self.make(refs, "a caller", read=isinstance(error, Corrupt)):
                    raise
        raise AssertionError

    async def answers(self, records: Sequence[Record], *, whole: bool = True) -> list[Record]:
        """The records with all their bytes there. One that gave something else when it was made again gives way to that.

        ``whole``: damage is looked for too, which reads all of it.
        """
        standing = list(records)
        for _ in range(TRIES):
            try:
                await self.make([ref for record in standing for _, ref in record.outputs], "a caller", read=whole)
                return standing
            except Conflict:
                now = await asyncio.to_thread(self._engine.ledger.records, [record.key for record in standing])
                changed = [now.get(record.key, record) if record.reusable else record for record in standing]
                if [each.outputs for each in changed] == [each.outputs for each in standing]:
                    raise
                standing = changed
        return standing

    async def make(self, refs: Iterable[Ref], wanted: str, *, read: bool = False) -> list[str]:
        """Make again what is lost of stored values, at any depth; what that was, in words. ``read``: damage too.

        Raises :class:`~weftwork.errors.MissingInputs` for what cannot be made again, saying why, and
        :class:`~weftwork.errors.Conflict` where it came out different.
        """
        refs, made = list(refs), list[str]()
        for _ in range(TRIES):
            lost = await asyncio.to_thread(self._lost, refs, read)
            if not lost:
                return made
            levels = await asyncio.to_thread(plan, self._engine, lost)
            gone = {each.checksum: "damaged" if each.damaged else "gone" for each in lost}
            for level in levels:
                made += await self._run(level, gone, wanted)
        raise MissingInputs(
            f"bytes were made again {TRIES} times and each time were gone before they were used: is a `weft gc` "
            "with a small --keep running all the time?",
            checksums=[str(ref.checksum) for ref in refs],
        )

    def _lost(self, refs: list[Ref], read: bool) -> list[Loss]:
        lost = losses(self._engine.store, refs, read=read)
        if damaged := [each.checksum for each in lost if each.damaged]:
            self._engine.store.set_aside(damaged)
        return lost

    async def _run(self, level: Sequence[Maker], gone: dict[Checksum, str], wanted: str) -> list[str]:
        """Run calculations that depend on nothing that is lost, and hold what comes out against what was."""
        engine = self._engine
        requests = []
        for maker in level:
            named = ", ".join(f"{each.short} ({gone.get(each, 'gone')})" for each in sorted(maker.wanted))
            requests.append(Request(maker.calculation, maker.module, maker.placement, lost=f"{wanted} needs {named}"))
        waiters = await engine.submit(requests)
        made, different = [], list[Conflict]()
        try:
            for maker, waiter in zip(level, waiters, strict=True):
                try:
                    record = await waiter.wait()
                except CalculationFailed as error:
                    raise _failed(maker, error) from error
                try:
                    _check(maker, record)
                except Conflict as error:
                    # Told when all have ended: what asks again then finds them all made.
                    different.append(error)
                    continue
                made.append(
                    f"{', '.join(each.short for each in sorted(maker.wanted))} by {maker} (job {waiter.live.id})"
                )
        except BaseException:
            left = [waiter for waiter in waiters if not waiter.done]
            await asyncio.shield(engine.leaving.withdraw(left, "its caller"))
            raise
        if different:
            raise different[0]
        return made

    def restore(self, live: Live, error: WeftError) -> None:
        """A job misses bytes of its inputs: make them again, and try it once more. That is no failed attempt."""
        live.retry = self._engine.spawn(self._restore(live, error))

    async def _restore(self, live: Live, error: WeftError) -> None:
        engine, inputs = self._engine, live.request.calculation.inputs
        try:
            wanted = f"job {live.id} ({live.request.calculation.frame.name})"
            refs = [ref for _, ref in inputs]
            # Whoever missed them may not know that they are there and damaged: that is looked for where none is gone.
            made = await self.make(refs, wanted, read=isinstance(error, Corrupt)) or await self.make(
                refs, wanted, read=True
            )
        except Exception as failure:
            live.restored = TRIES
            told = await asyncio.to_thread(self._unreadable, live, failure)
            live.retry = None
            await engine.failed(live, told)
            return
        # What another one made meanwhile needs no making; what is nobody's loss is no reason to try for ever.
        live.restored += 1 if made else TRIES // 2
        live.uncounted += 1
        if live.done or live.followed or live.cancelled_by is not None:
            return
        if made:
            data = {"attempt": live.attempt, "again": made}
            engine.scribe.append(live.id, live.epoch, Event("noted", time.time(), data))
        engine.dispatch(live)

    def _unreadable(self, live: Live, failure: Exception) -> WeftError:
        """On a thread: the error of a job whose inputs cannot be had, by their names."""
        from weftwork.engine.jobs import internal

        error = internal(failure)
        if not isinstance(error, MissingInputs):
            return error
        names: list[str] = []
        checksums: list[str] = []
        for name, ref in live.request.calculation.inputs:
            lost = [each.checksum for each in losses(self._engine.store, [ref], read=False)]
            if lost:
                checksums += map(str, lost)
                names.append(f"{name!r} ({', '.join(each.short for each in lost[:3])})")
        told = f"{live.request.calculation.frame.name}: the bytes of its input {' and '.join(names)} are lost"
        return MissingInputs(f"{told}: {error}", checksums=checksums or error.details.get("checksums"))


def tolerated(engine: Engine, error: WeftError) -> bool:
    """On a thread: whether this says that something came out different when it was made again, of which its module declares
    that it may (``tolerance``). What is still there of the lost result is held against the new one."""
    key = error.details.get("again")
    if not isinstance(error, Conflict) or key is None:
        return False
    rows = engine.ledger.conflicts(key=Checksum(key))
    if not rows:
        return False
    module = declared(engine.store, rows[0].module)
    if module is None:
        return False
    for row in rows:
        new = dict(row.stands.record.outputs)
        for name, old in row.differs.record.outputs:
            if new.get(name) == old:
                continue
            if not module.tolerance_of(name) or name not in new:
                return False
            try:
                if agreement({name: old}, {name: new[name]}, module.tolerance_of, engine.store).state == "different":
                    return False
            except (NotFound, Corrupt):
                continue
    return True


def _check(maker: Maker, record: Record) -> None:
    """Raise Conflict where what was made again is not what it was."""
    outputs = {ref.checksum for _, ref in record.outputs}
    different = sorted(each for each in maker.wanted if each not in outputs)
    if not different:
        return
    now = ", ".join(f"{name} {ref.checksum.short}" for name, ref in record.outputs)
    raise Conflict(
        f"{maker} is not deterministic: made again, it gave {now}, where {different[0].short} was recorded and is lost; "
        "what was made from the lost one cannot be made in the same way again. The new result answers from now on: run "
        "again, and what follows from it is calculated anew (or say deterministic: false in the module)",
        key=str(record.key),
        again=str(record.key),
        checksums=list(map(str, different)),
    )


def _failed(maker: Maker, error: CalculationFailed) -> MissingInputs:
    return MissingInputs(
        f"{maker} was run again for bytes that are lost, and failed: {error}",
        checksums=list(map(str, sorted(maker.wanted))),
        job=error.details.get("job"),
    )

"""Checking on purpose whether calculations give the same again: what is meant by a target, a sample of it, the repeats."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from weftwork.core.job import Record
from weftwork.core.module import Module
from weftwork.core.step import NOTHING, Overrides
from weftwork.embedded import Embedded
from weftwork.engine import again
from weftwork.engine.again import Recorded
from weftwork.engine.checking import Checked, Report, judged
from weftwork.engine.conflicts import declared
from weftwork.engine.jobs import Request
from weftwork.errors import Invalid, NotFound, WeftError
from weftwork.handles import Handle


@dataclass(frozen=True, slots=True)
class _Target:
    """Which calculations are meant: those of a module (``module`` where it is at hand as it is now), of a run, or one job."""

    name: str
    jobs: Sequence[str]
    among: int
    module: Module | None = None


@dataclass(frozen=True, slots=True)
class _Chosen:
    """A calculation of the sample, with the result that it had before, and what runs it again or why nothing can."""

    job: str
    step: str | None
    key: str
    name: str
    found: Recorded | None = None
    before: Record | None = None
    request: Request | None = None
    error: WeftError | None = None


def check(
    session: Embedded,
    target: Any,
    *,
    repeat: int = 2,
    sample: int = 10,
    seed: int | None = None,
    strict: bool = False,
    said: Overrides = NOTHING,
) -> Report:
    """Run calculations that succeeded again, and hold what comes out against what is known.

    ``target`` is a module (a function, ``file.py:function``, a document, or its name as the ledger has it), a run or a
    job (an id by its beginning, or what ``submit`` gave). Of more than ``sample`` calculations so many are drawn, by the
    ``seed``. Raises :class:`~weftwork.errors.NotFound` where there is nothing to check, and what kept them all from
    being run where none could be.
    """
    for name, value in (("repeat", repeat), ("sample", sample)):
        if value < 1:
            raise Invalid(f"check: {name} is {value}; a whole number of at least 1 is expected")
    seed = secrets.randbelow(10**6) if seed is None else seed
    meant = _meant(session, target, sample, seed)
    chosen = [_chosen(session, job, meant.module, said) for job in meant.jobs]
    ready = [each for each in chosen if each.request is not None]
    if not ready:
        error = chosen[0].error
        assert error is not None
        raise error
    ends = iter(session.all_ended([each.request for each in ready for _ in range(repeat) if each.request is not None]))
    checked = []
    for each in chosen:
        if each.found is None or each.request is None:
            checked.append(Checked(each.key, each.name, each.job, "not run", error=each.error, step=each.step))
            continue
        waiters = [next(ends) for _ in range(repeat)]
        checked.append(judged(session.home.store, each.found, each.job, each.step, each.before, waiters))
    return Report(meant.name, tuple(checked), meant.among, repeat, seed, strict)


def _meant(session: Embedded, target: Any, sample: int, seed: int) -> _Target:
    ledger = session.home.ledger
    if isinstance(target, Handle):
        target = target.id
    if not isinstance(target, str) or _is_reference(target):
        return _of_module(session, target, sample, seed)
    if target.startswith("r"):
        with contextlib.suppress(NotFound):
            run = ledger.run(target)
            jobs, among = ledger.sampled(sample, seed, run=run.id)
            return _some(_Target(f"{run.name} ({run.id})", jobs, among), "succeeded")
    if target.startswith("j"):
        with contextlib.suppress(NotFound):
            job = ledger.job(target).job
            if job.state != "succeeded":
                raise Invalid(
                    f"job {job.id} of {job.name} has not succeeded: there is no result to hold another against"
                )
            return _Target(f"{job.name} ({job.id})", [job.id], 1)
    jobs, among = ledger.sampled(sample, seed, name=target)
    if not jobs and ":" in target:
        return _of_module(session, target, sample, seed)
    return _some(_Target(target, jobs, among), "is known here: name a run, a job, or a module that has run")


def _is_reference(text: str) -> bool:
    return text.endswith((".yaml", ".yml", ".json")) or ".py:" in text


def _of_module(session: Embedded, target: Any, sample: int, seed: int) -> _Target:
    """A module as it is now: of its calculations those of this very program."""
    prepared = session.prepare(target)
    module = prepared.module
    if module is None:
        raise Invalid(
            f"{prepared.name} is a workflow: check a run of it (`weft runs` lists them), or one of its modules"
        )
    session.keep(prepared)
    jobs, among = session.home.ledger.sampled(sample, seed, name=module.name, program=module.counted_program())
    if not jobs:
        _, earlier = session.home.ledger.sampled(1, 0, name=module.name)
        told = f"; {earlier:,} of it as it was before: `weft check {module.name}` checks these" if earlier else ""
        raise NotFound(f"no calculation of {module.name} as it is now has succeeded here{told}")
    return _Target(module.name, jobs, among, module)


def _some(target: _Target, what: str) -> _Target:
    if not target.jobs:
        raise NotFound(f"{target.name}: no calculation of it {what}")
    return target


def _chosen(session: Embedded, job: str, module: Module | None, said: Overrides) -> _Chosen:
    home = session.home
    row = home.ledger.job(job)
    key = row.job.key
    chosen = _Chosen(job, f"{row.run}:{row.step}" if row.step else None, str(key), row.job.name)
    try:
        found = again.recorded(home.ledger, home.store, key)
        module = module or declared(home.store, home.ledger.declared(key) or found.calculation.frame.module)
        found = Recorded(found.calculation, module or found.module)
        before = home.ledger.records([key]).get(key) or home.ledger.record_of(job)
        request = again.request(session.engine, found, said)
    except WeftError as error:
        return replace(chosen, error=error)
    return replace(chosen, found=found, before=before, request=request)

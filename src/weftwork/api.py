"""The public calls: run, submit, map, explain; and the session that they go to."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from weftwork.core.calculation import Explanation
from weftwork.core.step import Overrides
from weftwork.embedded import Embedded, Watch
from weftwork.engine.checking import Report
from weftwork.handles import Job, Run
from weftwork.modules import loading

_lock = threading.Lock()
_session: list[tuple[int, Embedded]] = []


def session() -> Embedded:
    """The default session: an engine of this process, made at its first use over the home that ``WEFT_HOME`` names."""
    with _lock:
        if not _session or _session[0][0] != os.getpid() or _session[0][1].closed:
            _session[:] = [(os.getpid(), Embedded())]
        return _session[0][1]


def use(home: str | os.PathLike[str]) -> Embedded:
    """Make the engine over another home the default session, and return it."""
    with _lock:
        if _session:
            _session[0][1].close()
        _session[:] = [(os.getpid(), Embedded(os.fspath(home)))]
        return _session[0][1]


def close() -> None:
    """Close the default session: withdraw from what is live, and end its workers. The next call opens another."""
    with _lock:
        if _session:
            _session.pop()[1].close()


def run(
    thing: Any,
    /,
    *arguments: Any,
    at: str | None = None,
    resources: Mapping[str, Any] | None = None,
    cache: bool = True,
    strict: bool = False,
    watch: Watch | None = None,
    **inputs: Any,
) -> Any:
    """Run a module or workflow and return its outputs: the value of ``result``, or all by name.

    ``thing`` is a module, a workflow, a plain function, or a text that names one (``fit.module.yaml``, ``fit.py:name``).
    ``at`` names the site; ``resources`` are those of :class:`weft.Resources`; ``cache=False`` runs although a result is
    known; ``strict=True`` raises :class:`~weftwork.errors.Conflict` where a result differs from the one that is known;
    ``watch`` is called with each event of a step. Inputs are given by name, or in order: one whose name is one
    of these is given in order.

    Raises :class:`~weftwork.errors.Invalid` before anything runs when an input is wrong, and
    :class:`~weftwork.errors.CalculationFailed` when the program fails.
    """
    said = Overrides(at, tuple(sorted((resources or {}).items())), None if cache else False, strict=strict or None)
    found = loading.runnable(thing)
    handle = session().submit(found, found.bound(arguments, inputs), said, watch, events=False)
    try:
        return handle.result()
    except KeyboardInterrupt:
        handle.cancel()
        raise


def submit(
    thing: Any,
    /,
    *arguments: Any,
    at: str | None = None,
    resources: Mapping[str, Any] | None = None,
    cache: bool = True,
    strict: bool = False,
    watch: Watch | None = None,
    **inputs: Any,
) -> Job | Run:
    """Start a module or workflow and return at once: a job or run with ``.result() .wait() .status .cancel() .why()``.

    Arguments are those of :func:`run`. It may be awaited. What is not waited for is withdrawn when the process ends.
    """
    said = Overrides(at, tuple(sorted((resources or {}).items())), None if cache else False, strict=strict or None)
    found = loading.runnable(thing)
    return session().submit(found, found.bound(arguments, inputs), said, watch)


async def run_async(thing: Any, /, *arguments: Any, **inputs: Any) -> Any:
    """:func:`run` for a coroutine: the loop goes on meanwhile. Cancelling it withdraws the job."""
    handle = await asyncio.to_thread(lambda: submit(thing, *arguments, **inputs))
    try:
        return await handle
    except asyncio.CancelledError:
        handle.cancel()
        raise


async def submit_async(thing: Any, /, *arguments: Any, **inputs: Any) -> Job | Run:
    """:func:`submit` for a coroutine: hashing and storing of inputs happen on a thread."""
    return await asyncio.to_thread(lambda: submit(thing, *arguments, **inputs))


def map_(thing: Any, /, *columns: Iterable[Any], **constants: Any) -> Any:
    """Call a module for each row of the columns, side by side; an iterator of results, in order."""
    return session().map(thing, *columns, **constants)


def explain(thing: Any, /, **inputs: Any) -> Explanation:
    """The key of a module with these inputs (``.key``), what it is made of (``.parts``), and what was noticed (``.warnings``)."""
    return session().explain(thing, inputs)


def check(
    target: Any,
    /,
    *,
    repeat: int = 2,
    sample: int = 10,
    seed: int | None = None,
    strict: bool = False,
    at: str | None = None,
) -> Report:
    """Run calculations that succeeded again, ``repeat`` times each, and compare what comes out with what is known.

    ``target`` is a module, a job or a run: the object, or the text that names it; ``sample`` calculations of it are
    drawn, by the ``seed``. The report has ``.ok`` (with ``strict`` only where all bytes are the same), ``.checked`` with
    one entry for each calculation, and a text. Raises :class:`~weftwork.errors.NotFound` where nothing has run.
    """
    from weftwork.checking import check as checked

    said = Overrides(site=at)
    return checked(session(), target, repeat=repeat, sample=sample, seed=seed, strict=strict, said=said)


def load(reference: str | os.PathLike[str]) -> Any:
    """The module or workflow that a text names: a YAML document, ``file.py:name``, or ``package.module:name``."""
    return loading.load(reference)

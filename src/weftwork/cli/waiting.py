"""Waiting for a job or run so that Ctrl-C cancels it cleanly, and a second one ends at once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

from weftwork.cli.ending import INTERRUPTED, TERMINATED, Terminated, told
from weftwork.handles import Handle

LOOK = 0.1
"""Seconds between two looks at what there is to show."""

_TOLD = 3


def job_ended(handle: Handle, show: Callable[[], None] | None = None) -> None:
    """Come back when it has ended, calling ``show`` meanwhile. An interrupt withdraws it first, and is raised again."""
    try:
        _wait(handle, show)
    except KeyboardInterrupt as interrupt:
        told("cancelling; Ctrl-C again ends at once")
        try:
            handle.cancel()
            _wait(handle, show)
        except KeyboardInterrupt as again:
            at_once(handle, TERMINATED if isinstance(again, Terminated) else INTERRUPTED)
        raise interrupt from None


def _wait(handle: Handle, show: Callable[[], None] | None) -> None:
    while not handle.wait(LOOK if show is not None else 3600.0):
        if show is not None:
            show()
    if show is not None:
        show()


def conflicts_told(handle: Handle) -> None:
    """Warn of results that differ from those that were known."""
    found = handle.conflicts()
    for each in found[:_TOLD]:
        told(f"warning: {each}")
    if found:
        more = f"{len(found) - _TOLD:,} more; " if len(found) > _TOLD else ""
        told(f"{more}`weft conflicts` shows both results; --strict makes it an error")


def at_once(handle: Handle, code: int) -> None:
    """End without waiting: commands are killed by the supervisor, workers when this process is gone."""
    with contextlib.suppress(Exception):
        handle.kill()
    os._exit(code)

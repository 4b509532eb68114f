"""Outputs whose bytes are not kept: which ones this engine's jobs have made, and for which run they still live.

When they may go, and that nobody else needs them, is settled above (:mod:`weftwork.data.scratch`).
"""

from __future__ import annotations

from collections.abc import Iterable

from weftwork.core.job import Record
from weftwork.core.values import Ref
from weftwork.engine.jobs import Request


class Scratch:
    """References by the run that they were made for; ``None`` for what lives as long as its session."""

    def __init__(self) -> None:
        self._made: dict[str | None, list[Ref]] = {}

    def made(self, request: Request, record: Record) -> None:
        """A job has ended with a record that answers its key."""
        if names := request.module.scratch:
            refs = [ref for name, ref in record.outputs if name in names]
            self._made.setdefault(request.run, []).extend(refs)

    def ended(self, run: str, given: Iterable[Ref]) -> list[Ref]:
        """The run is over: what was made for it, but for what it has ``given`` its caller, which lives on with the session."""
        kept = {ref.checksum for ref in given}
        made = self._made.pop(run, [])
        if stays := [ref for ref in made if ref.checksum in kept]:
            self._made.setdefault(None, []).extend(stays)
        return [ref for ref in made if ref.checksum not in kept]

    def closed(self) -> list[Ref]:
        """All that is left, at the end of the session."""
        left = [ref for refs in self._made.values() for ref in refs]
        self._made.clear()
        return left

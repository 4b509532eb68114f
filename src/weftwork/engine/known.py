"""Results that are known already: looked up without a claim, told at once, and written down soon after.

A record that answers a key stays its answer, so whoever finds one need not wait for the writer, behind whom a running
map may be. That the result was asked for is noted as a job all the same, by the scribe. May be used from any thread.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Sequence

from weftwork.core.calculation import Calculation
from weftwork.core.job import Record
from weftwork.core.placement import Placement
from weftwork.engine.scribe import Scribe
from weftwork.ports import Claim, Ledger

Noted = concurrent.futures.Future[list[str]]
"""The names of the jobs that were written for what was answered."""


class Known:
    """Look-ups of one engine. ``loop`` is the one that the scribe belongs to."""

    def __init__(self, ledger: Ledger, scribe: Scribe, loop: asyncio.AbstractEventLoop) -> None:
        self._ledger = ledger
        self._scribe = scribe
        self._loop = loop

    def records(self, calculations: Sequence[Calculation]) -> list[Record | None]:
        """The record that answers each. Whether its bytes are there is found out by who reads them."""
        keys = [each.key for each in calculations]
        return list(map(self._ledger.records(keys).get, keys))

    def answered(self, calculations: Sequence[Calculation], placement: Placement) -> Noted:
        """Have it written down that records answered these."""
        noted: Noted = concurrent.futures.Future()
        claims = [Claim(each, placement, None, None, True) for each in calculations]
        self._loop.call_soon_threadsafe(self._scribe.answered, claims, noted)
        return noted

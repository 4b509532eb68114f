"""How often an attempt that failed because of its site is made again."""

from __future__ import annotations

import asyncio

from weftwork.engine.jobs import Live
from weftwork.errors import Evicted, SiteFailed
from weftwork.ports import Ledger

RETRIES = 3
"""How often at most, whatever a placement says."""

EVICTIONS = 100
"""How often one that was evicted is: it is not to blame, but what always takes its node with it must end as well."""


async def has_tries(ledger: Ledger, live: Live, error: SiteFailed) -> bool:
    """Whether there is another attempt after this error. Evictions are not counted among the tries."""
    retries = min(live.request.placement.retries, RETRIES)
    if isinstance(error, Evicted):
        live.uncounted += 1
        return retries > 0 and live.attempt <= EVICTIONS
    if live.attempt - live.uncounted <= retries:
        return True
    # A dead owner's evictions are no tries either.
    events = await asyncio.to_thread(ledger.events, live.id)
    retried = [event.data["error"]["type"] for _, event in events if event.kind == "retried"]
    return live.attempt - max(live.uncounted, retried.count(Evicted.__name__)) <= retries

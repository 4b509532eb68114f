"""Floor 2: what the engine needs from the outside, as protocols. Adapters implement them; nobody else is named here.

Each docstring states guarantees phase by phase. The contract suites in :mod:`weftwork.testing` hold every
implementation to them.
"""

from __future__ import annotations

from weftwork.ports.ledger import Claim, Claimed, Ending, JobRow, Ledger, Owner, RunRow, StepRow
from weftwork.ports.places import Call, CallOutcome, Process, Report, Scheduler, Site, Task
from weftwork.ports.stores import Files, Store

__all__ = [
    "Call",
    "CallOutcome",
    "Claim",
    "Claimed",
    "Ending",
    "Files",
    "JobRow",
    "Ledger",
    "Owner",
    "Process",
    "Report",
    "RunRow",
    "Scheduler",
    "Site",
    "StepRow",
    "Store",
    "Task",
]

"""Floor 2: what the engine needs from the outside, as protocols. Adapters implement them; nobody else is named here.

Each docstring states guarantees phase by phase. The contract suites in :mod:`weftwork.testing` hold every
implementation to them.
"""

from __future__ import annotations

from weftwork.ports.batches import Answers, Batch, Wants
from weftwork.ports.ledger import (
    Claim,
    Claimed,
    ConflictRow,
    Ending,
    Evidence,
    First,
    JobRow,
    Ledger,
    Machine,
    Owner,
    PinRow,
    RunRow,
    StepRow,
)
from weftwork.ports.places import (
    Call,
    CallOutcome,
    Image,
    Process,
    Report,
    Runtime,
    Scheduler,
    Site,
    Sites,
    Task,
    Wrapping,
)
from weftwork.ports.shell import Ran, Shell
from weftwork.ports.stores import Files, Store

__all__ = [
    "Answers",
    "Batch",
    "Call",
    "CallOutcome",
    "Claim",
    "Claimed",
    "ConflictRow",
    "Ending",
    "Evidence",
    "Files",
    "First",
    "Image",
    "JobRow",
    "Ledger",
    "Machine",
    "Owner",
    "PinRow",
    "Process",
    "Ran",
    "Report",
    "RunRow",
    "Runtime",
    "Scheduler",
    "Shell",
    "Site",
    "Sites",
    "StepRow",
    "Store",
    "Task",
    "Wants",
    "Wrapping",
]

"""What is known already: the record of a calculation, found with the home alone. Nothing runs, and no engine is needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weftwork.config import Home
from weftwork.core.calculation import Calculation
from weftwork.core.job import Record
from weftwork.core.module import Module
from weftwork.engine.frames import frame_of
from weftwork.engine.losses import losses


def recorded(home: Home, module: Module, values: Mapping[str, Any]) -> Record | None:
    """The record that answers a module with these inputs on this machine; ``None`` where there is none to use.

    One whose bytes are gone is none: it takes an engine to make them again. Inputs are stored as a submission would
    store them. A hit leaves no trace in the ledger: no job is made for it.
    """
    from weftwork.sites.machine import Machine

    frame = frame_of(module, Machine(home.sources.checksum).resolve(module))
    key = Calculation.of(frame, home.binder.bind(module, values)).key
    record = home.ledger.records([key]).get(key)
    if record is None or losses(home.store, [ref for _, ref in record.outputs], read=False):
        return None
    return record

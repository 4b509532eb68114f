"""Calculations, claims and owners for the ledger's suites, without pytest: the processes of a test start with these."""

from __future__ import annotations

import itertools
import subprocess
from typing import Any

from weftwork.core.calculation import Calculation, Frame
from weftwork.core.checksum import Checksum
from weftwork.core.job import Event, Record
from weftwork.core.placement import Placement
from weftwork.core.values import Ref, Type
from weftwork.ledger import owners
from weftwork.ports import Claim, Claimed, Ending, Owner

LEASE = 600.0
FRESH = Placement(cache=False)


def calculation(number: int, module: str = "double") -> Calculation:
    """One of many calculations of a module; equal arguments, equal key."""
    frame = Frame(Checksum.of(module.encode()), module, {"function": module}, {"platform": "any"}, {"return": "float"})
    return Calculation.of(frame, {"x": ref(number), "größe": ref(7)})


def ref(number: int) -> Ref:
    return Ref(Type("float"), Checksum.of(b"%d" % number), 8)


def record(made: Calculation, output: int = 1, **changes: Any) -> Record:
    return Record(made.key, (("return", ref(output)),), 1790000000.1234567, **changes)


def claims(*numbers: int, placement: Placement | None = None, **others: Any) -> list[Claim]:
    return [Claim(calculation(number), placement or Placement(), **others) for number in numbers]


def succeeded(claimed: Claimed, made: Calculation, output: int = 1, **changes: Any) -> Ending:
    event = Event("succeeded", 1790000001.5)
    return Ending(claimed.job, claimed.epoch, event, record(made, output, **changes))


def failed(claimed: Claimed) -> Ending:
    return Ending(claimed.job, claimed.epoch, Event("failed", 2.0, {"error": {"type": "Raised", "message": "no"}}))


class Living:
    """A process of this host that lives until it is killed, as an owner."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(["sleep", "1000"])
        self.owner = owners.of_process(self._process.pid)
        self.id = self.owner.id

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


_numbers = itertools.count()


def elsewhere() -> Owner:
    """A process of another host."""
    return Owner(f"elsewhere-{next(_numbers)}", "another-host", "its boot", 1, 0.0)

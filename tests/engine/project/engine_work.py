"""Modules for the tests of the engine. Each adds a line to a file that the engine does not know: an execution."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import weftwork as weft

HERE = Path(__file__).parent


def note(log: str, line: str) -> None:
    with open(log, "a") as file:
        file.write(line + "\n")


@weft.module
def double(log: str, value: int) -> int:
    note(log, f"double {value}")
    return 2 * value


@weft.module
def slow(log: str, value: int, seconds: float) -> int:
    note(log, f"slow {value}")
    time.sleep(seconds)
    note(log, f"slow {value} ended")
    return value


@weft.module
def herd(log: str, value: int, behind: int) -> int:
    """The first ends when so many others have begun."""
    note(log, f"herd {value}")
    until = time.monotonic() + 30
    while value == 0 and len(Path(log).read_text().splitlines()) <= behind:
        if time.monotonic() > until:
            raise TimeoutError(f"fewer than {behind} others were begun in 30 s")
        time.sleep(0.01)
    return value


@weft.module
def total(log: str, values: list[int]) -> int:
    note(log, f"total {sum(values)}")
    return sum(values)


@weft.module
def spawning(log: str, seconds: float) -> int:
    """Has a child, and waits for it."""
    child = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({seconds})"])
    note(log, f"child {child.pid}")
    note(log, f"self {os.getpid()}")
    return child.wait()


command = weft.load(HERE / "nap.module.yaml")
stubborn = weft.load(HERE / "stubborn.module.yaml")


@weft.workflow
def chain(log: str, value: int, seconds: float = 0.0) -> int:
    first = double(log, value)
    napped = command(log=log, value=first, seconds=seconds)
    return total(log, [first, napped.out])


@weft.module
def span(value: int, seconds: float) -> list[float]:
    """Which process took it, when, and until when, by the clock that all processes share."""
    begun = time.monotonic()
    time.sleep(seconds)
    return [float(os.getpid()), begun, time.monotonic()]

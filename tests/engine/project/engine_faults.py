"""Functions that go wrong, each in its own way."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from pathlib import Path

from engine_work import note

import weftwork as weft

HERE = Path(__file__).parent


@weft.module
def flawed(log: str, how: str, value: int) -> int:
    note(log, f"{how} {value}")
    if how == "raise":
        raise ValueError(f"no {value}")
    if how == "file":
        open("absent.txt").close()
    if how == "exit":
        os._exit(3)
    if how == "sys.exit":
        sys.exit(4)
    if how == "segfault":
        ctypes.string_at(0)
    if how == "none":
        return None  # type: ignore[return-value]
    if how == "text":
        return "seven"  # type: ignore[return-value]
    return value


@weft.module
def forever(log: str) -> int:
    note(log, f"forever {os.getpid()}")
    while True:
        time.sleep(0.01)


@weft.module
def hungry(log: str, megabytes: int) -> int:
    note(log, f"hungry {os.getpid()}")
    held = []
    for _ in range(megabytes):
        held.append(os.urandom(1 << 20))
        time.sleep(0.001)
    time.sleep(30)
    return len(held)


greedy = weft.load(HERE / "greedy.module.yaml")
silent = weft.load(HERE / "silent.module.yaml")

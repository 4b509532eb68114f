"""Modules that give a little something else each time, and say so or do not."""

from __future__ import annotations

import os

from engine_work import note

import weftwork as weft


def _noise() -> float:
    return 1.0 + int.from_bytes(os.urandom(4), "little") * 1e-16


@weft.module(tolerance=1e-3)
def noisy(log: str, count: int, nonce: int = 0) -> list[float]:
    note(log, f"noisy {nonce}")
    return [_noise() for _ in range(count)]


@weft.module
def silent(log: str, count: int) -> list[float]:
    note(log, "silent")
    return [_noise() for _ in range(count)]


@weft.module
def scaled(log: str, values: list[float]) -> list[float]:
    note(log, "scaled")
    return [2 * each for each in values]


@weft.module
def total(log: str, values: list[float], extra: int = 0) -> float:
    note(log, f"total {extra}")
    return sum(values) + extra


@weft.module
def first(value: float, log: str, extra: int = 0) -> float:
    return value + extra


@weft.workflow
def flow(log: str, extra: int) -> dict[str, float]:
    """One step takes what varies, another what was made from it."""
    varies = noisy(log=log, count=10)
    return {
        "direct": total.options(name="direct")(log=log, values=varies, extra=extra),
        "further": total.options(name="further")(log=log, values=scaled(log=log, values=varies), extra=extra),
    }


@weft.workflow
def mapped(log: str, extra: int) -> list[float]:
    return first.map(noisy(log=log, count=5), log=log, extra=extra)


@weft.workflow
def unsaid(log: str, extra: int) -> float:
    return total(log=log, values=silent(log=log, count=10), extra=extra)

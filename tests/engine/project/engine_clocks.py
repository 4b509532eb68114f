"""Modules that do not give the same twice, and say so or not."""

from __future__ import annotations

import os
import random
import time
from typing import NamedTuple

import weftwork as weft


class Star(NamedTuple):
    mass: float
    names: list[str]


@weft.module
def seen(x: float) -> Star:
    return Star(x + time.time_ns(), ["a"])


varying = weft.module(deterministic=False)(seen.__weft_function__)


def _sums(count: int) -> list[float]:
    """Sums of the same numbers in an order of their own each time."""
    dice = random.Random(int.from_bytes(os.urandom(8)))
    values = [1.1**n for n in range(100)]
    return [sum(dice.sample(values, 100)) for _ in range(count)]


@weft.module(tolerance=1e-9)
def sums(count: int) -> list[float]:
    return _sums(count)


@weft.module
def exact_sums(count: int) -> list[float]:
    return _sums(count)


tolerant_sums = weft.module(tolerance=1e-9)(exact_sums.__weft_function__)


@weft.module
def steady(x: float) -> float:
    return 2 * x


@weft.workflow
def flow(x: float):
    return {"twice": steady(x), "seen": seen(x=x).mass}


@weft.module
def cubed(x: int) -> int:
    return x**3


@weft.module
def once(marker: str) -> str:
    """Works where nothing is, and never again."""
    os.mkdir(marker)
    return "done"


@weft.module
def shaken(x: float) -> float:
    """Differs in its eighth digit."""
    return x * (1 + int.from_bytes(os.urandom(4)) / 2**60)


tolerant_shaken = weft.module(tolerance=1e-6)(shaken.__weft_function__)

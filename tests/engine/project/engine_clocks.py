"""Modules that do not give the same twice, and say so or not."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

import numpy

import weftwork as weft


class Star(NamedTuple):
    mass: float
    names: list[str]


@weft.module
def seen(x: float) -> Star:
    return Star(x + time.time_ns(), ["a"])


@weft.module
def coin(x: int) -> int:
    return os.urandom(1)[0] % 2


varying = weft.module(deterministic=False)(seen.__weft_function__)


def _sums(count: int) -> numpy.ndarray:
    """Sums of the same numbers in an order of their own each time."""
    dice = numpy.random.default_rng(int.from_bytes(os.urandom(8)))
    values = 1.1 ** numpy.arange(100)
    return numpy.array([values[dice.permutation(100)].sum() for _ in range(count)])


@weft.module(tolerance=1e-9)
def sums(count: int) -> numpy.ndarray:
    return _sums(count)


@weft.module
def exact_sums(count: int) -> numpy.ndarray:
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

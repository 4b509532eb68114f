"""Workflows for the tests of runs."""

from __future__ import annotations

import engine_faults as faults
import engine_values as values
import engine_work as work
from engine_work import note

import weftwork as weft


@weft.module
def add(log: str, a: int, b: int = 100) -> int:
    note(log, f"add {a} {b}")
    return a + b


@weft.module
def numbers(log: str, count: int) -> list[int]:
    note(log, "numbers")
    return list(range(count))


@weft.module
def is_even(log: str, value: int) -> bool:
    note(log, f"is_even {value}")
    return value % 2 == 0


@weft.module
def size(log: str, file: weft.File) -> int:
    note(log, "size")
    with open(file.path, "rb") as source:
        return len(source.read())


@weft.workflow
def partly(log: str) -> dict[str, int]:
    """One branch fails, another goes on, a third asks for either."""
    bad = faults.flawed.options(name="bad")(log, "raise", 1)
    after = add.options(name="after")(log, bad)
    good = add.options(name="good")(log, 1)
    either = add.options(name="either", when=bad.succeeded | good.succeeded)(log, 2)
    rescue = add.options(name="rescue", when=bad.failed)(log, 3)
    return {"after": after, "good": good, "either": either, "rescue": rescue}


@weft.workflow
def alike(log: str, seconds: float) -> int:
    """Two steps that ask for the same."""
    left = work.command(log=log, value=5, seconds=seconds)
    right = work.command(log=log, value=5, seconds=seconds)
    return add.options(name="sum")(log, left.out, right.out)


@weft.workflow
def tolerant(log: str) -> dict[str, int]:
    bad = faults.flawed.options(name="bad")(log, "raise", 1)
    rescue = add.options(name="rescue", when=bad.failed)(log, 3)
    return {"rescue": rescue}


@weft.workflow
def skipping(log: str, value: int) -> dict[str, int]:
    even = is_even.options(name="even")(log, value)
    half = add.options(name="half", when=even == True)(log, 1, 1)  # noqa: E712
    needs = add.options(name="needs")(log, half)
    default = add.options(name="default")(log, 5, half)
    return {"default": default, "needs": needs}


@weft.workflow
def mapped(log: str, count: int) -> int:
    made = numbers(log, count)
    return work.total(log, add.map(made, log=log, b=1))


@weft.workflow
def over_directory(log: str, count: int) -> int:
    return work.total(log, size.map(values.spread(log, count), log=log))


@weft.workflow
def racing(log: str, wanted: int) -> int:
    return weft.race(
        name="won",
        fast=add.bind(log, 1, 0),
        slow=work.slow.bind(log, 50, 30.0),
        accept=lambda each: each.result >= 1,
    )


@weft.workflow
def second_wins(log: str) -> int:
    return weft.race(
        name="won",
        low=add.bind(log, 1, 0),
        high=work.slow.bind(log, 50, 0.3),
        stuck=work.slow.bind(log, 3, 60.0),
        accept=lambda each: each.result > 10,
    )


@weft.workflow
def nobody(log: str) -> int:
    return weft.race(
        name="won", low=add.bind(log, 1, 0), lower=add.bind(log, 0, 0), accept=lambda each: each.result > 10
    )


@weft.workflow
def private(log: str, seconds: float) -> dict[str, int]:
    """A step that keeps its result for its own run, then one that takes a while."""
    first = values.chance.options(name="first", cache=False)(log)
    slow = work.slow.options(name="slow", when=first.succeeded)(log, 1, seconds)
    return {"first": first, "slow": slow}

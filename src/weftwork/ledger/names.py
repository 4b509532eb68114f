"""Ids of jobs: ``j``, seven digits that say which row it is, and seven that tell the ledgers of the world apart.

The digits are base 32, the lowest first, of the row's number times an odd constant: the first ``n`` of them differ
for any 32**n rows that follow each other, so that a short beginning is enough to name a job of a large map, and no
index on the ids is needed. The last seven are random, the same for all jobs of one claim.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from weftwork.ledger.database import marks

_DIGITS = "234567abcdefghijklmnopqrstuvwxyz"
_PAIRS = [one + other for other in _DIGITS for one in _DIGITS]
_VALUES = {text: value for value, text in enumerate(_PAIRS)} | {text: value for value, text in enumerate(_DIGITS)}

_WIDTH = 7
_SPACE = 1 << 5 * _WIDTH
_FACTOR = 0x2545F4915
_INVERSE = pow(_FACTOR, -1, _SPACE)


def new(first: int, count: int) -> list[str]:
    """The ids of rows that follow each other."""
    tail = _text(int.from_bytes(os.urandom(5), "big") % _SPACE)
    if first + count > _SPACE:
        raise OverflowError(f"a ledger numbers {_SPACE:,} jobs at most")
    spread = [number * _FACTOR % _SPACE for number in range(first, first + count)]
    pairs, digits = _PAIRS, _DIGITS
    return [
        f"j{pairs[at & 1023]}{pairs[at >> 10 & 1023]}{pairs[at >> 20 & 1023]}{digits[at >> 30]}{tail}" for at in spread
    ]


def _text(number: int) -> str:
    return "".join(_DIGITS[number >> shift & 31] for shift in range(0, 5 * _WIDTH, 5))


def row(name: str) -> int:
    """The number of the row that a whole id is of; 0, which no row has, for what is no id. The row says the rest of it."""
    try:
        spread = _VALUES[name[1:3]] | _VALUES[name[3:5]] << 10 | _VALUES[name[5:7]] << 20 | _VALUES[name[7:8]] << 30
    except KeyError:
        return 0
    return spread * _INVERSE % _SPACE


def rows(beginning: str, last: int) -> Iterator[int]:
    """The numbers up to ``last`` of the rows whose ids may begin so, from the last one on."""
    digits = beginning[1 : 1 + _WIDTH]
    if not "j".startswith(beginning[:1]) or not set(digits) <= set(_DIGITS):
        return iter(())
    step = 1 << 5 * len(digits)
    rest = sum(_DIGITS.index(digit) << 5 * at for at, digit in enumerate(digits)) * _INVERSE % step
    return iter(range(last - (last - rest) % step, 0, -step))


def among(names: Sequence[str]) -> tuple[str, list[object]]:
    """A condition on the table ``job``, with its parameters: that it is one of these."""
    return f"job.id IN ({marks(len(names))}) AND job.name IN ({marks(len(names))})", [*map(row, names), *names]


def of(names: Sequence[str]) -> list[tuple[int, str]]:
    """Ids with their rows, for a look-up of many."""
    return [(row(name), name) for name in names]

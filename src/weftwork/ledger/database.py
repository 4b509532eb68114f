"""The small interface to a database that the ledger's SQL is written against, and helpers for statements on many rows.

SQL is text in the subset that SQLite (from 3.35) and PostgreSQL share, with ``?`` for a parameter; what they
say differently is a member of :class:`Dialect`. A statement takes many rows at once, and a look-up gives one
row with everything in it: sqlite3 gives up the interpreter's lock at every row, so that a busy thread beside
it would slow a row-by-row loop a hundredfold.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any, Protocol

CHUNK = 512
"""Rows a statement: no database's limit on parameters is near, and larger chunks gain nothing."""

Row = Sequence[Any]


class Transaction(Protocol):
    """An open transaction, or a consistent view for reading."""

    clock: str
    """An SQL expression: seconds since 1970 by the database's clock."""

    def run(self, sql: str, parameters: Row = ()) -> int:
        """How many rows it changed."""
        ...

    def one(self, sql: str, parameters: Row = ()) -> Any:
        """The first row, or ``None``."""
        ...

    def all(self, sql: str, parameters: Row = ()) -> list[Any]: ...

    def part(self) -> AbstractContextManager[None]:
        """A part of a transaction that is undone by itself when the block raises."""
        ...

    def joined(self, expression: str) -> str:
        """An SQL aggregate: the texts of an expression, joined by commas."""
        ...


class Database(Protocol):
    """Connections to one database. Safe to use from many threads."""

    one_host: bool
    """Whether only one host at a time may own jobs here."""

    def write(self) -> AbstractContextManager[Transaction]:
        """A transaction. There is one writer at a time in all processes; it is durable when the block ends well."""
        ...

    def read(self) -> AbstractContextManager[Transaction]:
        """A consistent view, which waits for no writer."""
        ...

    def look(self) -> AbstractContextManager[Transaction]:
        """As ``read``, for statements that each stand alone: it costs less where threads are busy."""
        ...

    def version(self) -> int: ...

    def close(self) -> None: ...


def chunks(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Rows by powers of two: so there are few different statements, and drivers keep them prepared."""
    start = 0
    while start < len(rows):
        count = min(CHUNK, 1 << ((len(rows) - start).bit_length() - 1))
        yield rows if count == len(rows) else rows[start : start + count]
        start += count


@lru_cache(maxsize=1000)
def marks(count: int) -> str:
    """``?,?,?`` for a list of values."""
    return ",".join(["?"] * count)


@lru_cache(maxsize=1000)
def _rows(columns: int, count: int) -> str:
    return ",".join([f"({marks(columns)})"] * count)


def values(rows: Sequence[Row]) -> tuple[str, list[Any]]:
    """``(?,?),(?,?)`` and the parameters, for ``VALUES``."""
    return _rows(len(rows[0]), len(rows)), list(itertools.chain.from_iterable(rows))


def insert(tx: Transaction, into: str, rows: Sequence[Row], after: str = "") -> None:
    """``INSERT INTO into VALUES rows after``, in chunks."""
    for chunk in chunks(rows):
        text, parameters = values(chunk)
        tx.run(f"INSERT INTO {into} VALUES {text} {after}", parameters)


def gather(tx: Transaction, expression: str, rest: str, wanted: Sequence[Row], parameters: Row = ()) -> list[Any]:
    """A look-up of many: ``SELECT`` the JSON text ``expression`` of all rows, parsed.

    ``rest`` is the statement from behind the ``wanted`` rows on, which it finds as ``column1, column2, …``; its own
    ``parameters`` come after them. What is wanted twice comes twice.
    """
    found: list[Any] = []
    for chunk in chunks(wanted):
        text, cells = values(chunk)
        # CROSS: SQLite then takes the tables in this order, and needs no list of its own of what is wanted.
        sql = f"SELECT {tx.joined(expression)} FROM (VALUES {text}) AS wanted CROSS JOIN {rest}"
        joined = tx.one(sql, [*cells, *parameters])[0]
        if joined:
            found.extend(json.loads(f"[{joined}]"))
    return found


def next_id(tx: Transaction, table: str) -> int:
    """The first free number of a table. There is one writer at a time, hence no two get the same."""
    return int(tx.one(f"SELECT coalesce(max(id), 0) + 1 FROM {table}")[0])

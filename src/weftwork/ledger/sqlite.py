"""The ledger in one SQLite file: what SQLite says in its own way. How the file is opened is in :mod:`weftwork.sqlite`.

On a network file system one host at a time owns jobs.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from weftwork import sqlite
from weftwork.ledger import owners, schema
from weftwork.ledger.database import Row
from weftwork.ledger.sql import SqlLedger
from weftwork.ports import Owner


class SqliteLedger(SqlLedger):
    """The ledger of a home: the file at ``path``, made if it is not there.

    ``alive`` says whether an owner's process lives, or ``None`` where this host cannot know. ``network``, and what is
    raised, as :class:`weftwork.sqlite.Database` has it.
    """

    def __init__(
        self, path: Path, *, network: bool | None = None, alive: Callable[[Owner], bool | None] = owners.alive
    ) -> None:
        super().__init__(SqliteDatabase(path, network=network), alive)
        self.path = path


class _Transaction:
    """Statements on one connection."""

    clock = "((julianday('now') - 2440587.5) * 86400.0)"

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def run(self, sql: str, parameters: Row = ()) -> int:
        return self._connection.execute(sql, parameters).rowcount

    def one(self, sql: str, parameters: Row = ()) -> Any:
        return self._connection.execute(sql, parameters).fetchone()

    def all(self, sql: str, parameters: Row = ()) -> list[Any]:
        return self._connection.execute(sql, parameters).fetchall()

    @contextlib.contextmanager
    def part(self) -> Iterator[None]:
        self._connection.execute("SAVEPOINT part")
        try:
            yield
        except BaseException:
            # A full disk has rolled back everything already.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK TO part")
                self._connection.execute("RELEASE part")
            raise
        self._connection.execute("RELEASE part")

    def joined(self, expression: str) -> str:
        return f"group_concat({expression})"


class SqliteDatabase:
    """Transactions on one file."""

    def __init__(self, path: Path, *, network: bool | None = None) -> None:
        self.file = sqlite.Database(path, _LAYOUT, network=network)
        self.one_host = self.file.network

    @contextlib.contextmanager
    def write(self) -> Iterator[_Transaction]:
        with self.file.write() as connection:
            yield _Transaction(connection)

    @contextlib.contextmanager
    def look(self) -> Iterator[_Transaction]:
        with self.file.look() as connection:
            yield _Transaction(connection)

    @contextlib.contextmanager
    def read(self) -> Iterator[_Transaction]:
        with self.file.read() as connection:
            yield _Transaction(connection)

    def version(self) -> int:
        return self.file.version()

    def close(self) -> None:
        self.file.close()


def _migrate(connection: sqlite3.Connection, found: int) -> None:
    schema.migrate(_Transaction(connection), found)


_LAYOUT = sqlite.Layout(
    0x77656674, schema.VERSION, _migrate, "SELECT needs FROM migration ORDER BY version DESC LIMIT 1"
)

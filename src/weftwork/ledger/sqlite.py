"""The ledger in one SQLite file: connections, threads, pragmas, and what SQLite's errors mean to a person.

One connection writes, under a lock of this process and ``BEGIN IMMEDIATE`` among processes (a plain ``BEGIN`` with a
look-up before the first write fails under contention instead of waiting). Readers have connections of their own, and
in write-ahead mode never wait. On a network file system there is no write-ahead mode, which needs shared memory:
a rollback journal takes its place, readers may wait, and one host at a time owns jobs.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from weftwork.errors import Conflict, Corrupt, Refused, Unavailable, WeftError
from weftwork.ledger import owners, schema
from weftwork.ledger.database import Row
from weftwork.ledger.sql import SqlLedger
from weftwork.ports import Owner

APPLICATION = 0x77656674
"""``weft`` in the file's header: no other program's database is taken for a ledger."""

BUSY = 60.0
"""Seconds to wait for another process's transaction; one lasts milliseconds."""


class SqliteLedger(SqlLedger):
    """The ledger of a home: the file at ``path``, made if it is not there.

    ``network``: the file is on a network file system. ``alive`` says whether an owner's process lives, or ``None``
    where this host cannot know.

    Raises :class:`~weftwork.errors.Conflict` for a newer ledger or another program's database,
    :class:`~weftwork.errors.Corrupt` for a file that is no database, :class:`~weftwork.errors.Unavailable` where
    it cannot be opened or written.
    """

    def __init__(
        self, path: Path, *, network: bool = False, alive: Callable[[Owner], bool | None] = owners.alive
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

    def joined(self, expression: str) -> str:
        return f"group_concat({expression})"


class SqliteDatabase:
    """Connections to one file."""

    def __init__(self, path: Path, *, network: bool = False) -> None:
        self.path = path
        self.one_host = network
        self._network = network
        self._writing = threading.Lock()
        self._readers: list[sqlite3.Connection] = []
        self._watching = threading.Lock()
        self._closed = False
        with self._translated():
            self._writer = self._connect()
            try:
                self._prepare()
                self._watcher = self._connect()
            except BaseException:
                self._writer.close()
                raise

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=BUSY, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -64000")
        connection.execute("PRAGMA wal_autocheckpoint = 20000")
        return connection

    def _prepare(self) -> None:
        """Make or check the tables. A newer ledger is not touched, and of fifty processes at once one makes them."""
        self._check()
        self._set_journal("delete" if self._network else "wal")
        if self._found()[0] == schema.VERSION:
            return
        with self.write() as tx:
            # Asked again: another process may have been faster.
            found, _ = self._check()
            if found < schema.VERSION:
                schema.migrate(tx, found)
                tx.run(f"PRAGMA application_id = {APPLICATION}")

    def _found(self) -> tuple[int, str]:
        """The schema's number, 0 for an empty file, and the release of Weftwork that it needs."""
        one = self._writer.execute(
            "SELECT count(*), coalesce(sum(name = 'migration'), 0) FROM sqlite_master"
        ).fetchone()
        if one[1]:
            found = self._writer.execute(
                "SELECT version, needs FROM migration ORDER BY version DESC LIMIT 1"
            ).fetchone()
            return (0, "") if found is None else (found[0], found[1])
        return (0, "") if not one[0] else (-1, "")

    def _check(self) -> tuple[int, str]:
        application = self._writer.execute("PRAGMA application_id").fetchone()[0]
        found, needs = self._found()
        if found < 0 or application not in (0, APPLICATION):
            raise Conflict(f"{self.path} is the database of another program; give another home, or move that file away")
        schema.check(found, needs, str(self.path))
        return found, needs

    def _set_journal(self, mode: str) -> None:
        """Switching the journal does not wait for others by itself: it is tried until it may."""
        until = time.monotonic() + BUSY
        while True:
            try:
                if self._writer.execute("PRAGMA journal_mode").fetchone()[0] == mode:
                    return
                if self._writer.execute(f"PRAGMA journal_mode = {mode}").fetchone()[0] == mode:
                    return
            except sqlite3.OperationalError as error:
                if not _busy(error) or time.monotonic() > until:
                    raise
            if time.monotonic() > until:
                raise Unavailable(f"{self.path} cannot be set to journal mode {mode}: end the processes that use it")
            time.sleep(0.005)

    @contextlib.contextmanager
    def write(self) -> Iterator[_Transaction]:
        with self._writing, self._translated():
            self._open()
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield _Transaction(self._writer)
                self._writer.execute("COMMIT")
            except BaseException:
                # A full disk has rolled back already.
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def read(self) -> Iterator[_Transaction]:
        with self._translated():
            self._open()
            try:
                connection = self._readers.pop()
            except IndexError:
                connection = self._connect()
            try:
                connection.execute("BEGIN")
                yield _Transaction(connection)
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                self._readers.append(connection)
                if self._closed:
                    self._close_readers()

    def version(self) -> int:
        """Changes when a connection other than the watcher has written, this ledger's own writer included."""
        with self._watching, self._translated():
            self._open()
            return int(self._watcher.execute("PRAGMA data_version").fetchone()[0])

    def _open(self) -> None:
        if self._closed:
            raise Refused(f"the ledger {self.path} is closed: open it again to use it")

    def close(self) -> None:
        """Idempotent; waits for a transaction that is under way."""
        with self._writing, self._watching:
            if self._closed:
                return
            self._closed = True
            self._close_readers()
            self._watcher.close()
            self._writer.close()

    def _close_readers(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self._readers.pop().close()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _translate(error, self.path) from error


def _primary(error: sqlite3.Error) -> int:
    return (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF


def _busy(error: sqlite3.Error) -> bool:
    return _primary(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


_STEPS = {
    sqlite3.SQLITE_FULL: "the disk is full: free some space, then go on; nothing that was told is lost",
    sqlite3.SQLITE_READONLY: "it cannot be written: give the file and its folder write permission, or use another home",
    sqlite3.SQLITE_PERM: "it cannot be written: give the file and its folder write permission, or use another home",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: check that its folder is there and may be written",
    sqlite3.SQLITE_IOERR: "reading or writing it failed: check the disk and the space on it",
    sqlite3.SQLITE_BUSY: f"another process has kept it locked for {BUSY:.0f} seconds: look for one that is stopped",
    sqlite3.SQLITE_LOCKED: f"another process has kept it locked for {BUSY:.0f} seconds: look for one that is stopped",
}


def _translate(error: sqlite3.Error, path: Path) -> WeftError:
    code = _primary(error)
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return Corrupt(
            f"the ledger {path} is damaged or no database ({error}): restore it from a copy, or move it away to begin "
            "with an empty one; the store's bytes do not depend on it",
            path=str(path),
        )
    step = _STEPS.get(code, "this is a fault of Weftwork: please report it")
    return Unavailable(f"the ledger {path}: {step} ({error})", path=str(path))

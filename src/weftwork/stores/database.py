"""Connections to one SQLite file that many threads and processes use at once: one that writes, a pool that reads.

Owns how the file is opened (journal, durability, waiting for locks) and how its errors are told; not what is in it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from weftwork.errors import Invalid, Refused
from weftwork.stores import filesystem

BUSY = 60.0
"""Seconds to wait for another process's lock."""

_abandoned: list[sqlite3.Connection] = []
"""Connections inherited through a fork: to use or to close them could harm the parent's."""


class Database:
    """A SQLite file: ``write()`` gives the one connection that writes, in a transaction; ``read()`` one of a pool.

    ``network`` turns WAL off: its shared memory does not span hosts. ``synchronous`` is SQLite's: ``FULL`` makes a
    transaction that returned durable. Safe to use from many threads; after a fork it opens connections of its own.
    """

    def __init__(self, path: Path, schema: str, version: int, *, network: bool, synchronous: str = "FULL") -> None:
        self.path = path
        self._network = network
        self._synchronous = synchronous
        self._reset()
        with self._told():
            self._create(schema, version)

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._readers: list[sqlite3.Connection] = []
        self._closed = False

    def _check_fork(self) -> None:
        if self._pid != os.getpid():
            _abandoned.extend([*self._readers, *([self._writer] if self._writer else [])])
            self._reset()

    def _told(self) -> contextlib.AbstractContextManager[None]:
        return filesystem.translated(self.path)

    def _connect(self, cache: int = 65536) -> sqlite3.Connection:
        # Autocommit: transactions are begun here, never by the driver. Threads take turns by our own locks.
        connection = sqlite3.connect(self.path, timeout=BUSY, isolation_level=None, check_same_thread=False)
        for pragma in (f"synchronous={self._synchronous}", f"cache_size=-{cache}", "wal_autocheckpoint=20000"):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def _create(self, schema: str, version: int) -> None:
        fresh = not self.path.exists()
        connection = self._connect()
        self._writer = connection
        found: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if found > version:
            raise Refused(
                f"{self.path} was written by a newer Weftwork (layout {found}, this one knows {version}); "
                "upgrade this one, or choose another home with WEFT_HOME",
                path=str(self.path),
            )
        self._set_journal(connection)
        if found < version:
            with self.write() as writing:
                if writing.execute("PRAGMA user_version").fetchone()[0] < version:
                    for statement in filter(str.strip, schema.split(";")):
                        writing.execute(statement)
                    writing.execute(f"PRAGMA user_version={version}")
        if fresh:
            filesystem.sync_directory(self.path.parent)

    def _set_journal(self, connection: sqlite3.Connection) -> None:
        """WAL here, a rollback journal on a network. SQLite does not wait for the lock that a change needs: we do."""
        wanted = "delete" if self._network else "wal"
        deadline = time.monotonic() + BUSY
        while connection.execute("PRAGMA journal_mode").fetchone()[0] != wanted:
            try:
                if connection.execute(f"PRAGMA journal_mode={wanted}").fetchone()[0] == wanted:
                    return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                    raise
            if time.monotonic() > deadline:
                # Somebody keeps it open in the other mode: both are correct, WAL is only faster.
                return
            time.sleep(0.01)

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction: durable when the block ends, undone when it raises."""
        self._check_fork()
        with self._told(), self._lock:
            self._check_open()
            if self._writer is None:
                self._writer = self._connect()
            connection = self._writer
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    with contextlib.suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection of this thread's own for as long as the block lasts; never waits for the writer."""
        self._check_fork()
        with self._told():
            self._check_open()
            try:
                connection = self._readers.pop()
            except IndexError:
                connection = self._connect(cache=8192)
            try:
                yield connection
            finally:
                if self._closed:
                    connection.close()
                else:
                    self._readers.append(connection)

    def _check_open(self) -> None:
        if self._closed:
            raise Invalid(f"{self.path} was closed before; open it again")

    def close(self) -> None:
        self._check_fork()
        with self._lock:
            self._closed = True
            connections = [*self._readers, *([self._writer] if self._writer else [])]
            self._readers, self._writer = [], None
        for connection in connections:
            connection.close()

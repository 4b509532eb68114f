"""Connections to one SQLite file that many threads and processes use at once: one that writes, a pool that reads.

Owns how a file is made and opened (versions, journal, durability, waiting for locks) and how SQLite's errors are told;
not what is in it. The rules, the same for every file of a home:

- One connection writes, under a lock of this process and ``BEGIN IMMEDIATE`` among processes: a plain ``BEGIN`` with a
  look-up before the first write fails under contention instead of waiting. Readers have connections of their own.
- Write-ahead mode, in which readers never wait; on a network file system, which lacks the shared memory that it
  needs, a rollback journal takes its place.
- ``PRAGMA user_version`` is the layout's number: opening what is up to date writes nothing, what a newer Weftwork wrote
  is not touched, and of fifty processes that come at once one makes the tables.
- A process that was forked opens connections of its own.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from weftwork import disk
from weftwork.errors import Conflict, Corrupt, Invalid, Unavailable, WeftError

BUSY = 60.0
"""Seconds to wait for another process's transaction; one lasts milliseconds."""

_WRITER_CACHE, _READER_CACHE = 16_000, 8_000
"""KiB of pages that a connection keeps at most. More saves little, since the system has them too, and is memory of the user's process."""

_VACUUMED = 4000
"""Pages given back in one transaction: 16 MiB, a few milliseconds."""

_abandoned: list[sqlite3.Connection] = []
"""Connections inherited through a fork: to use or to close them could harm the parent's."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What is in a file: ``application`` marks it in the header, so that no other program's database is taken for it.

    ``migrate(connection, found)`` brings the tables from version ``found`` (0: an empty file) to ``version``, in a
    transaction that is open. ``needs`` is a query for the release of Weftwork that a newer file needs. ``shrinks``: rows
    are removed from it in great number, so that :meth:`Database.compact` must be able to give pages back.
    """

    application: int
    version: int
    migrate: Callable[[sqlite3.Connection, int], None]
    needs: str | None = None
    shrinks: bool = False


class Database:
    """A SQLite file: ``write()`` is a transaction, ``read()`` a consistent view. Safe to use from many threads.

    ``network`` says whether the file is on a network file system; by default it is found out. ``synchronous`` is
    SQLite's: ``FULL`` makes a transaction that returned durable.

    Raises :class:`~weftwork.errors.Conflict` for a newer layout or another program's database,
    :class:`~weftwork.errors.Corrupt` for a damaged file, :class:`~weftwork.errors.Unavailable` where it cannot be
    opened, read or written, :class:`~weftwork.errors.Invalid` after ``close()``.
    """

    def __init__(self, path: Path, layout: Layout, *, network: bool | None = None, synchronous: str = "FULL") -> None:
        self.path = path
        self.network = disk.is_network(path.parent) if network is None else network
        self._layout = layout
        self._synchronous = synchronous
        self._reset()
        with self._told():
            try:
                self._prepare()
            except BaseException:
                self.close()
                raise

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._writing = threading.Lock()
        self._watching = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._watcher: sqlite3.Connection | None = None
        self._readers: list[sqlite3.Connection] = []
        self._closed = False

    def _check(self) -> None:
        if self._pid != os.getpid():
            _abandoned.extend(each for each in (*self._readers, self._writer, self._watcher) if each)
            self._reset()
        if self._closed:
            raise Invalid(f"{self.path} was closed before; open it again to use it")

    def _connect(self, cache: int) -> sqlite3.Connection:
        # Autocommit: transactions are begun here, never by the driver. Threads take turns by our own locks.
        connection = sqlite3.connect(
            self.path, timeout=BUSY, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        settings = {"synchronous": self._synchronous, "cache_size": -cache, "wal_autocheckpoint": 20000}
        # Statements that write many rows keep what they would undo in a temporary file: here in memory.
        for name, value in {**settings, "temp_store": "MEMORY"}.items():
            connection.execute(f"PRAGMA {name}={value}")
        return connection

    def _prepare(self) -> None:
        """Make or check the tables. A newer file is not touched, and of fifty processes at once one makes them."""
        fresh = not self.path.exists()
        connection = self._writer = self._connect(_WRITER_CACHE)
        found = self._found(connection)
        if found == 0 and self._layout.shrinks:
            # Before there is a table; later it would take a copy of the whole file.
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        self._set_journal(connection, "delete" if self.network else "wal")
        if found == self._layout.version:
            return
        with self.write():
            # Asked again: another process may have been faster.
            found = self._found(connection)
            if found < self._layout.version:
                self._layout.migrate(connection, found)
                connection.execute(f"PRAGMA application_id={self._layout.application}")
                connection.execute(f"PRAGMA user_version={self._layout.version}")
        if fresh:
            disk.sync_directory(self.path.parent)

    def _found(self, connection: sqlite3.Connection) -> int:
        """The number of the layout that is there, 0 for an empty file."""
        known = self._layout.version
        found: int = connection.execute("PRAGMA user_version").fetchone()[0]
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        foreign = application not in (0, self._layout.application)
        if foreign or (found == 0 and connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()):
            raise Conflict(f"{self.path} is the database of another program; give another home, or move that file away")
        if found > known:
            query = self._layout.needs
            needs = connection.execute(query).fetchone()[0] if query else None
            raise Conflict(
                f"{self.path} was written by a newer Weftwork (its layout has number {found}, this Weftwork knows up to "
                f"{known}): install {f'weftwork {needs} or later' if needs else 'a newer one'}, or choose another home "
                "with WEFT_HOME; nothing was changed",
                found=found,
                known=known,
                needs=needs,
            )
        return found

    def _set_journal(self, connection: sqlite3.Connection, mode: str) -> None:
        """SQLite does not wait for the lock that a change of the journal needs: we do."""
        until = time.monotonic() + BUSY
        while connection.execute("PRAGMA journal_mode").fetchone()[0] != mode:
            try:
                if connection.execute(f"PRAGMA journal_mode={mode}").fetchone()[0] == mode:
                    return
            except sqlite3.OperationalError as error:
                if _primary(error) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                    raise
            if time.monotonic() > until:
                raise Unavailable(f"{self.path} cannot be set to journal mode {mode}: end the processes that use it")
            time.sleep(0.005)

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction, the only one in all processes: durable when the block ends, undone when it raises."""
        self._check()
        with self._told(), self._writing:
            self._check()
            connection = self._writer = self._writer or self._connect(_WRITER_CACHE)
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # A full disk has rolled back already.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A consistent view, on a connection of this block's own; in write-ahead mode it waits for no writer."""
        with self.look() as connection:
            try:
                connection.execute("BEGIN")
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def look(self) -> Iterator[sqlite3.Connection]:
        """As ``read()`` for look-ups that each stand alone: every statement sees what is there when it begins.

        A statement gives up the interpreter's lock, and under busy threads gets it back late: beginning and ending a
        view would cost thrice what is asked for.
        """
        self._check()
        with self._told():
            try:
                connection = self._readers.pop()
            except IndexError:
                connection = self._connect(_READER_CACHE)
            try:
                yield connection
            finally:
                self._readers.append(connection)
                if self._closed:
                    self._close_readers()

    def compact(self) -> None:
        """Give unused pages back to the disk, some at a time: others write in between."""
        while True:
            with self.write() as connection:
                before = connection.execute("PRAGMA freelist_count").fetchone()[0]
                connection.execute(f"PRAGMA incremental_vacuum({_VACUUMED})").fetchall()
                left = connection.execute("PRAGMA freelist_count").fetchone()[0]
            if not left or left == before:
                break
        with self._told(), self._writing:
            self._check()
            connection = self._writer = self._writer or self._connect(_WRITER_CACHE)
            # The file itself shrinks when the journal is written back to it. Where readers are in the way, it does later.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def version(self) -> int:
        """Changes when any other connection has written, those of this object included. Cheap, for polling."""
        self._check()
        with self._told(), self._watching:
            self._check()
            self._watcher = self._watcher or self._connect(_READER_CACHE)
            return int(self._watcher.execute("PRAGMA data_version").fetchone()[0])

    def close(self) -> None:
        """Idempotent; waits for a transaction that is under way."""
        if self._pid != os.getpid():
            self._reset()
        with self._writing, self._watching:
            self._closed = True
            self._close_readers()
            for connection in (self._watcher, self._writer):
                if connection is not None:
                    connection.close()
            self._watcher = self._writer = None

    def _close_readers(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self._readers.pop().close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise told(error, self.path) from error


def _primary(error: sqlite3.Error) -> int:
    # The low byte is the primary code; the rest only refines it.
    return (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF


def told(error: sqlite3.Error, path: Path) -> WeftError:
    """An error of SQLite as one of ours, with the file and the next step."""
    code = _primary(error)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return Corrupt(
            f"{path} is damaged or no database ({error}): restore it from a copy, or move it away to begin with an empty "
            f"one: results are then made again when they are needed, inputs are to be given again (`sqlite3 {path} .recover` shows what can be saved)",
            path=str(path),
        )
    # A disk that fills under memory-mapped or written pages is told as an I/O error.
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and disk.free_bytes(path) < 1 << 20):
        return disk.full(path)
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return disk.denied(str(path), error)
    return Unavailable(
        f"{path}: {_STEPS.get(code, 'this is a fault of Weftwork: please report it')} ({error})", path=str(path)
    )


_LOCKED = f"another process has kept it locked for {BUSY:.0f} seconds: look for one that is stopped, with `lsof`"
_STEPS = {
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: check that its folder is there and that this user may write to it",
    sqlite3.SQLITE_IOERR: "reading or writing it failed: check the disk and the space on it",
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
}

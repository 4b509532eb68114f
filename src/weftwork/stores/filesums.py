"""Checksums of files on disk, remembered by (device, inode, size, mtime, ctime).

Only a cache, of this process and behind it of all: where its SQLite file cannot be used, files are hashed once a process. A checksum is remembered only when
nothing can have changed the file since without a trace in its times, see :data:`SETTLED`.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import sqlite3
import stat
import time
from collections.abc import Sequence
from pathlib import Path

from weftwork import disk
from weftwork.core.checksum import Checksum
from weftwork.errors import Corrupt, Invalid, NotFound, StagingFailed, WeftError
from weftwork.sqlite import Database, Layout
from weftwork.stores.listing import listing

SETTLED = 2.0
"""Seconds since a file's last change before its checksum is remembered: the coarsest clock of a local file system (FAT)."""

SETTLED_NETWORK = 120.0
"""The same on a network file system, where times are the server's and attributes may be a minute old."""

_SCHEMA = """
CREATE TABLE file (
    device INTEGER NOT NULL, inode INTEGER NOT NULL,
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL, checksum TEXT NOT NULL,
    PRIMARY KEY (device, inode)
) WITHOUT ROWID
"""
_FIND = """
SELECT json_group_array(json_array(key, checksum)) FROM (
    SELECT wanted.key AS key, file.checksum AS checksum FROM json_each(?) AS wanted JOIN file
    ON device = json_extract(wanted.value, '$[0]') AND inode = json_extract(wanted.value, '$[1]')
    AND size = json_extract(wanted.value, '$[2]') AND mtime_ns = json_extract(wanted.value, '$[3]')
    AND ctime_ns = json_extract(wanted.value, '$[4]'))
"""
_EMPTY = Checksum.of(b"")
_TRIES = 3
_SMALL = 64 * 1024
"""Bytes up to which a file is read in one piece, and hashing it takes less than giving it to a thread."""
_TOGETHER = 32
_AT_ONCE = 500e-6
"""Small files that are hashed before a look at the clock; seconds that each may take while they come from memory."""
_HELD = 16384
"""Checksums that a process holds at most, beside those in the file."""

Stat = tuple[int, int, int, int, int]


class FileSums:
    """Checksums of files, cached in the SQLite file at ``path``. Safe to use from many threads and processes at once."""

    def __init__(self, path: Path) -> None:
        self._database: Database | None = None
        self._held: dict[Stat, Checksum] = {}
        # Without its file the cache is empty, which is always right.
        with contextlib.suppress(WeftError, OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._database = _database(path)
            except Corrupt:
                for suffix in ("-wal", "-shm", "-journal", ""):
                    Path(f"{path}{suffix}").unlink(missing_ok=True)
                self._database = _database(path)

    def checksum(self, path: Path) -> tuple[Checksum, int]:
        """The checksum and size of a file. Raises NotFound, Invalid for what is no regular file, StagingFailed for one
        that changes all the time."""
        return self.checksums([path])[0]

    def checksums(self, paths: Sequence[str | Path]) -> list[tuple[Checksum, int]]:
        """The checksum and size of each file, in order; those not known are hashed on threads, one a core."""
        return self._checksums(paths, [_stat(path) for path in paths])

    def directory(self, path: Path) -> list[tuple[str, bool, Checksum, str]]:
        """The files of a directory, sorted: relative path, executable, checksum, absolute path. Raises as
        :func:`~weftwork.stores.listing.listing` and :meth:`checksum`."""
        found = listing(path)
        paths = [each.path for each in found]
        # Beside NFS, what listing saw of a file is what opening it would show.
        network = _Network()
        stats = [_stat(each.path) if network(it := _of(each.stat), each.path) else it for each in found]
        sums = self._checksums(paths, stats)
        return [
            (each.name, each.executable, checksum, each.path) for each, (checksum, _) in zip(found, sums, strict=True)
        ]

    def _checksums(self, paths: Sequence[str | Path], stats: list[Stat]) -> list[tuple[Checksum, int]]:
        known = self._find(stats)
        unknown = [index for index in range(len(paths)) if index not in known] if known else range(len(paths))
        new: dict[Stat, Checksum] = {}
        settled = _Settled()
        out = [(known.get(index, _EMPTY), each[2]) for index, each in enumerate(stats)]
        hashed = _hashed([paths[index] for index in unknown], [stats[index][2] for index in unknown])
        for index, (checksum, found) in zip(unknown, hashed, strict=True):
            out[index] = (checksum, found[2])
            if settled(found, paths[index]):
                new[found] = checksum
        self._keep(new)
        return out

    def _find(self, stats: list[Stat]) -> dict[int, Checksum]:
        held = self._held
        found = {index: held[each] for index, each in enumerate(stats) if each in held}
        rest = [index for index in range(len(stats)) if index not in found] if found else range(len(stats))
        if self._database is None or not rest:
            return found
        try:
            with self._database.read() as connection:
                wanted = json.dumps([stats[index] for index in rest])
                text = connection.execute(_FIND, (wanted,)).fetchone()[0]
        except WeftError:
            return found
        read = {rest[int(key)]: Checksum(checksum) for key, checksum in json.loads(text)}
        self._hold({stats[index]: checksum for index, checksum in read.items()})
        return found | read

    def _hold(self, new: dict[Stat, Checksum]) -> None:
        if len(self._held) + len(new) > _HELD:
            # Another, not emptied: threads look things up in it meanwhile.
            self._held = {}
        self._held.update(itertools.islice(new.items(), _HELD))

    def _keep(self, new: dict[Stat, Checksum]) -> None:
        if not new:
            return
        self._hold(new)
        if self._database is None:
            return
        with contextlib.suppress(WeftError), self._database.write() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?, ?, ?)",
                [(*each, str(checksum)) for each, checksum in new.items()],
            )

    def close(self) -> None:
        if self._database is not None:
            self._database.close()


def _database(path: Path) -> Database:
    # A checksum that a crash loses is worked out again.
    return Database(path, _LAYOUT, synchronous="NORMAL")


def _make(connection: sqlite3.Connection, _: int) -> None:
    connection.execute(_SCHEMA)


_LAYOUT = Layout(0x77656673, 1, _make)


def _signed(number: int) -> int:
    """Inode and device numbers have 64 bits without a sign, SQLite's integers have one."""
    return number - (1 << 64) if number >= 1 << 63 else number


def _of(it: os.stat_result) -> Stat:
    return (_signed(it.st_dev), _signed(it.st_ino), it.st_size, it.st_mtime_ns, it.st_ctime_ns)


def _stat(path: str | Path) -> Stat:
    # Opened first: on NFS only opening a file asks the server how it stands.
    descriptor = _open(path)
    try:
        return _regular(descriptor, path)
    finally:
        os.close(descriptor)


def _open(path: str | Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"{path} is not there", path=str(path)) from None
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}", path=str(path)) from None


def _regular(descriptor: int, path: str | Path) -> Stat:
    it = os.fstat(descriptor)
    if not stat.S_ISREG(it.st_mode):
        raise Invalid(f"{path} is not a regular file", path=str(path))
    return _of(it)


def _hashed(paths: Sequence[str | Path], sizes: Sequence[int]) -> list[tuple[Checksum, Stat]]:
    """Each hashed, in order. Small files here as long as they come at once: threads would only take turns."""
    out: dict[int, tuple[Checksum, Stat]] = {}
    rest = [index for index, size in enumerate(sizes) if size > _SMALL]
    small = [index for index, size in enumerate(sizes) if size <= _SMALL]
    for start in range(0, len(small), _TOGETHER):
        begun, some = time.monotonic(), small[start : start + _TOGETHER]
        out.update((index, _hash(paths[index])) for index in some)
        if time.monotonic() - begun > _AT_ONCE * len(some):
            # They have to be fetched from a disk or a server: then many ask at once.
            rest += small[start + len(some) :]
            break
    if len(rest) > 1:
        from concurrent.futures import ThreadPoolExecutor

        # Reading and hashing give up the interpreter's lock: threads use all cores.
        with ThreadPoolExecutor(min(os.cpu_count() or 1, len(rest)), "weft-hash") as pool:
            out.update(zip(rest, pool.map(lambda index: _hash(paths[index]), rest), strict=True))
    elif rest:
        out[rest[0]] = _hash(paths[rest[0]])
    return [out[index] for index in range(len(paths))]


def _hash(path: str | Path) -> tuple[Checksum, Stat]:
    """The checksum of a file that did not change while it was read."""
    for _ in range(_TRIES):
        descriptor = _open(path)
        try:
            before = _regular(descriptor, path)
            digest = _digest(descriptor, before[2])
            if _of(os.fstat(descriptor)) == before:
                return Checksum.of_digest(digest), before
        finally:
            os.close(descriptor)
    raise StagingFailed(
        f"{path} changed each time while it was read; wait until nothing writes to it, then try again", path=str(path)
    )


def _digest(descriptor: int, size: int) -> bytes:
    if size <= _SMALL:
        data = os.read(descriptor, size + 1)
        if len(data) == size:
            return hashlib.sha256(data).digest()
        # It grew meanwhile, or came in pieces.
        os.lseek(descriptor, 0, os.SEEK_SET)
    with open(descriptor, "rb", buffering=0, closefd=False) as file:
        return hashlib.file_digest(file, "sha256").digest()


class _Network:
    """Whether a file lies on a network file system. Asks once a device."""

    def __init__(self) -> None:
        self._known: dict[int, bool] = {}

    def __call__(self, found: Stat, path: str | Path) -> bool:
        if found[0] not in self._known:
            self._known[found[0]] = disk.is_network(Path(path))
        return self._known[found[0]]


class _Settled:
    """Whether any later change of a file must show in its times."""

    def __init__(self) -> None:
        self._network = _Network()
        self._now = time.time()

    def __call__(self, found: Stat, path: str | Path) -> bool:
        age = self._now - max(found[3], found[4]) / 1e9
        if age <= SETTLED or age > SETTLED_NETWORK:
            return age > SETTLED
        return not self._network(found, path)

"""Checksums of files on disk, remembered by (device, inode, size, mtime, ctime); and what a directory holds.

Only a cache: where its SQLite file cannot be used, files are hashed each time. A checksum is remembered only when
nothing can have changed the file since without a trace in its times, see :data:`SETTLED`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from weftwork import disk
from weftwork.core.checksum import Checksum, shorten
from weftwork.errors import Corrupt, Invalid, NotFound, StagingFailed, WeftError
from weftwork.sqlite import Database, Layout

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
_TRIES = 3

Stat = tuple[int, int, int, int, int]


class FileSums:
    """Checksums of files, cached in the SQLite file at ``path``. Safe to use from many threads and processes at once."""

    def __init__(self, path: Path) -> None:
        self._database: Database | None = None
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

    def checksums(self, paths: Sequence[Path]) -> list[tuple[Checksum, int]]:
        """The checksum and size of each file, in order; those not known are hashed on threads, one a core."""
        stats = [_stat(path) for path in paths]
        known = self._find(stats)
        unknown = [index for index in range(len(paths)) if index not in known]
        new: dict[Stat, Checksum] = {}
        settled = _Settled()
        out = [(known.get(index, Checksum.of(b"")), each[2]) for index, each in enumerate(stats)]
        for index, (checksum, found) in zip(unknown, _hashed([paths[i] for i in unknown]), strict=True):
            out[index] = (checksum, found[2])
            if settled(found, paths[index]):
                new[found] = checksum
        self._keep(new)
        return out

    def _find(self, stats: list[Stat]) -> dict[int, Checksum]:
        if self._database is None or not stats:
            return {}
        try:
            with self._database.read() as connection:
                text = connection.execute(_FIND, (json.dumps(stats),)).fetchone()[0]
        except WeftError:
            return {}
        return {int(index): Checksum(checksum) for index, checksum in json.loads(text)}

    def _keep(self, new: dict[Stat, Checksum]) -> None:
        if self._database is None or not new:
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


def _stat(path: Path) -> Stat:
    # Opened first: on NFS only opening a file asks the server how it stands.
    with _opened(path) as descriptor:
        return _of(os.fstat(descriptor))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"{path} is not there", path=str(path)) from None
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}", path=str(path)) from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Invalid(f"{path} is not a regular file", path=str(path))
        yield descriptor
    finally:
        os.close(descriptor)


def _hashed(paths: Sequence[Path]) -> Iterator[tuple[Checksum, Stat]]:
    if len(paths) < 2:
        return map(_hash, paths)
    from concurrent.futures import ThreadPoolExecutor

    # Hashing gives up the interpreter's lock: threads use all cores.
    with ThreadPoolExecutor(min(os.cpu_count() or 1, len(paths)), "weft-hash") as pool:
        return iter(list(pool.map(_hash, paths)))


def _hash(path: Path) -> tuple[Checksum, Stat]:
    """The checksum of a file that did not change while it was read."""
    for _ in range(_TRIES):
        with _opened(path) as descriptor, open(descriptor, "rb", buffering=0, closefd=False) as file:
            before = _of(os.fstat(descriptor))
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            if _of(os.fstat(descriptor)) == before:
                return Checksum(digest), before
    raise StagingFailed(
        f"{path} changed each time while it was read; wait until nothing writes to it, then try again", path=str(path)
    )


class _Settled:
    """Whether any later change of a file must show in its times. Asks once a device what file system it is."""

    def __init__(self) -> None:
        self._network: dict[int, bool] = {}

    def __call__(self, found: Stat, path: Path) -> bool:
        age = time.time() - max(found[3], found[4]) / 1e9
        if age <= SETTLED or age > SETTLED_NETWORK:
            return age > SETTLED
        if found[0] not in self._network:
            self._network[found[0]] = disk.is_network(path)
        return not self._network[found[0]]


def directory_entries(path: Path) -> list[tuple[str, bool, Path]]:
    """The files of a directory, sorted by relative path: that path, whether it is executable, the absolute path.

    Links are followed where they stay inside; folders without files do not count. Raises
    :class:`~weftwork.errors.Invalid`, naming it, for a link that leaves, is broken or leads back to itself, for
    sockets, pipes and devices, and for a name that is not UTF-8.
    """
    path = Path(path)
    if not path.exists():
        raise NotFound(f"{path} is not there", path=str(path))
    if not path.is_dir():
        raise Invalid(f"{path} is not a directory", path=str(path))
    top = os.path.realpath(path)
    return sorted(_walk(top, top, "", (top,)))


def _walk(top: str, folder: str, prefix: str, above: tuple[str, ...]) -> Iterator[tuple[str, bool, Path]]:
    try:
        entries = sorted(os.listdir(folder))
    except OSError as error:
        raise Invalid(f"{folder} cannot be read: {error.strerror}", path=folder) from None
    for name in entries:
        place, relative = os.path.join(folder, name), prefix + name
        try:
            relative.encode("utf-8")
        except UnicodeEncodeError:
            raise Invalid(f"{shorten(place, 200)}: the name is not UTF-8; rename it", path=ascii(place)) from None
        real = _inside(top, place, relative)
        mode = os.stat(real).st_mode
        if stat.S_ISDIR(mode):
            if real in above:
                raise Invalid(f"{place} is a link to a folder that it lies in", path=place)
            yield from _walk(top, real, relative + "/", (*above, real))
        elif stat.S_ISREG(mode):
            yield relative, bool(mode & stat.S_IXUSR), Path(real)
        else:
            raise Invalid(f"{place} is neither a file nor a folder, but {_SPECIAL.get(stat.S_IFMT(mode), 'special')}")


def _inside(top: str, place: str, relative: str) -> str:
    """Where an entry really is."""
    if not os.path.islink(place):
        return place
    real = os.path.realpath(place)
    if not os.path.exists(real):
        raise Invalid(f"{place} is a broken link, to {os.readlink(place)}", path=place)
    if not real.startswith(top.rstrip("/") + "/") and real != top:
        raise Invalid(f"{place} is a link that leaves the directory, to {real}; copy the file in", path=place)
    return real


_SPECIAL = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFBLK: "a device", stat.S_IFCHR: "a device"}

"""Small buffers, packed in one SQLite file: a million small results must not be a million files.

A rowid table with an index on the first 4 bytes of the digest as an integer, the whole digest compared after: a
random 32-byte primary key doubles the cost of a million rows. Each look-up is one SQL step that returns one row for
all it found, since the driver gives up the interpreter's lock at every row.
"""

from __future__ import annotations

import itertools
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from weftwork.sqlite import Database, Layout

LIMIT = 64 * 1024
"""Bytes up to which a buffer is small."""

_SCHEMA = (
    "CREATE TABLE buffer (prefix INTEGER NOT NULL, digest BLOB NOT NULL, data BLOB NOT NULL)",
    "CREATE INDEX buffer_prefix ON buffer (prefix)",
)
_BATCH = 512
"""Buffers a statement: at most 32 MiB of small buffers in memory twice."""
_FEW = 64
"""Buffers up to which it is first looked whether they are there already, without waiting for who writes."""

# A blob taken as text keeps its bytes: so many blobs come back as one, with their lengths beside them.
_ALL = "CAST(group_concat(CAST({} AS TEXT), '') AS BLOB)"
_FIND = "SELECT {} FROM buffer WHERE prefix IN (SELECT value FROM json_each(?))"
_SIZES = _FIND.format(f"{_ALL.format('digest')}, group_concat(length(data))")
_DATA = _FIND.format(f"{_ALL.format('digest')}, group_concat(length(data)), {_ALL.format('data')}")
_PAGE = (
    f"SELECT {_ALL.format('digest')}, group_concat(size), max(id) FROM "
    "(SELECT rowid AS id, digest, length(data) AS size FROM buffer WHERE rowid > ? ORDER BY rowid LIMIT 4096)"
)


def _make(connection: sqlite3.Connection, _: int) -> None:
    for statement in _SCHEMA:
        connection.execute(statement)


_LAYOUT = Layout(0x77656662, 1, _make, shrinks=True)


class _Batch:
    """What one thread brought, and whether another's transaction has taken it along."""

    __slots__ = ("buffers", "done")

    def __init__(self, buffers: Mapping[bytes, bytes]) -> None:
        self.buffers = buffers
        self.done = False


class Packed:
    """The packed buffers of a store. A name is a raw digest here, and nothing is hashed: that is the store's business."""

    def __init__(self, path: Path, *, network: bool | None = None) -> None:
        self._database = Database(path, _LAYOUT, network=network)
        self._waiting: list[_Batch] = []
        self._turn = threading.Lock()

    def put(self, buffers: Mapping[bytes, bytes]) -> None:
        """Durable when this returns. What is there with other bytes is replaced; what is there as it is costs no write.

        Threads that put at once share a transaction: the one whose turn it is writes what all of them brought.
        """
        if len(buffers) <= _FEW and self.get(list(buffers)) == buffers:
            return
        batch = _Batch(buffers)
        self._waiting.append(batch)
        with self._turn:
            if batch.done:
                return
            batches, self._waiting = self._waiting, []
            # After a failed turn of another thread ours is no longer among those that wait.
            merged = dict(batch.buffers)
            for each in batches:
                merged.update(each.buffers)
            self._write(merged)
            for each in batches:
                each.done = True

    def _write(self, buffers: Mapping[bytes, bytes]) -> None:
        """Looked up by the connection that writes: its pages stay in memory, where a reader's go with every commit."""
        with self._database.write() as connection:
            there = _data(connection, list(buffers))
            wrong = [name for name, data in there.items() if buffers[name] != data]
            _delete(connection, wrong)
            names = [name for name in buffers if name not in there] + wrong if there else list(buffers)
            new = [(prefix, name, buffers[name]) for prefix, name in zip(_prefixes(names), names, strict=True)]
            start = 0
            while start < len(new):
                # Powers of two: few different statements, so that the driver keeps them prepared.
                count = min(_BATCH, 1 << ((len(new) - start).bit_length() - 1))
                connection.execute(_insert(count), list(itertools.chain.from_iterable(new[start : start + count])))
                start += count

    def get(self, names: Sequence[bytes]) -> dict[bytes, bytes]:
        """Those that are there."""
        with self._database.look() as connection:
            return _data(connection, names)

    def sizes(self, names: Sequence[bytes]) -> dict[bytes, int]:
        """The sizes of those that are there."""
        found: dict[bytes, int] = {}
        with self._database.look() as connection:
            for some, prefixes in _chunks(names, 4096):
                digests, sizes = connection.execute(_SIZES, (prefixes,)).fetchone()
                wanted = set(some)
                found.update((name, size) for name, size in _sized(digests, sizes) if name in wanted)
        return found

    def remove(self, names: Sequence[bytes]) -> None:
        if there := list(self.sizes(names)):
            with self._database.write() as connection:
                _delete(connection, there)

    def compact(self) -> None:
        """Give the space of removed buffers back to the disk."""
        self._database.compact()

    def names(self) -> Iterator[tuple[bytes, int]]:
        """All names with their sizes; a page at a time, so that nothing is held between two pages."""
        last = 0
        while True:
            with self._database.read() as connection:
                digests, sizes, last = connection.execute(_PAGE, (last,)).fetchone()
            if digests is None:
                return
            yield from _sized(digests, sizes)

    def close(self) -> None:
        self._database.close()


def _prefixes(names: Iterable[bytes]) -> list[int]:
    # No more bytes, since they are in an index that is written to all over: digests are random.
    return [int.from_bytes(name[:4], "big") for name in names]


def _chunks(names: Sequence[bytes], count: int) -> Iterator[tuple[Sequence[bytes], str]]:
    """Some names at a time, with their prefixes as the JSON list that a statement takes."""
    for start in range(0, len(names), count):
        some = names[start : start + count]
        yield some, str(_prefixes(some))


@cache
def _insert(count: int) -> str:
    return f"INSERT INTO buffer (prefix, digest, data) VALUES {','.join(['(?,?,?)'] * count)}"


def _sized(digests: bytes | None, sizes: str | None) -> Iterator[tuple[bytes, int]]:
    if digests is not None and sizes is not None:
        for index, size in enumerate(str(sizes).split(",")):
            yield digests[32 * index : 32 * index + 32], int(size)


def _data(connection: sqlite3.Connection, names: Sequence[bytes]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for some, prefixes in _chunks(names, _BATCH):
        digests, sizes, joined = connection.execute(_DATA, (prefixes,)).fetchone()
        if digests is not None:
            wanted, lengths = set(some), list(map(int, str(sizes).split(",")))
            found.update(
                (name, joined[end - size : end])
                for at, size, end in zip(itertools.count(0, 32), lengths, itertools.accumulate(lengths), strict=False)
                if (name := digests[at : at + 32]) in wanted
            )
    return found


def _delete(connection: sqlite3.Connection, names: Collection[bytes]) -> None:
    connection.executemany(
        "DELETE FROM buffer WHERE prefix = ? AND digest = ?", list(zip(_prefixes(names), names, strict=True))
    )

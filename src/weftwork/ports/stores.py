"""Where bytes are: the store, and the files of this machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

from weftwork.core.checksum import Checksum


class Store(Protocol):
    """Bytes, named by their checksum. Safe to use from many threads and processes at once.

    *Before a put returns* nothing of it can be seen under its name; *after* it the bytes are durable, whole, and
    seen by every process. Killed at any moment, a put leaves either the whole buffer or nothing that counts. A *get*
    verifies: bytes that do not match their name raise :class:`~weftwork.errors.Corrupt`, and a name that is not there
    raises :class:`~weftwork.errors.NotFound`. Putting what is there already changes nothing and repairs what was corrupt.
    """

    def put(self, data: bytes) -> Checksum: ...

    def put_many(self, buffers: Sequence[bytes]) -> list[Checksum]:
        """All of them, durable together, in one go."""
        ...

    def put_stream(self, chunks: Iterable[bytes], expected: Checksum | None = None) -> tuple[Checksum, int]:
        """Bytes that arrive in pieces; the checksum and size. ``expected`` that differs is Corrupt, and nothing is kept."""
        ...

    def put_file(self, path: Path, expected: Checksum | None = None, *, move: bool = False) -> tuple[Checksum, int]:
        """A file's bytes: copied (by reflink where the file system can), or moved in when the caller owns the file."""
        ...

    def put_files(self, files: Sequence[tuple[Path, Checksum]], *, move: bool = False) -> None:
        """Many files whose bytes are known: each as by ``put_file``, and all durable when this returns. Raises Corrupt,
        with ``expected`` among its details, for a file that has other bytes."""
        ...

    def get(self, checksum: Checksum) -> bytes: ...

    def get_many(self, checksums: Sequence[Checksum]) -> dict[Checksum, bytes]:
        """Those that are there; absent ones are left out."""
        ...

    def at_hand(self, checksums: Iterable[Checksum]) -> dict[Checksum, bytes]:
        """Those that can be had without waiting for a disk or a network, as they were verified when they were last put
        or read through this object; all others are left out. What was removed through it is never among them."""
        ...

    def open(self, checksum: Checksum) -> BinaryIO:
        """A stream for reading; verified as it is read to its end (the last read raises Corrupt)."""
        ...

    def path(self, checksum: Checksum) -> Path | None:
        """A local file with these bytes that must not be written to, or ``None`` where there is none."""
        ...

    def size(self, checksum: Checksum) -> int: ...

    def missing(self, checksums: Iterable[Checksum]) -> set[Checksum]:
        """Those that are not there."""
        ...

    def remove(self, checksums: Iterable[Checksum]) -> None: ...

    def set_aside(self, checksums: Iterable[Checksum]) -> list[Path]:
        """Take damaged buffers out of the way, so that they can be made or given again, and keep what is there of them for
        who wants to look at it. What turns out to be sound stays. Where they are now."""
        ...

    def age(self, checksum: Checksum) -> float | None:
        """Seconds since a buffer was last put, also where it was there already; ``None`` where that is not known."""
        ...

    def compact(self) -> None:
        """Give the space of removed buffers back to the disk, beside others that work."""
        ...

    def checksums(self) -> Iterator[tuple[Checksum, int]]:
        """All names with their sizes, in any order."""
        ...

    def close(self) -> None: ...


class Files(Protocol):
    """What is known of files on this machine's disks and at addresses."""

    def checksum(self, path: Path) -> tuple[Checksum, int]:
        """Checksum and size of a file, from a cache where nothing can have changed since."""
        ...

    def directory(self, path: Path) -> list[tuple[str, bool, Checksum, str]]:
        """The files of a directory, hashed side by side: relative path, executable, checksum, absolute path, sorted. Raises
        Invalid for what cannot be named."""
        ...

    def fetch(self, address: str, expected: Checksum | None) -> Path:
        """A local file with what an ``https://`` or ``s3://`` address holds, fetched once and verified."""
        ...

    def folder(self, checksum: Checksum, store: Store) -> Path:
        """A stored directory as a read-only folder of files, made once."""
        ...

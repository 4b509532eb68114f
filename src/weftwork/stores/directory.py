"""The store in a folder: small buffers packed in one SQLite file, large ones as files named by checksum.

::

    buffers.sqlite     buffers up to 64 KiB
    files/ab/abcdef…   larger ones, one file each, read-only
    aside/             damaged ones, for who wants to look at them
    cache/ab/abcdef…   small ones that somebody needed as files: made again when they are gone
    tmp/               files in the making

Any number of processes and threads of one host use it at once; on a network file system too, more slowly.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Self

from weftwork import disk
from weftwork.core.checksum import Checksum
from weftwork.stores import intake
from weftwork.stores.files import Files, corrupt, verified_reader
from weftwork.stores.packed import LIMIT, Packed
from weftwork.stores.recent import Recent

_TRIES = 3
_GROUP = 32 << 20
"""Bytes of small files that go into one transaction, at about."""


class DirectoryStore:
    """A :class:`~weftwork.ports.Store` in a folder, which is made where it is missing.

    ``network`` says whether the folder is on a network file system; by default it is found out. Raises
    :class:`~weftwork.errors.Unavailable` where the folder cannot be used or its disk is full,
    :class:`~weftwork.errors.Corrupt` where its SQLite file is damaged.

    Putting a large buffer that is there compares it with what is there (``put``, ``put_many``), replaces it by the
    bytes that came (``put_stream``, ``put_file``), or hashes it (``put_file`` with ``expected``): so it repairs always.
    ``path`` verifies small buffers; a large one is not read, and who reads it must hash it.
    """

    def __init__(self, root: Path, *, network: bool | None = None) -> None:
        self.root = Path(root).absolute()
        with disk.translated(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            self._files = Files(self.root)
            self._cache = self.root / "cache"
            self._packed = Packed(self.root / "buffers.sqlite", network=network)
        self._recent = Recent()

    def put(self, data: bytes) -> Checksum:
        return self.put_many([data])[0]

    def put_many(self, buffers: Sequence[bytes]) -> list[Checksum]:
        names = Checksum.of_all(buffers)
        small: dict[bytes, bytes] = {}
        large: dict[Checksum, bytes] = {}
        for name, data in zip(names, buffers, strict=True):
            if len(data) <= LIMIT:
                small[bytes.fromhex(name)] = bytes(data)
            else:
                large[name] = data
        with disk.translated(self.root):
            if large:
                self._files.put(large)
            # Last: the small ones are what names the large ones.
            if small:
                self._packed.put(small)
        self._recent.keep(zip(names, map(bytes, buffers), strict=True))
        return names

    def at_hand(self, checksums: Iterable[Checksum]) -> dict[Checksum, bytes]:
        return self._recent.find(checksums)

    def put_stream(self, chunks: Iterable[bytes], expected: Checksum | None = None) -> tuple[Checksum, int]:
        rest = iter(chunks)
        head = bytearray()
        for chunk in rest:
            head += chunk
            if len(head) > LIMIT:
                return self._put_large(bytes(head), rest, expected)
        data = bytes(head)
        intake.expect(expected, Checksum.of(data), "what arrived")
        return self.put(data), len(data)

    def _put_large(self, head: bytes, rest: Iterator[bytes], expected: Checksum | None) -> tuple[Checksum, int]:
        with contextlib.ExitStack() as stack:
            with disk.translated(self.root):
                file = stack.enter_context(self._files.incoming())
                file.write(head)
            # What the sender raises is the sender's: only our own writes are told as ours.
            for chunk in rest:
                with disk.translated(self.root):
                    file.write(chunk)
            checksum = file.hasher.checksum()
            intake.expect(expected, checksum, "what arrived")
            with disk.translated(self.root):
                self._files.keep([(file, checksum)])
                self._files.sync([checksum])
            return checksum, file.hasher.size

    def put_file(self, path: Path, expected: Checksum | None = None, *, move: bool = False) -> tuple[Checksum, int]:
        for _ in range(_TRIES):
            with contextlib.suppress(intake.Changed), intake.source(path) as source:
                if source.size <= LIMIT:
                    checksum, size = self._put_small_file(source, expected)
                else:
                    with disk.translated(self.root):
                        checksum = self._put_large_file(source, expected, move)
                    size = source.size
                if move:
                    with disk.translated(self.root), contextlib.suppress(FileNotFoundError):
                        os.unlink(path)
                return checksum, size
        raise intake.unsteady(path)

    def put_files(self, files: Sequence[tuple[Path, Checksum]], *, move: bool = False) -> None:
        """As :meth:`put_file` with what is expected, but the small ones go into a few transactions together."""
        rest = []
        group: dict[bytes, bytes] = {}
        size = 0
        for path, expected in files:
            data = _small(path, expected)
            if data is None:
                rest.append((path, expected))
                continue
            group[expected.digest] = data
            size += len(data)
            if size > _GROUP:
                self._put_group(group)
                group, size = {}, 0
        self._put_group(group)
        for path, expected in rest:
            self.put_file(path, expected, move=move)
        if move:
            with disk.translated(self.root):
                for path, _ in files:
                    path.unlink(missing_ok=True)

    def _put_group(self, group: dict[bytes, bytes]) -> None:
        if group:
            with disk.translated(self.root):
                self._packed.put(group)

    def _put_small_file(self, source: intake.Source, expected: Checksum | None) -> tuple[Checksum, int]:
        data = source.read()
        intake.expect(expected, Checksum.of(data), str(source.path))
        return self.put(data), len(data)

    def _put_large_file(self, source: intake.Source, expected: Checksum | None, move: bool) -> Checksum:
        if move and source.movable():
            checksum = self._move(source, expected)
            if checksum is not None:
                return checksum
        if expected is not None and self._files.has(expected):
            intake.expect(expected, source.hash(), str(source.path))
            if self._files.sound(expected):
                self._files.sync([expected])
                return expected
        with self._files.incoming() as file:
            checksum = source.copy_to(file)
            intake.expect(expected, checksum, str(source.path))
            self._files.keep([(file, checksum)])
            self._files.sync([checksum])
            return checksum

    def _move(self, source: intake.Source, expected: Checksum | None) -> Checksum | None:
        """Take the file itself. ``None`` where it lies on another file system."""
        if os.stat(source.path).st_dev != os.stat(self.root).st_dev:
            return None
        checksum = source.hash()
        intake.expect(expected, checksum, str(source.path))
        os.fchmod(source.descriptor, 0o444)
        disk.sync_file(source.descriptor)
        source.check()
        if not os.path.samestat(os.lstat(source.path), source.before):
            raise intake.Changed
        try:
            self._files.adopt(source.path, checksum)
        except OSError as error:
            if error.errno == errno.EXDEV:
                return None
            raise
        self._files.sync([checksum])
        return checksum

    def get(self, checksum: Checksum) -> bytes:
        checksum = Checksum(checksum)
        with disk.translated(self.root):
            data = self._packed.get([checksum.digest]).get(checksum.digest)
            if data is None:
                data = self._files.read(checksum)
        return self._verified(checksum, data)

    def get_many(self, checksums: Sequence[Checksum]) -> dict[Checksum, bytes]:
        names = {bytes.fromhex(each): each if type(each) is Checksum else Checksum(each) for each in checksums}
        with disk.translated(self.root):
            found = self._packed.get(list(names))
            for digest in [digest for digest, data in found.items() if sha256(data).digest() != digest]:
                raise corrupt(names[digest], Checksum.of(found[digest]), str(self.root))
            out = {names[digest]: data for digest, data in found.items()}
            if len(found) < len(names):
                for digest, name in names.items():
                    if digest not in found and self._files.has(name):
                        out[name] = self._verified(name, self._files.read(name))
        self._recent.keep(out.items())
        return out

    def _verified(self, checksum: Checksum, data: bytes) -> bytes:
        found = Checksum.of(data)
        if found != checksum:
            raise corrupt(checksum, found, str(self.root))
        return data

    def open(self, checksum: Checksum) -> BinaryIO:
        checksum = Checksum(checksum)
        with disk.translated(self.root):
            data = self._packed.get([checksum.digest]).get(checksum.digest)
            if data is None:
                return self._files.open(checksum)
        return verified_reader(io.BytesIO(data), checksum, len(data), str(self.root))

    def path(self, checksum: Checksum) -> Path | None:
        checksum = Checksum(checksum)
        with disk.translated(self.root):
            if self._files.has(checksum):
                return self._files.place(checksum)
            data = self._packed.get([checksum.digest]).get(checksum.digest)
            return None if data is None else self._laid_out(checksum, self._verified(checksum, data))

    def _laid_out(self, checksum: Checksum, data: bytes) -> Path:
        """A small buffer as a file: the one of earlier where it is still right, else a new one."""
        place = self._cache / checksum[:2] / checksum
        with contextlib.suppress(OSError):
            if place.read_bytes() == data:
                return place
        place.parent.mkdir(parents=True, exist_ok=True)
        with self._files.incoming() as file:
            file.write(data)
            os.fchmod(file.descriptor, 0o444)
            file.path.replace(place)
        return place

    def size(self, checksum: Checksum) -> int:
        checksum = Checksum(checksum)
        with disk.translated(self.root):
            found = self._packed.sizes([checksum.digest])
            return found[checksum.digest] if found else self._files.size(checksum)

    def missing(self, checksums: Iterable[Checksum]) -> set[Checksum]:
        names = {each.digest: each for each in map(Checksum, checksums)}
        with disk.translated(self.root):
            found = self._packed.sizes(list(names))
            return {name for digest, name in names.items() if digest not in found and not self._files.has(name)}

    def remove(self, checksums: Iterable[Checksum]) -> None:
        names = [Checksum(each) for each in checksums]
        self._recent.forget(names)
        with disk.translated(self.root):
            self._packed.remove([name.digest for name in names])
            for name in names:
                self._files.remove(name)
                (self._cache / name[:2] / name).unlink(missing_ok=True)

    def set_aside(self, checksums: Iterable[Checksum]) -> list[Path]:
        """To ``aside/``, under their names."""
        aside, moved = self.root / "aside", []
        for checksum in map(Checksum, checksums):
            self._recent.forget([checksum])
            with disk.translated(self.root):
                aside.mkdir(exist_ok=True)
                place = aside / f"{checksum}-{time.time_ns()}"
                data = self._packed.get([checksum.digest]).get(checksum.digest)
                if data is not None and Checksum.of(data) != checksum:
                    place.write_bytes(data)
                    self._packed.remove([checksum.digest])
                elif data is not None or not self._files.has(checksum) or self._files.sound(checksum):
                    continue
                else:
                    self._files.move(checksum, place)
                (self._cache / checksum[:2] / checksum).unlink(missing_ok=True)
                moved.append(place)
        return moved

    def age(self, checksum: Checksum) -> float | None:
        """Of large buffers; when a small one was put is not kept."""
        with disk.translated(self.root):
            return self._files.age(Checksum(checksum))

    def compact(self) -> None:
        with disk.translated(self.root):
            self._packed.compact()

    def checksums(self) -> Iterator[tuple[Checksum, int]]:
        with disk.translated(self.root):
            for digest, size in self._packed.names():
                yield Checksum.of_digest(digest), size
            yield from self._files.names()

    def close(self) -> None:
        self._packed.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _small(path: Path, expected: Checksum) -> bytes | None:
    """The verified bytes of a small file; ``None`` for a large one, and for one that changed just now."""
    with contextlib.suppress(intake.Changed), intake.source(path) as source:
        if source.size <= LIMIT:
            data = source.read()
            intake.expect(expected, Checksum.of(data), str(path))
            return data
    return None

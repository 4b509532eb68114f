"""A command's streams, written as they grow and then to their end: each byte once, whoever runs the command."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

_CHUNK = 1 << 20


class _Stream:
    """One of the two: how much of it was written, and a hash of that."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self.forget()

    def forget(self) -> None:
        self._told = 0
        self._hash = hashlib.sha256()

    def grow(self, source: BinaryIO) -> None:
        """Write what is new in a file."""
        source.seek(self._told)
        self._write(source)

    def finish(self, opened: Callable[[], BinaryIO | None]) -> None:
        """Write the rest of the whole stream; all of it, where it does not begin with what was written."""
        source = opened()
        if source is None:
            return None
        with source:
            if self._begins(source):
                return self._write(source)
        # Another attempt made the result: what it wrote is told from its beginning.
        self.forget()
        again = opened()
        if again is not None:
            with again:
                self._write(again)
        return None

    def _begins(self, source: BinaryIO) -> bool:
        begin, left = hashlib.sha256(), self._told
        while left and (chunk := source.read(min(left, _CHUNK))):
            begin.update(chunk)
            left -= len(chunk)
        return not left and begin.digest() == self._hash.digest()

    def _write(self, source: BinaryIO) -> None:
        while chunk := source.read(_CHUNK):
            self._out.write(chunk)
            self._hash.update(chunk)
            self._told += len(chunk)
        self._out.flush()


class Streams:
    """Standard output and error of a job. ``grow`` while it runs, ``finish`` once with what it wrote in all."""

    def __init__(self, jobs: Path | None = None, job: str = "") -> None:
        self._jobs = jobs
        self._job = job
        self._folder: Path | None = None
        self._streams = {"stdout": _Stream(sys.stdout.buffer), "stderr": _Stream(sys.stderr.buffer)}

    def grow(self) -> None:
        """Write what the attempt that runs now has written since."""
        if self._jobs is None:
            return
        folders = sorted(self._jobs.glob(f"{self._job}-*"), key=lambda each: int(each.name.rpartition("-")[2]))
        if not folders:
            return
        if folders[-1] != self._folder:
            self._folder = folders[-1]
            for stream in self._streams.values():
                stream.forget()
        for name, stream in self._streams.items():
            try:
                source = open(self._folder / name, "rb")  # noqa: SIM115
            except OSError:
                continue
            with source:
                stream.grow(source)

    def finish(self, opened: Callable[[str], BinaryIO | None]) -> None:
        """Write the rest; ``opened`` gives each whole stream by name, ``None`` where there is none."""
        for name, stream in self._streams.items():
            stream.finish(lambda name=name: opened(name))  # type: ignore[misc]

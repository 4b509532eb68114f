"""Buffers that were put or read a moment ago, kept in memory: who needs one again need not ask the disk.

Only bytes whose checksum was worked out here are kept. Two generations: when the young one is full it becomes the old
one, and the old one is dropped; what is asked for again is young again. So nothing is done for each buffer that goes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Final

from weftwork.core.checksum import Checksum

LIMIT: Final = 16 << 20
"""Bytes that are kept at most."""

_LARGEST: Final = LIMIT // 64
_ENTRY: Final = 400
"""Bytes that keeping one takes beside its own: its name, its place."""


class Recent:
    """Small buffers by checksum. Safe to use from many threads."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._half = limit // 2
        self._young: dict[Checksum, bytes] = {}
        self._old: dict[Checksum, bytes] = {}
        self._size = 0
        self._writing = threading.Lock()

    def keep(self, buffers: Iterable[tuple[Checksum, bytes]]) -> None:
        """Keep those that are small enough."""
        given = dict(buffers)
        with self._writing:
            # Most often all of them are small, new, and few enough: then nothing is done for each.
            size = sum(map(len, given.values())) + _ENTRY * len(given)
            if size <= _LARGEST and self._size + size <= self._half and self._young.keys().isdisjoint(given):
                self._young.update(given)
                self._size += size
                return
            for name, data in given.items():
                size = len(data) + _ENTRY
                if size > _LARGEST or name in self._young:
                    continue
                if self._size + size > self._half:
                    self._old, self._young, self._size = self._young, {}, 0
                self._young[name] = data
                self._size += size

    def find(self, names: Iterable[Checksum]) -> dict[Checksum, bytes]:
        """Those that are kept."""
        young, old = self._young, self._old
        found, again = {}, []
        for name in names:
            data = young.get(name)
            if data is None:
                data = old.get(name)
                if data is None:
                    continue
                again.append((name, data))
            found[name] = data
        if again:
            self.keep(again)
        return found

    def forget(self, names: Iterable[Checksum]) -> None:
        with self._writing:
            for name in names:
                data = self._young.pop(name, None)
                if data is not None:
                    self._size -= len(data) + _ENTRY
                self._old.pop(name, None)

"""One call of a function as a job folder: a worker whose channel is two files.

``python NODE.pyz call FRAMES RESULT`` runs in the ``work`` folder of a job. ``FRAMES`` holds what an engine would send to a worker
(:mod:`weftwork.node.worker`), after one frame ``{"sources": {checksum: number of a blob | path}}`` with every further buffer that may
be asked for; ``RESULT`` gets what the worker says. Both streams go to the file ``log``, as a worker's do.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from weftwork.node.frames import Frame, Unpacker, pack
from weftwork.node.worker import Channel, Worker


class Recorded(Channel):
    """A channel out of files: one call, and then the engine is gone."""

    def __init__(self, heard: bytes, result: int) -> None:
        self._heard = Unpacker()
        self._heard.feed(heard)
        self._result = result
        self._answers: list[Frame] = []
        self._begun = False
        header, self._blobs = self._next()
        self._sources: dict[str, int | str] = header["sources"]

    def _next(self) -> Frame:
        frame = self._heard.next()
        if frame is None:
            raise EOFError
        return frame

    def receive(self) -> Frame:
        return self._answers.pop(0) if self._answers else self._next()

    def send(self, frame: bytes, *, ring: bool = False) -> None:
        """A question is answered from the sources; all else is the result."""
        said = Unpacker()
        said.feed(frame)
        told = said.next()
        wanted = None if told is None else told.header.get("need")
        if wanted is None:
            view = memoryview(frame)
            while view:
                view = view[os.write(self._result, view) :]
            return
        found = self._sources.get(wanted)
        header: dict[str, Any] = {"have": wanted} | ({"path": found} if isinstance(found, str) else {})
        self._answers.append(Frame(header, [self._blobs[found]] if isinstance(found, int) else []))

    def ring(self) -> None:
        """Nobody waits."""

    def token(self) -> int:
        if self._begun:
            raise EOFError
        self._begun = True
        return 1


def call(frames: str, result: str) -> int:
    """Run the call; what it gave is in the file ``result``. The exit code is 0 also for a function that raised."""
    for name in [name for name in os.environ if name.startswith("PYTHON")]:
        del os.environ[name]
    with open(frames, "rb") as file:
        heard = file.read()
    said = os.open(result, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    log = os.open("log", os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir("scratch")
    try:
        Worker(Recorded(heard, said)).run()
    except EOFError:
        pass
    finally:
        sys.stdout.flush()
    os._exit(0)


def pack_sources(sources: dict[str, bytes | str]) -> bytes:
    """The first frame: buffers by checksum, each its bytes or the path of a file that has them."""
    blobs: list[bytes] = []
    placed: dict[str, int | str] = {}
    for checksum, source in sources.items():
        if isinstance(source, bytes):
            placed[checksum] = len(blobs)
            blobs.append(source)
        else:
            placed[checksum] = source
    return pack({"sources": placed}, blobs)

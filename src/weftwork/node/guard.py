"""Ends what a node program leaves when it is killed without a word: the batch system's SIGKILL reaches its process alone.

A process apart, in a session of its own and nobody's child, that holds one end of a pipe. When the node program is gone
and has not said that it is through, everything that belongs to its folder is killed.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import Final

from weftwork.errors import Conflict
from weftwork.node.claim import cleanup

_THROUGH: Final = b"."
_PATIENCE: Final = 5.0  # seconds in which a process whose pipe has ended must be gone
_AGAIN: Final = 1.0  # seconds for which is looked again: a program that is just being loaded shows no mark


class Guard:
    """Stands by from now until :meth:`leave`. To be made before this process has threads, or adopts orphans."""

    def __init__(self, folder: str) -> None:
        reading, self._pipe = os.pipe()
        child = os.fork()
        if child == 0:
            # Twice removed, so that whoever sweeps the children of this process does not find it.
            if os.fork() == 0:
                os.close(self._pipe)
                _stand(reading, folder)
            os._exit(0)
        os.close(reading)
        os.waitpid(child, 0)

    def leave(self) -> None:
        """Nothing is left of the job: the guard may go."""
        with contextlib.suppress(OSError):
            os.write(self._pipe, _THROUGH)
        os.close(self._pipe)


def _clean(folder: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    cleaned = None
    while time.monotonic() < (deadline if cleaned is None else cleaned + _AGAIN):
        # Its pipe ends a moment before it does.
        with contextlib.suppress(Conflict):
            cleanup(folder)
            cleaned = cleaned or time.monotonic()
        time.sleep(0.05)


def _stand(reading: int, folder: str) -> None:
    try:
        os.setsid()
        os.chdir("/")
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        if os.read(reading, 1) != _THROUGH:
            _clean(folder)
    finally:
        os._exit(0)

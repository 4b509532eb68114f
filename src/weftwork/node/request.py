"""A request to stop a running job: from another thread of the runner, or as ``cancel.json`` in its folder."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from typing import Final

from weftwork.node.job import write_atomically

CANCEL: Final = "cancel.json"


class Request:
    """What somebody wants of a running job. ``descriptor`` becomes readable once there is a request.

    ``cancel`` ends the job with :class:`~weftwork.errors.Cancelled`: SIGTERM, the grace, SIGKILL. A second one
    replaces the first, so that a shorter ``grace`` hastens the end. ``abandon`` kills it at once and leaves no outcome:
    the runner itself must go, and the job is to be run again elsewhere.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal handler may ask while its own thread asks
        self.descriptor, self._write = os.pipe()
        self.by: str | None = None
        self.grace: float | None = None
        self.abandoned = False

    def cancel(self, by: str, grace: float | None = None) -> None:
        with self._lock:
            if self.by is None:
                self.by = by
            if grace is not None:
                self.grace = grace
        self._wake()

    def abandon(self) -> None:
        self.abandoned = True
        self._wake()

    def look(self, folder: str) -> None:
        """Take up a request that was left in the folder."""
        try:
            with open(os.path.join(folder, CANCEL), "rb") as file:
                document = json.load(file)
            self.by = self.by or str(document["by"])
            grace = document.get("grace")
            self.grace = self.grace if grace is None else float(grace)
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self.by = self.by or "an unreadable request"

    def rest(self) -> None:
        """Empty the descriptor: the request was seen."""
        with contextlib.suppress(OSError):
            os.read(self.descriptor, 4096)

    def close(self) -> None:
        with self._lock:
            os.close(self.descriptor)
            os.close(self._write)
            self._write = -1

    def _wake(self) -> None:
        with self._lock, contextlib.suppress(OSError):
            if self._write >= 0:
                os.write(self._write, b"!")


def request_cancel(folder: str, by: str, grace: float | None = None) -> None:
    """Ask whoever runs the folder to stop it, without a connection: it is seen within a second or so."""
    write_atomically(os.path.join(folder, CANCEL), {"by": by, "grace": grace})

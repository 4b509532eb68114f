"""Where the supervisor of a home lives: names of its files, its lock, its journal.

Below ``HOME/supervisor/``, per host and protocol::

    HOST-pN.lock      held (flock) as long as the supervisor lives
    HOST-pN.start     held by the engine that is starting one
    HOST-pN.json      where it listens: {"socket", "pid", "started", "protocol"}
    HOST-pN.jobs      journal: "+folder" before a job is begun, "-folder" once it is over (JSON strings)
    HOST-pN.log       what the supervisor itself has to say
    HOST-pN.sock      the socket, when its path is short enough; else it lies in a runtime directory
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import socket
import stat
import tempfile
from dataclasses import dataclass
from typing import Any, Final

from weftwork.errors import Refused

PROTOCOL: Final = 1
_LONGEST_SOCKET: Final = 100  # bytes; sun_path holds 104 on macOS, 108 on Linux


@dataclass(frozen=True, slots=True)
class Place:
    """The files of one supervisor: ``stem`` plus an ending each."""

    home: str
    stem: str

    @classmethod
    def of(cls, home: str) -> Place:
        home = os.path.realpath(home)
        return cls(home, os.path.join(home, "supervisor", f"{_host()}-p{PROTOCOL}"))

    def path(self, ending: str) -> str:
        return f"{self.stem}.{ending}"

    def make(self) -> None:
        os.makedirs(os.path.dirname(self.stem), mode=0o700, exist_ok=True)

    def info(self) -> dict[str, Any] | None:
        """What the supervisor says of itself; it may be dead by now."""
        try:
            with open(self.path("json"), "rb") as file:
                document = json.load(file)
        except (OSError, ValueError):
            return None
        return document if isinstance(document, dict) and isinstance(document.get("socket"), str) else None

    def socket_paths(self) -> list[str]:
        """Where to listen, best first."""
        name = hashlib.sha256(os.fsencode(self.stem)).hexdigest()[:16]
        short = os.path.join(runtime_directory(), f"{name}.sock")
        own = self.path("sock")
        return [own, short] if len(os.fsencode(own)) <= _LONGEST_SOCKET else [short]


def runtime_directory() -> str:
    """A short private directory of this user on this machine, mode 0700. Raises when another user could have made it."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base and os.path.isdir(base) and len(os.fsencode(base)) < 60:
        path = os.path.join(base, "weft")
    else:
        path = os.path.join("/tmp" if os.path.isdir("/tmp") else tempfile.gettempdir(), f"weft-{os.getuid()}")
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    it = os.lstat(path)
    if not stat.S_ISDIR(it.st_mode) or it.st_uid != os.getuid() or it.st_mode & 0o077:
        raise Refused(f"{path} is not a private directory of this user: remove it, or set XDG_RUNTIME_DIR")
    return path


def lock(path: str, *, wait: bool) -> int | None:
    """Take a file lock; it falls when the descriptor is closed or the process dies. ``None``: another has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


class Journal:
    """Which folders a supervisor has begun and not finished; written before each begins, so that the next one knows."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def unfinished(self) -> list[str]:
        """The folders begun and not finished; a last line that was cut off counts for nothing."""
        with open(self._path, "rb") as file:
            lines = file.read().split(b"\n")[:-1]
        found: dict[str, None] = {}
        for line in lines:
            with contextlib.suppress(ValueError):
                folder = json.loads(line[1:])
                found.pop(folder, None)
                if line[:1] == b"+":
                    found[folder] = None
        return list(found)

    def begin(self, folder: str) -> None:
        os.write(self._file, f"+{json.dumps(folder)}\n".encode("ascii"))

    def finish(self, folder: str) -> None:
        os.write(self._file, f"-{json.dumps(folder)}\n".encode("ascii"))

    def clear(self) -> None:
        """Forget everything: for when nothing runs."""
        os.ftruncate(self._file, 0)

    def size(self) -> int:
        return os.fstat(self._file).st_size


def _host() -> str:
    return "".join(letter if letter.isalnum() or letter in "-." else "_" for letter in socket.gethostname()) or "host"

"""One worker process: its start, its channel, its tokens, its end.

Guarantees. *Each call* that was sent is in exactly one of three places: its token still in the pipe (not begun; can be
taken back), begun, or told of. *When the process is gone* the owner hears it once, after every result that it had sent,
and the calls that are left are then known as begun (at most one) and not begun. *Then* no process of its group is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import site
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from weftwork import errors
from weftwork.errors import Corrupt
from weftwork.node.frames import Frame, Unpacker, pack
from weftwork.node.worker import TOKEN
from weftwork.sites.schedulers.workers.wire import Batches

ROOT: Final = str(Path(errors.__file__).resolve().parent.parent)
_BOOT: Final = "import sys; sys.path.append(sys.argv[1]); from weftwork.node.worker import main; main(sys.argv[2:])"
_RECEIVE: Final = 1 << 18
_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
_THREADS: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


@dataclass(frozen=True, slots=True)
class Setup:
    """What a worker is started for. ``environment`` is the resolved one; ``boot`` the Python text that starts it."""

    bundle: bytes
    checksum: str
    identity: str
    environment: Mapping[str, Any]
    cpus: int
    boot: str = _BOOT

    def variables(self, scratch: str) -> dict[str, str]:
        """The whole environment of the process: nothing of the engine's own leaks in."""
        path = os.pathsep.join(dict.fromkeys((os.path.dirname(sys.executable), *_PATH.split(":"))))
        found = {"PATH": path, "HOME": scratch, "TMPDIR": scratch, "LANG": "C.UTF-8", "TZ": "UTC"}
        found |= dict.fromkeys(_THREADS, str(self.cpus))
        found |= self.environment.get("variables") or {}
        # The order of sets must not depend on which worker has the call. The worker hides what begins with PYTHON.
        found["PYTHONHASHSEED"] = "0"
        found["PYTHONDONTWRITEBYTECODE"] = "1"
        if site.ENABLE_USER_SITE:
            found["PYTHONUSERBASE"] = site.getuserbase()
        return found


class WorkerProcess:
    """A running worker. ``on_frames`` gets what it says, ``on_exit`` is called once when it is gone."""

    def __init__(
        self,
        name: str,
        folder: Path,
        spool: Path,
        setup: Setup,
        on_frames: Callable[[WorkerProcess, list[Frame]], None],
        on_exit: Callable[[WorkerProcess], None],
    ) -> None:
        self.name = name
        self.cpus = setup.cpus
        self.ready = False
        self.retiring = False
        self.gone = False
        self.exit_code: int | None = None
        self.log_end = 0
        self.batches = Batches()
        self._folder = folder
        self._on_frames = on_frames
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        self._unpacker = Unpacker()
        self._unsent = bytearray()
        self.left: set[int] = set()
        self._start(setup, spool)

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def log(self) -> Path:
        """The file to which it appends both streams."""
        return self._folder / "log"

    def _start(self, setup: Setup, spool: Path) -> None:
        scratch = self._folder / "scratch"
        scratch.mkdir(parents=True)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._socket = ours
        self._tokens, self._token_in = os.pipe()
        self._bell, bell = os.pipe()
        os.set_blocking(self._tokens, False)
        os.set_blocking(self._bell, False)
        descriptors = (theirs.fileno(), self._tokens, bell)
        log = os.open(self.log, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            # Not from a thread that ends before the pool does: the kernel would take that for the parent's death.
            self._popen = subprocess.Popen(
                [sys.executable, "-P", "-c", setup.boot, ROOT, str(os.getpid()), *map(str, descriptors)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=scratch,
                env=setup.variables(str(scratch)),
                pass_fds=descriptors,
                start_new_session=True,
            )
        finally:
            theirs.close()
            os.close(bell)
            os.close(log)
        self._pidfd = _pidfd(self._popen.pid)
        if self._pidfd is not None:
            self._loop.add_reader(self._pidfd, self._ended)
        self._loop.add_reader(self._bell, self._rung)
        settings = {
            "bundle": setup.checksum,
            "identity": setup.identity,
            "environment": dict(setup.environment),
            "scratch": str(scratch),
            "inputs": str(self._folder / "inputs"),
            "spool": str(spool),
            "prefix": self.name,
        }
        self.send(pack({"set up": settings}, [setup.bundle]))

    def send(self, frame: bytes, numbers: Sequence[int] = ()) -> None:
        """Send a frame; then the tokens of the calls in it, from which moment they may begin."""
        if self.gone:
            return
        if not self._unsent:
            with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
                frame = frame[self._socket.send(frame) :]
            if frame:
                self._loop.add_writer(self._socket.fileno(), self._send_rest)
        self._unsent += frame
        if numbers:
            os.write(self._token_in, struct.pack(f"={len(numbers)}Q", *numbers))

    def _send_rest(self) -> None:
        try:
            del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            return
        except OSError:
            self._unsent.clear()
        if not self._unsent:
            self._loop.remove_writer(self._socket.fileno())

    def take_back(self, count: int) -> list[int]:
        """Take up to ``count`` tokens out of the pipe: the numbers of calls that will not begin here, next ones first."""
        if self.gone:
            return []
        try:
            data = os.read(self._tokens, TOKEN.size * count)
        except BlockingIOError:
            return []
        return [number for (number,) in TOKEN.iter_unpack(data)]

    def waiting(self) -> int:
        """How many calls were sent and not begun."""
        count = struct.pack("i", 0)
        return int(struct.unpack("i", fcntl.ioctl(self._tokens, termios.FIONREAD, count))[0]) // TOKEN.size

    def _rung(self) -> None:
        with contextlib.suppress(BlockingIOError):
            if not os.read(self._bell, 4096):
                self._loop.remove_reader(self._bell)
        self.drain()

    def drain(self) -> None:
        """Hear all that it has said."""
        while not self.gone:
            try:
                data = self._socket.recv(_RECEIVE)
            except (BlockingIOError, ConnectionResetError):
                break
            if not data:
                break
            self._unpacker.feed(data)
            frames = []
            try:
                while (frame := self._unpacker.next()) is not None:
                    frames.append(frame)
            except Corrupt:
                self.kill()
                break
            finally:
                if frames:
                    self._on_frames(self, frames)

    def look(self) -> None:
        """Hear what it has said, and whether it is gone; for where there is no pidfd, and while no bell rings."""
        self.drain()
        if self._pidfd is None and not self.gone:
            with contextlib.suppress(ChildProcessError):
                if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                    self._ended()

    def kill(self) -> None:
        """Kill it with its whole process group; ``on_exit`` follows."""
        if not self.gone:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def tail(self, lines: int = 20) -> str:
        """The last lines that it wrote."""
        with contextlib.suppress(OSError), open(self.log, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 8192))
            return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-lines:])
        return ""

    def written(self, limit: int) -> bytes:
        """What it wrote since the last call of which it told."""
        with contextlib.suppress(OSError), open(self.log, "rb") as file:
            file.seek(self.log_end)
            return file.read(limit)
        return b""

    def _ended(self) -> None:
        if self.gone:
            return
        self.drain()
        # Its group before its pid is free for others.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self.exit_code = self._popen.wait()
        self.left = set(self.take_back(8192))
        self.gone = True
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
        self._loop.remove_reader(self._bell)
        self._loop.remove_writer(self._socket.fileno())
        self._socket.close()
        for descriptor in (self._tokens, self._token_in, self._bell):
            os.close(descriptor)
        self._on_exit(self)

    def remove(self) -> None:
        """Remove its folder; when it is gone, and off the loop."""
        from weftwork.node.handover import remove

        remove(str(self._folder))


def _pidfd(pid: int) -> int | None:
    if os.environ.get("WEFT_PORTABLE") == "1" or not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None

"""The supervisor: one process per home and host that runs all commands, and outlives the engines that ask it to.

Lines of JSON over a Unix socket, both ways; a line of the supervisor that answers a question repeats its ``id``::

    → {"do": "run", "folder"}              ← {"event": "started", "folder", "pid"}, then {"event": "ended", "folder", "state"},
                                             state null: no outcome; or {"event": "refused", "folder", "error"}
    → {"do": "cancel", "folder", "by", "grace"}   ← {"event": "cancelling", "id", "known"}; the end comes as ever
    → {"do": "watch"}                      this connection is told of every job from now on
    → {"do": "list", "id"}                 ← {"event": "jobs", "id", "folders"}
    → {"do": "ping", "id"}                 ← {"event": "pong", "id", "pid", "protocol"}

It is told apart by its protocol: an engine that speaks another starts another beside it. It starts no program before the
journal names the folder. When one was killed, the next first kills what is left of its jobs: only then does it listen. It
ends by itself after some idle minutes without job and client. SIGTERM abandons its jobs: killed, and no outcome.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import selectors
import signal
import socket
import sys
import threading
import time
import traceback
from typing import Any, Final

from weftwork.errors import Invalid, WeftError
from weftwork.node import claim, processes
from weftwork.node.home import PROTOCOL, Journal, Place, lock
from weftwork.node.job import write_atomically
from weftwork.node.request import Request
from weftwork.node.run import Runner

_LONGEST_LINE: Final = 1 << 20
_LONGEST_BACKLOG: Final = 16 << 20
_JOURNAL_SIZE: Final = 1 << 20
_DESCRIPTORS: Final = 8192
_LOOK: Final = 2.0  # seconds between looks, while idle, at whether the home is still there


def supervise(home: str, idle: float) -> int:
    """Be the supervisor of a home until nobody needs it any more. Returns at once when there is one already."""
    place = Place.of(home)
    place.make()
    held = lock(place.path("lock"), wait=False)
    if held is None:
        return 0
    os.umask(0o022)
    os.chdir("/")
    _set_limits()
    supervisor = Supervisor(place, idle)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: supervisor.stop())
    supervisor.serve()
    return 0


def _set_limits() -> None:
    """No core files in the folders of jobs; descriptors for a thousand jobs, and no more: some programs close them all."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < enough:
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))


class _Client:
    """One connection: what came in and is no whole line yet, and what could not be sent yet."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.socket = connection
        self.received = b""
        self.watches = False
        self.closed = False
        self._backlog = bytearray()
        self._lock = threading.Lock()

    def lines(self) -> list[bytes] | None:
        """The whole lines that have come; ``None`` when the other side is gone."""
        try:
            data = self.socket.recv(1 << 16)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not data or len(self.received) > _LONGEST_LINE:
            return None
        *lines, self.received = (self.received + data).split(b"\n")
        return lines

    def send(self, event: dict[str, Any]) -> bool:
        """Send from any thread, without waiting. ``True`` when something is left for :meth:`flush`."""
        with self._lock:
            if self.closed or len(self._backlog) > _LONGEST_BACKLOG:
                return False
            self._backlog += json.dumps(event).encode("ascii") + b"\n"
            return self._push()

    def flush(self) -> bool:
        with self._lock:
            return self._push()

    def close(self) -> None:
        with self._lock:
            self.closed = True
            self.socket.close()

    def _push(self) -> bool:
        if self.closed:
            return False
        try:
            while self._backlog:
                del self._backlog[: self.socket.send(self._backlog)]
        except BlockingIOError:
            return True
        except OSError:
            self._backlog.clear()
        return False


class Supervisor:
    """The loop over connections, and a thread for each job that runs."""

    def __init__(self, place: Place, idle: float) -> None:
        self._place = place
        self._idle = idle
        self._journal = Journal(place.path("jobs"))
        self._runner = Runner()
        self._jobs: dict[str, tuple[Request, dict[_Client, str]]] = {}  # who asked, and by which path
        self._clients: set[_Client] = set()
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._stopping = False

    def serve(self) -> None:
        self._clean_up()
        listener, path = self._listen()
        self._selector.register(listener, selectors.EVENT_READ)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        try:
            self._loop(listener)
        finally:
            for gone in (path, self._place.path("json")) if self._is_known() else ():
                with contextlib.suppress(OSError):
                    os.unlink(gone)
            listener.close()
            self._abandon()

    def stop(self) -> None:
        self._stopping = True
        self._wake()

    def _clean_up(self) -> None:
        for folder in self._journal.unfinished():
            try:
                if not claim.cleanup(folder):
                    _say(f"processes of {folder} could not be killed")
            except (WeftError, OSError) as error:
                _say(f"{folder}: {error}")
        self._journal.clear()

    def _listen(self) -> tuple[socket.socket, str]:
        error: OSError | None = None
        for path in self._place.socket_paths():
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
                listener.bind(path)
                os.chmod(path, 0o600)
                listener.listen(128)
            except OSError as failure:  # some file systems hold no sockets
                listener.close()
                error = failure
                continue
            listener.setblocking(False)
            me = {"socket": path, "pid": os.getpid(), "started": processes.identity(os.getpid()), "protocol": PROTOCOL}
            write_atomically(self._place.path("json"), me)
            return listener, path
        raise error or OSError("no place for a socket")

    def _loop(self, listener: socket.socket) -> None:
        busy = time.monotonic()
        while not self._stopping:
            if self._jobs or self._clients:
                busy = time.monotonic()
            elif time.monotonic() - busy >= self._idle or not self._is_known():
                return
            wait = None if self._jobs or self._clients else min(_LOOK, self._idle - (time.monotonic() - busy))
            for key, mask in self._selector.select(wait):
                if key.fileobj is listener:
                    self._accept(listener)
                elif key.fd == self._wake_read:
                    self._woken()
                else:
                    self._attend(key.data, mask)

    def _is_known(self) -> bool:
        """Whether engines still find this supervisor: its home was neither removed nor made anew for another."""
        info = self._place.info()
        return info is not None and info.get("pid") == os.getpid()

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        client = _Client(connection)
        self._clients.add(client)
        self._selector.register(connection, selectors.EVENT_READ, client)

    def _woken(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 1 << 16)
        for client in self._clients:
            if client.flush():
                self._selector.modify(client.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, client)
        with self._lock:
            if not self._jobs and self._journal.size() > _JOURNAL_SIZE:
                self._journal.clear()

    def _attend(self, client: _Client, mask: int) -> None:
        if mask & selectors.EVENT_WRITE and not client.flush():
            self._selector.modify(client.socket, selectors.EVENT_READ, client)
        if not mask & selectors.EVENT_READ:
            return
        lines = client.lines()
        if lines is None:
            self._selector.unregister(client.socket)
            self._clients.discard(client)
            client.close()
            return
        for line in lines:
            try:
                self._do(client, json.loads(line))
            except (WeftError, ValueError, KeyError, TypeError) as error:
                self._answer(client, {"event": "error", "error": f"{type(error).__name__}: {error}"})

    def _do(self, client: _Client, order: dict[str, Any]) -> None:
        match order["do"]:
            case "run":
                self._begin(client, os.path.realpath(order["folder"]), order["folder"])
            case "cancel":
                self._cancel(client, order)
            case "watch":
                client.watches = True
            case "list":
                with self._lock:
                    folders = list(self._jobs)
                self._answer(client, {"event": "jobs", "id": order.get("id"), "folders": folders})
            case "ping":
                pong = {"event": "pong", "id": order.get("id"), "pid": os.getpid(), "protocol": PROTOCOL}
                self._answer(client, pong)
            case other:
                raise Invalid(f"{other!r} is not something a supervisor does")

    def _begin(self, client: _Client, folder: str, asked: str) -> None:
        with self._lock:
            joined = folder in self._jobs
            if joined:
                self._jobs[folder][1][client] = asked
            else:
                request = Request()
                self._jobs[folder] = (request, {client: asked})
                self._journal.begin(folder)
        if not joined:
            threading.Thread(target=self._job, args=(folder, request), daemon=True).start()
        elif (held := claim.read_claim(folder)) is not None and held.command is not None:
            self._answer(client, {"event": "started", "folder": asked, "pid": held.command[0]})

    def _cancel(self, client: _Client, order: dict[str, Any]) -> None:
        with self._lock:
            job = self._jobs.get(os.path.realpath(order["folder"]))
        if job is not None:
            job[0].cancel(str(order.get("by", "somebody")), order.get("grace"))
        self._answer(client, {"event": "cancelling", "id": order.get("id"), "known": job is not None})

    def _job(self, folder: str, request: Request) -> None:
        event: dict[str, Any] = {"event": "ended", "state": None}
        try:
            outcome = self._runner.run(
                folder, request, lambda pid: self._tell(folder, {"event": "started", "pid": pid})
            )
            event["state"] = None if outcome is None else outcome.state
        except WeftError as error:
            event = {"event": "refused", "error": error.document()}
        except Exception:  # a fault of ours: the job has no outcome, and the log says why
            _say(traceback.format_exc())
        self._tell(folder, event, last=True)
        request.close()

    def _tell(self, folder: str, event: dict[str, Any], *, last: bool = False) -> None:
        with self._lock:
            told = {client: folder for client in self._clients.copy() if client.watches}
            told.update(self._jobs[folder][1])
            if last:
                del self._jobs[folder]
                self._journal.finish(folder)
            nothing_left = last and not self._jobs
        backlog = [client.send({**event, "folder": name}) for client, name in told.items()]
        if any(backlog) or nothing_left:
            self._wake()

    def _answer(self, client: _Client, event: dict[str, Any]) -> None:
        if client.send(event):
            self._wake()

    def _abandon(self) -> None:
        with self._lock:
            requests = [request for request, _ in self._jobs.values()]
        for request in requests:
            request.abandon()
        deadline = time.monotonic() + 10
        while self._jobs and time.monotonic() < deadline:
            time.sleep(0.005)

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._wake_write, b"!")


def _say(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text.rstrip()}\n")
    sys.stderr.flush()

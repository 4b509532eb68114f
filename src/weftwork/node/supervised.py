"""The engine's side of the supervisor: find or start the one of a home, give it folders, hear how they end."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, Final, Self

from weftwork.errors import Conflict, Lost, Unavailable, WeftError, from_document
from weftwork.node import claim
from weftwork.node.home import Place, lock
from weftwork.node.outcome import read_outcome
from weftwork.node.request import request_cancel

IDLE: Final = 600.0
_KEPT: Final = ("PATH", "HOME", "LANG", "TMPDIR", "XDG_RUNTIME_DIR", "WEFT_PORTABLE")


def connect_or_start(home: str, idle: float = IDLE, patience: float = 30.0) -> socket.socket:
    """A connection to the supervisor of the home on this host, which is started when there is none. Blocks.

    However many ask at once, one is started. A fresh one listens only after it has killed what a dead one left
    running. ``idle`` are the seconds without job and client after which one that is started here ends.

    Raises :class:`~weftwork.errors.Unavailable` when none answers within ``patience`` seconds.
    """
    place = Place.of(home)
    if (connection := _connect(place)) is not None:
        return connection
    place.make()
    deadline = time.monotonic() + patience
    starting = lock(place.path("start"), wait=True)
    try:
        again = 0.0
        while time.monotonic() < deadline:
            if (connection := _connect(place)) is not None:
                return connection
            if time.monotonic() >= again:
                # Once more after a while: the one that held the lock may just have been ending.
                _start(place, idle)
                again = time.monotonic() + 1.0
            time.sleep(0.005)
    finally:
        if starting is not None:
            os.close(starting)
    raise Unavailable(f"no supervisor answers for {home} within {patience:g} s; its log is {place.path('log')}")


def _connect(place: Place) -> socket.socket | None:
    info = place.info()
    if info is None:
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(10)
    try:
        connection.connect(info["socket"])
        # Only an answer tells a living supervisor from one that is just closing its door.
        connection.sendall(b'{"do": "ping"}\n')
        if not connection.recv(4096).endswith(b"\n"):
            raise ConnectionResetError
    except OSError:
        connection.close()
        return None
    return connection


def _start(place: Place, idle: float) -> None:
    # By its path and isolated: no site, no user's modules, no variables of the engine that starts it.
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "__main__.py")
    words = [sys.executable, "-I", "-S", program, "supervise-detached", place.home, str(idle)]
    with open(place.path("log"), "ab") as log:
        subprocess.run(
            words,
            cwd="/",
            env={name: os.environ[name] for name in _KEPT if name in os.environ},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            check=False,
        )


class Supervised:
    """The supervisor of a home, for an event loop. Its death is survived: the next call finds or starts the next one.

    Any number of coroutines may use one of these at a time.
    """

    def __init__(self, home: str, idle: float = IDLE) -> None:
        self._home = home
        self._idle = idle
        self._line: _Line | None = None
        self._connecting = asyncio.Lock()
        self._ids = itertools.count(1)

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def connect(self) -> None:
        """Have a connection: to the supervisor that is there, or to a new one."""
        await self._connected()

    async def close(self) -> None:
        """Let go. What runs goes on."""
        if self._line is not None:
            self._line.transport.close()
            self._line = None

    async def run(self, folder: str, on_start: Callable[[int], None] | None = None) -> str:
        """Run the folder, or join it when it already runs; return its state, ``succeeded`` or ``failed``, once it ended.

        Before: ``job.json`` is in the folder. During: it is run at most once, whoever else asks, and goes on when this
        coroutine is cancelled (:meth:`cancel` stops it). After: ``outcome.json`` is there, and no process of the job
        is left. A folder that has its outcome already gives its state at once. ``on_start`` gets the pid.

        Raises :class:`~weftwork.errors.Lost` when whoever ran it died without an outcome; nothing of it runs any more
        then. :class:`~weftwork.errors.NotFound` when there is no folder.
        """
        folder = _absolute(folder)
        while True:
            line = await self._connected()
            try:
                return await line.run(folder, on_start)
            except ConnectionError:
                pass
            except Conflict:
                return await self._follow(folder)
            if (outcome := read_outcome(folder)) is not None:
                return outcome.state
            await self._connected()  # a new supervisor has killed what was left before it answers
            if claim.read_claim(folder) is not None and not claim.is_alive(folder):
                return await self._follow(folder)

    async def cancel(self, folder: str, by: str = "user", grace: float | None = None) -> None:
        """Have the job stopped: SIGTERM, its grace (or this one), SIGKILL; its outcome says ``Cancelled``. Ends at once."""
        folder = _absolute(folder)
        with contextlib.suppress(ConnectionError):
            line = await self._connected()
            answer = await line.ask({"do": "cancel", "folder": folder, "by": by, "grace": grace}, next(self._ids))
            if answer["known"]:
                return
        if read_outcome(folder) is None:
            request_cancel(folder, by, grace)

    async def jobs(self) -> list[str]:
        """The folders that the supervisor runs now."""
        answer = await (await self._connected()).ask({"do": "list"}, next(self._ids))
        return list(answer["folders"])

    def alive(self, folder: str) -> bool:
        """Whether a runner on this host is at work on the folder. Asks no supervisor."""
        return claim.is_alive(folder)

    async def _follow(self, folder: str) -> str:
        """The end of a folder that somebody else claimed."""
        pause = 0.01
        while claim.is_alive(folder):
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.5)
        outcome = read_outcome(folder)
        if outcome is not None:
            return outcome.state
        await asyncio.to_thread(claim.cleanup, folder)
        raise Lost(f"the job in {folder} is lost: who ran it died and left no outcome", folder=folder)

    async def _connected(self) -> _Line:
        async with self._connecting:
            if self._line is None or self._line.lost:
                connection = await asyncio.to_thread(connect_or_start, self._home, self._idle)
                connection.setblocking(False)
                loop = asyncio.get_running_loop()
                _, self._line = await loop.create_unix_connection(_Line, sock=connection)
            return self._line


def _absolute(folder: str) -> str:
    """The path as the supervisor must be told it: it stands elsewhere."""
    return os.path.abspath(folder)


class _Line(asyncio.Protocol):
    """One connection: futures by folder and by question, settled by the lines that come in."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.lost = False
        self._received = b""
        self._jobs: dict[str, asyncio.Future[str]] = {}
        self._starts: dict[str, list[Callable[[int], None]]] = {}
        self._questions: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def run(self, folder: str, on_start: Callable[[int], None] | None) -> str:
        future = self._jobs.get(folder)
        if on_start is not None:
            self._starts.setdefault(folder, []).append(on_start)
        if future is None:
            future = self._jobs[folder] = asyncio.get_running_loop().create_future()
            self._send({"do": "run", "folder": folder})
        return await asyncio.shield(future)

    async def ask(self, question: dict[str, Any], name: int) -> dict[str, Any]:
        future = self._questions[name] = asyncio.get_running_loop().create_future()
        self._send({**question, "id": name})
        answer: dict[str, Any] = await future
        return answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            self._hear(json.loads(line))

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        waiting: list[asyncio.Future[Any]] = [*self._jobs.values(), *self._questions.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(ConnectionResetError("the supervisor is gone"))
                future.exception()  # whoever waited may have been cancelled: not worth a warning
        self._jobs.clear()
        self._questions.clear()

    def _send(self, order: dict[str, Any]) -> None:
        if self.lost:
            raise ConnectionResetError("the supervisor is gone")
        self.transport.write(json.dumps(order).encode("ascii") + b"\n")

    def _hear(self, event: dict[str, Any]) -> None:
        match event["event"]:
            case "started":
                for call in self._starts.pop(event["folder"], ()):
                    call(event["pid"])
            case "ended":
                state = event["state"]
                lost = Lost(f"the job in {event['folder']} left no outcome; the supervisor's log says why")
                self._end(event["folder"], state, None if state else lost)
            case "refused":
                self._end(event["folder"], None, from_document(event["error"]))
            case "jobs" | "cancelling" | "pong" if event.get("id") in self._questions:
                future = self._questions.pop(event["id"])
                if not future.done():
                    future.set_result(event)

    def _end(self, folder: str, state: str | None, error: WeftError | ConnectionError | None) -> None:
        self._starts.pop(folder, None)
        future = self._jobs.pop(folder, None)
        if future is None or future.done():
            return
        if error is None and state is not None:
            future.set_result(state)
        elif error is not None:
            future.set_exception(error)
            future.exception()

"""A worker: calls the function of one bundle, in one environment, again and again.

Started as ``weftwork.node.worker:main SOCKET TOKENS BELL``, three descriptors, with its log as 1 and 2; never through
multiprocessing, so that nobody's ``__main__`` is run again. All it hears and says are frames
(:mod:`weftwork.node.frames`); nothing is unpickled.

**Set-up.** The first frame brings the bundle, the environment and the folders. The answer is ``ready``, or
``refused`` with an error: a bundle that is not what its name or identity says, an environment that differs here, code
that cannot be loaded. A worker that refused ends; nothing was run.

**Calls** arrive in batches, numbered upwards. Each has a *token*, its number, in a pipe that the engine can read too:
before a call its token is taken, and its result is sent before the next token is. So whatever tokens are left in the
pipe were not begun, the engine can take them back at any time, and when the worker dies at most one call was begun
and has no result. The bell is rung (a byte in a pipe) when results wait and nothing else will tell soon.

**The end.** When the engine is gone the worker is killed by the kernel, where that can be asked for, and ends by
itself elsewhere. A worker that can no longer vouch for the surroundings of the next call says so and ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
from typing import Any, Final

from weftwork.core.bundle import identity
from weftwork.core.checksum import Checksum, from_canonical
from weftwork.core.module import Module
from weftwork.core.values import Type
from weftwork.errors import CalculationFailed, Corrupt, MissingInputs, Raised, SiteFailed, WeftError
from weftwork.node import audit, stated, unbundle
from weftwork.node.calls import Caller, Result
from weftwork.node.frames import Frame, Unpacker, pack, pack_result
from weftwork.node.handover import Inputs, Spool
from weftwork.node.surroundings import Surroundings

TOKEN: Final = struct.Struct("=Q")
"""A token: the number of a call."""

LOST_CHANNEL: Final = 97
"""Exit code of a worker whose function closed the descriptors of the channel."""

_RING_AFTER: Final = 0.002
_MEMORY_FROM: Final = 0.005
"""Seconds from which on a call's memory is told: reading it takes some of them."""
_MOST_SHAPES: Final = 1000
_RECEIVE: Final = 1 << 18
_AT_ONCE: Final = int(socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
_PR_SET_PDEATHSIG: Final = 1


class Channel:
    """The three descriptors to the engine."""

    def __init__(self, sock: int, tokens: int, bell: int) -> None:
        for descriptor in (sock, tokens, bell):
            os.set_inheritable(descriptor, False)
        self._socket = socket.socket(fileno=sock)
        self._tokens = tokens
        self._bell = bell
        self._unpacker = Unpacker()
        self._waiting = select.poll()
        self._waiting.register(tokens, select.POLLIN)
        self._rung = 0.0

    def receive(self) -> Frame:
        """The next frame. Raises ``EOFError`` when the engine is gone."""
        while (frame := self._unpacker.next()) is None:
            data = self._socket.recv(_RECEIVE)
            if not data:
                raise EOFError
            self._unpacker.feed(data)
        return frame

    def send(self, frame: bytes, *, ring: bool = False) -> None:
        """Send a frame. The bell is rung when it must be read now, or was last rung a while ago."""
        try:
            sent = self._socket.send(frame, _AT_ONCE)
        except BlockingIOError:
            sent = 0
        if sent < len(frame):
            self.ring()
            self._socket.sendall(frame[sent:], int(socket.MSG_NOSIGNAL))
            self.ring()
        elif ring or time.monotonic() - self._rung > _RING_AFTER:
            self.ring()

    def ring(self) -> None:
        self._rung = time.monotonic()
        os.write(self._bell, b"!")

    def token(self) -> int:
        """Take the next token, waiting for it. Raises ``EOFError`` when the engine is gone."""
        while True:
            try:
                data = os.read(self._tokens, TOKEN.size)
            except BlockingIOError:
                self._waiting.poll()
                continue
            if not data:
                raise EOFError
            return int(TOKEN.unpack(data)[0])


class Worker:
    """The loop of a worker."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._pid = os.getpid()
        self._calls: dict[int, tuple[list[Any], list[bytes]]] = {}
        self._modules: dict[str, Module] = {}
        self._shapes: dict[int, tuple[Module, list[tuple[str, Type]]]] = {}
        self._outputs: dict[tuple[Any, ...], tuple[list[Type], bytes]] = {}

    def run(self) -> None:
        """Serve until the engine is gone, or until this worker has to be replaced."""
        frame = self._channel.receive()
        try:
            self._set_up(frame)
        except BaseException as error:
            self._surroundings.take_log()
            self._channel.send(pack({"refused": _refusal(error).document()}), ring=True)
            return
        self._channel.send(pack({"ready": os.getpid(), "log_end": self._surroundings.log_end}), ring=True)
        while self._serve_one(self._channel.token()) is None:
            pass

    def _set_up(self, frame: Frame) -> None:
        settings = frame.header["set up"]
        self._surroundings = Surroundings(settings["scratch"], os.dup(1))
        stated.check(settings["environment"])
        self._inputs = Inputs(settings["inputs"], self._fetch)
        spool = Spool(settings["spool"], settings["prefix"], settings["scratch"])
        document = _checked(frame.blobs[0], settings)
        # Not among the temporary files: these are emptied after each call.
        within = os.path.join(os.path.dirname(settings["scratch"]), "files")
        os.makedirs(within, exist_ok=True)
        function, self._state = unbundle.load_with_state(document, self._inputs.get, within)
        roots = audit.bundle_roots(document)
        packages = settings["environment"].get("packages") or {}
        ignored = [within, *(settings[name] for name in ("scratch", "inputs", "spool"))]
        watch = audit.Watch(roots, packages=packages, ignored=ignored)
        self._caller = Caller(function, watch, self._inputs, spool)
        self._inputs.after_call()
        self._memory = _PeakMemory()
        # What is loaded by now stays: collections need not look at it again.
        gc.freeze()
        self._surroundings.ready(packages)

    def _serve_one(self, number: int) -> str | None:
        """One call; the reason to end, if there is one."""
        while number not in self._calls:
            self._accept(self._channel.receive())
        call, blobs = self._calls.pop(number)
        if len(self._calls) and next(iter(self._calls)) < number:
            # Their tokens were taken back.
            self._calls = {each: what for each, what in self._calls.items() if each > number}
        _, shape, key, inputs = call
        self._surroundings.enter(key)
        self._memory.reset()
        module, named = self._shapes[shape]
        given = [(name, kind, self._given(where, blobs)) for (name, kind), where in zip(named, inputs, strict=True)]
        result = self._caller.call(module, given)
        # The next call begins as the first one did: what it gives must not depend on which calls came before.
        self._state.restore()
        return self._report(number, result)

    def _given(self, where: Any, blobs: list[bytes]) -> bytes | Checksum:
        """An input's canonical bytes, or its checksum, under which its bytes are then known."""
        if type(where) is int:
            return blobs[where]
        checksum = Checksum(where[0])
        if where[1] is not None:
            self._inputs.give(checksum, where[1] if isinstance(where[1], str) else blobs[where[1]])
        return checksum

    def _report(self, number: int, result: Result) -> str | None:
        if os.getpid() != self._pid:
            # The function forked, and this is the copy: it has nothing to say.
            os._exit(0)
        surroundings = self._surroundings
        more = self._beside_outputs(result)
        blobs = [more.pop("log")] if "log" in more else []
        memory = self._memory.read() if result.seconds > _MEMORY_FROM else None
        self._inputs.after_call()
        reason = surroundings.leave()
        if more or blobs or memory is not None or reason is not None:
            header = {"n": number, "at": result.began, "s": result.seconds, "log_end": surroundings.log_end, **more}
            header |= {"log": 1} if blobs else {}
            header |= {"memory": memory} if memory is not None else {}
            header |= {"retire": reason} if reason is not None else {}
            if result.error is None:
                header["out"] = [[name, kind.document(), _placed(data, blobs)] for name, kind, data in result.outputs]
                header["buffers"] = [_placed(data, blobs) for data in result.buffers]
            frame = _packed(header, blobs)
        else:
            outputs = self._outputs_text(result.outputs)
            data: list[Any] = [data for _, _, data in result.outputs]
            frame = pack_result(number, surroundings.log_end, result.began, result.seconds, outputs, data)
        self._channel.send(frame, ring=not self._calls or reason is not None)
        return reason

    def _beside_outputs(self, result: Result) -> dict[str, Any]:
        """What a result has to tell that most have not: only then it needs a header of its own."""
        found: dict[str, Any] = {}
        log = self._surroundings.take_log()
        if log:
            found["log"] = log
        if self._surroundings.warnings:
            found["warnings"] = self._surroundings.warnings
        if result.outside:
            found["outside"] = result.outside
        if result.error is not None:
            found["error"] = result.error.document()
        elif result.buffers or any(type(data) is not bytes for _, _, data in result.outputs):
            found["buffers"] = []
        return found

    def _outputs_text(self, outputs: list[tuple[str, Type, bytes | str]]) -> bytes:
        """The outputs' names and types with the numbers of their blobs, as JSON; for most calls the text of the last."""
        known = tuple([(name, id(kind)) for name, kind, _ in outputs])
        found = self._outputs.get(known)
        if found is None:
            told = [[name, kind.document(), at] for at, (name, kind, _) in enumerate(outputs)]
            if len(self._outputs) > _MOST_SHAPES:
                self._outputs.clear()
            # The types are kept, so that their identities are not given to others.
            found = self._outputs[known] = [kind for _, kind, _ in outputs], json.dumps(told).encode("ascii")
        return found[1]

    def _accept(self, frame: Frame) -> None:
        """A batch of calls, with the modules and shapes that they name for the first time."""
        for checksum, document in frame.header.get("modules", {}).items():
            self._modules[checksum] = Module.of(document)
        for shape, module, inputs in frame.header.get("shapes", ()):
            self._shapes[shape] = self._modules[module], [(name, Type.of(kind)) for name, kind in inputs]
        for call in frame.header["calls"]:
            self._calls[call[0]] = (call, frame.blobs)

    def _fetch(self, checksum: Checksum) -> bytes | str:
        """Ask the engine for a buffer that did not come with the call, such as a file in a directory."""
        self._channel.send(pack({"need": checksum}), ring=True)
        while True:
            frame = self._channel.receive()
            if frame.header.get("have") != checksum:
                self._accept(frame)
            elif "path" in frame.header:
                return str(frame.header["path"])
            elif frame.blobs:
                return frame.blobs[0]
            else:
                raise MissingInputs(f"the bytes of {checksum} are not in the store", checksums=[checksum])


def _checked(data: bytes, settings: dict[str, Any]) -> Any:
    """The bundle's document, when it is what its name and the program's identity say."""
    if Checksum.of(data) != settings["bundle"]:
        raise Corrupt(f"the bundle {settings['bundle']} has the checksum {Checksum.of(data)}")
    document = from_canonical(data)
    found = identity(document)
    if found != settings["identity"]:
        raise Corrupt(f"the program should have the identity {settings['identity']} and has {found}; nothing was run")
    return document


def _refusal(error: BaseException) -> WeftError:
    """Why a worker cannot be set up: the site's fault, or that of the program's own code."""
    if isinstance(error, (SiteFailed, CalculationFailed, Corrupt, MissingInputs)):
        return error
    import traceback

    text = "".join(traceback.format_exception(error))
    return Raised(f"the program cannot be loaded: {type(error).__qualname__}: {error}", traceback=text)


def _placed(data: bytes | str, blobs: list[bytes]) -> int | str:
    """A path as it is; bytes as the number of their blob."""
    if isinstance(data, str):
        return data
    blobs.append(data)
    return len(blobs) - 1


def _packed(header: dict[str, Any], blobs: list[bytes]) -> bytes:
    try:
        return pack(header, blobs)
    except (TypeError, ValueError) as error:
        # Details of an error that the function raised may be anything.
        told = header.get("error") or {"type": "Lost", "message": f"the result cannot be sent: {error}"}
        return pack({**header, "out": [], "error": {**told, "details": {}}}, blobs)


class _PeakMemory:
    """The most resident memory since it was last read, by ``/proc`` (Linux); elsewhere that of the process's life.

    It is read after calls of some duration alone: what a short call before took counts for the next longer one.
    """

    def __init__(self) -> None:
        self._was_read = True
        try:
            self._reset: int | None = os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            self._reset = None

    def reset(self) -> None:
        if self._reset is not None and self._was_read:
            self._was_read = False
            try:
                os.write(self._reset, b"5")
            except OSError:
                self._reset = None

    def read(self) -> int:
        import resource

        self._was_read = True
        if self._reset is not None:
            with open("/proc/self/status", "rb", buffering=0) as file:
                for line in file.readall().splitlines():
                    if line.startswith(b"VmHWM:"):
                        return int(line.split()[1]) * 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak * (1 if sys.platform == "darwin" else 1024)


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, also inside a long call into C; else look now and then."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.killpg(0, signal.SIGKILL)

    if not sys.platform.startswith("linux") or os.environ.get("WEFT_PORTABLE") == "1":
        threading.Thread(target=watch, name="weft-watch", daemon=True).start()


def main(arguments: list[str]) -> None:
    """Run a worker: ``PARENT SOCKET TOKENS BELL``."""
    parent, sock, tokens, bell = map(int, arguments)
    _die_with(parent)
    for name in [name for name in os.environ if name.startswith("PYTHON")]:
        del os.environ[name]
    try:
        Worker(Channel(sock, tokens, bell)).run()
    except (EOFError, ConnectionError):
        os._exit(0)
    except OSError as error:
        # The function closed descriptors that it had not opened: this call cannot be answered.
        os.write(2, f"the worker lost its channel: {error}\n".encode())
        os._exit(LOST_CHANNEL)
    finally:
        sys.stdout.flush()
    os._exit(0)

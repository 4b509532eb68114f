"""Calls of functions as job folders: what a worker would be sent goes into a file, and what it says comes out of one.

A call's folder holds all that it needs but what lies in the store as files: nodes read these where they are. Guarantees:
a folder that is there already is the call's own, and is joined; what a call gave is read only from a folder whose
outcome says that the call ended well.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from weftwork.core import codecs
from weftwork.core.bundle import blobs
from weftwork.core.checksum import Checksum, from_canonical
from weftwork.core.module import Function
from weftwork.core.values import Ref, Type
from weftwork.errors import Lost, WeftError, from_document
from weftwork.node.calling import pack_sources
from weftwork.node.frames import Unpacker, pack
from weftwork.node.job import JOB, FileInput, Job, Limits, Output, write_job
from weftwork.node.outcome import read_outcome
from weftwork.ports import Call, CallOutcome, Process, Report, Store
from weftwork.sites.nodeprogram import node_program
from weftwork.sites.schedulers.workers.process import Setup
from weftwork.sites.schedulers.workers.wire import Batches, Results

_INLINE: Final = 1 << 20
_LOG: Final = 1 << 20
_FOLDERS: Final = ("scratch", "files", "inputs", "spool")


class Calls:
    """Makes job folders of calls below ``home/jobs``, and reads back what they gave."""

    def __init__(self, home: Path, store: Store) -> None:
        self._home = home
        self._store = store

    def process(self, call: Call) -> Process:
        """On a thread: the call as a task of the command lane. Raises MissingInputs where bytes are gone."""
        folder = self._home / "jobs" / call.name
        if not (folder / JOB).exists():
            self._write(call, folder)
        return Process(call.name, call.job, folder, call.resources)

    def _write(self, call: Call, folder: Path) -> None:
        work = folder / "work"
        for name in _FOLDERS:
            (work / name).mkdir(parents=True, exist_ok=True)
        program = call.module.program
        assert isinstance(program, Function)
        bundle = self._store.get(Checksum(program.bundle))
        environment = call.calculation.frame.environment
        setup = Setup(bundle, program.bundle, program.identity, environment, call.resources.cpus)
        settings = {
            "bundle": setup.checksum,
            "identity": setup.identity,
            "environment": dict(setup.environment),
            "scratch": str(work / "scratch"),
            "inputs": str(work / "inputs"),
            "spool": str(work / "spool"),
            "prefix": "call",
        }
        given: dict[Checksum, bytes | str] = {}
        rest: dict[str, bytes | str] = {}
        for _, ref in call.calculation.inputs:
            given[ref.checksum] = self._source(ref)
            self._gather(ref, rest)
        for checksum in blobs(from_canonical(bundle)):
            rest[checksum] = self._source(Ref(Type("bytes"), checksum, -1))
        frames = b"".join(
            (pack_sources(rest), pack({"set up": settings}, [bundle]), Batches().pack([(1, call)], given))
        )
        source = folder / "call"
        source.write_bytes(frames)
        limits = Limits(call.resources.time, call.resources.memory, call.resources.disk)
        node = node_program(self._home / "node")
        job = Job(
            id=call.name,
            command=(sys.executable, "-P", str(node), "call", "../inputs/call", "result"),
            environment=setup.variables(str(work / "scratch")),
            inputs=(FileInput("inputs/call", Checksum.of(frames), len(frames), source=str(source)),),
            outputs=(Output("result", "result"),),
            limits=limits,
        )
        write_job(str(folder), job)

    def _source(self, ref: Ref) -> bytes | str:
        """The bytes of a small buffer, the path of a large one."""
        path = self._store.path(ref.checksum)
        if path is not None and (ref.type.name == "file" or path.stat().st_size > _INLINE):
            return str(path)
        return self._store.get(ref.checksum)

    def _gather(self, ref: Ref, found: dict[str, bytes | str]) -> None:
        """What a value holds, at any depth."""
        if not codecs.has_links(ref.type):
            return
        for _, item in codecs.items(ref.type, self._store.get(ref.checksum)):
            if item.checksum not in found:
                found[item.checksum] = self._source(item)
                self._gather(item, found)

    def report(self, call: Call, ended: Report) -> Report:
        """On a thread: how a call ended, out of how its folder did."""
        folder = self._home / "jobs" / call.name
        outcome = read_outcome(str(folder))
        error = ended.error or (Lost(f"{call.name} left no outcome") if outcome is None else outcome.error)
        told = self._told(folder) if error is None else CallOutcome(error=error, log=_log(folder))
        if outcome is not None:
            told = CallOutcome(
                told.outputs, told.buffers, told.error, {"host": outcome.host, **told.observed}, told.log
            )
        return Report(call.name, "ended", told)

    def _told(self, folder: Path) -> CallOutcome:
        try:
            said = Unpacker()
            said.feed((folder / "work" / "result").read_bytes())
            while (frame := said.next()) is not None:
                if "refused" in frame.header:
                    return CallOutcome(error=from_document(frame.header["refused"]), log=_log(folder))
                if "n" in frame.header:
                    return Results().outcome(frame)
        except (OSError, WeftError) as error:
            return CallOutcome(error=Lost(f"what the call gave cannot be read: {error}"))
        return CallOutcome(error=Lost("the call ended well and gave nothing"), log=_log(folder))


def _log(folder: Path) -> bytes:
    """What a call wrote to both streams that could not say so itself."""
    out = b""
    for name in ("work/log", "stdout", "stderr"):
        try:
            out += (folder / name).read_bytes()[-_LOG:]
        except OSError:
            continue
    return out

"""Runs one job folder from ``job.json`` to ``outcome.json``.

Phases, each with what then holds:

1. **Claim.** ``started.jsonl`` exists and names this runner; nobody else will ever run this folder.
2. **Prepare.** Inputs lie in the folder, verified; the programs are what the key says. Nothing has run.
3. **Run.** The command runs in a session of its own, in ``work/``, with exactly the environment of ``job.json``; its streams
   are files. It is over when its main process has ended, or was ended for passing a limit or being cancelled.
4. **Sweep.** No process of the command is left.
5. **Gather.** Outputs are hashed.
6. **Tell.** ``outcome.json`` is there, whole. It is written whatever failed before; only a runner that dies or was told
   to abandon the job leaves none, and then the job counts as lost.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from weftwork.errors import (
    CalculationFailed,
    Cancelled,
    DiskLimit,
    EnvironmentDiffers,
    ExitCode,
    Invalid,
    Signalled,
    SiteFailed,
    WeftError,
)
from weftwork.node import claim, disk
from weftwork.node.contained import Contained
from weftwork.node.container import Container
from weftwork.node.job import STREAMS, Job, read_job
from weftwork.node.materialise import Programs, materialise
from weftwork.node.outcome import Outcome, write_outcome
from weftwork.node.outputs import gather
from weftwork.node.request import Request
from weftwork.node.sweep import Children, Command, Ended
from weftwork.node.watch import STREAM_CAP, Watch, disk_limit

_TAIL_LINES: Final = 10
_TAIL_BYTES: Final = 2000
_KEPT_OF_STREAMS: Final = 1 << 20


@dataclass(slots=True)
class Runner:
    """What the runs of one process share: its children, and the programs whose checksums it knows.

    It belongs in a process of its own, a supervisor or a node program: it takes every child of the process that it did
    not start for an orphan of its commands.
    """

    children: Children = field(default_factory=Children)
    programs: Programs = field(default_factory=Programs)

    def run(
        self, folder: str, request: Request | None = None, started: Callable[[int], None] = lambda pid: None
    ) -> Outcome | None:
        """Run the folder and return its outcome, which is then on disk; ``None`` when it was abandoned.

        ``folder`` is a real path: absolute, and no link. ``started`` is called with the pid once the command runs. Failures of the job are in the outcome, never
        raised. Raises :class:`~weftwork.errors.Conflict` when the folder was claimed before,
        :class:`~weftwork.errors.NotFound` when it is not there, ``OSError`` when no outcome can be written.
        """
        held = claim.claim(folder)
        attempt = _Attempt(self, folder, held, request or Request(), started)
        told = False
        try:
            outcome = attempt.run()
            if outcome is not None:
                _tell(folder, outcome)
                told = True
        finally:
            if not told:
                claim.note_lost(held)
            os.close(held)
            if request is None:
                attempt.request.close()
        return outcome


@dataclass(slots=True)
class _Attempt:
    runner: Runner
    folder: str
    held: int
    request: Request
    on_start: Callable[[int], None]
    found: dict[str, Any] = field(default_factory=dict)
    """What the outcome will say, as far as it is known."""

    def run(self) -> Outcome | None:
        error: WeftError | None = None
        try:
            self._run()
        except WeftError as failure:
            error = failure
        except OSError as failure:
            error = _site_error(failure)
        except UnicodeEncodeError as failure:
            error = Invalid(f"job.json holds text that cannot be a path or a word of a command: {failure}")
        if self.request.abandoned:
            return None
        told = {"id": "", **self.found}
        return Outcome(error=error, ended=time.time(), host=socket.gethostname(), **told)

    def _run(self) -> None:
        job = read_job(self.folder)
        self._update(id=job.id)
        materialise(self.folder, job)
        self.runner.programs.check(job)
        self._heed()
        if self.request.abandoned:
            return
        self._update(started=time.time())
        environment = _environment(self.folder, job)
        if job.container is None:
            watch, ended = self._watched(job, job.command, environment)
        else:
            watch, ended = self._contained(job, job.container, environment)
        if not self.request.abandoned:
            self._conclude(job, watch, ended)

    def _contained(self, job: Job, container: Container, environment: dict[str, str]) -> tuple[Watch, Ended]:
        """The command in its container; nothing of that is left on return, whatever happened."""
        with Contained(self.runner.children, self.folder, container, job.command, environment) as contained:
            self._heed()
            watch, ended = self._watched(job, contained.words, environment, contained.ask)
            if watch.verdict is None and ended.began and not self.request.abandoned:
                ended = contained.concluded(ended, _tail(os.path.join(self.folder, "stderr")))
                contained.fetch()
        return watch, ended

    def _watched(
        self,
        job: Job,
        words: tuple[str, ...],
        environment: dict[str, str],
        ask: Callable[[Command], None] = Command.ask,
    ) -> tuple[Watch, Ended]:
        """Start the words, and hold them to the limits of the job until nothing of them is left."""
        base = disk.used(self.folder) if job.limits.disk is not None else 0
        limits = job.limits
        if job.container is not None and job.container.detached:
            # What runs here only hands on: what it takes of memory is not the program's.
            limits = replace(limits, memory=None, processes=None)
        command = self._start(job, words, environment)
        watch = Watch(self.runner.children, command, limits, self.request, base, ask)
        try:
            claim.note_started(self.held, command.pid, command.started)
            self.on_start(command.pid)
            watch.until_end()
        finally:
            ended = self.runner.children.end(command)
        return watch, ended

    def _heed(self) -> None:
        """Raise what a job ends with that was cancelled before its program ran."""
        self.request.look(self.folder)
        if self.request.by is not None:
            raise Cancelled(f"cancelled by {self.request.by} before it started", by=self.request.by)

    def _start(self, job: Job, words: tuple[str, ...], environment: dict[str, str]) -> Command:
        stdin = os.devnull if job.stdin is None else os.path.join(self.folder, job.stdin)
        with contextlib.ExitStack() as stack:
            streams = [_open(stack, stdin, os.O_RDONLY)]
            streams += [
                _open(stack, os.path.join(self.folder, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                for name in STREAMS
            ]
            try:
                return self.runner.children.spawn(
                    self.folder,
                    words,
                    os.path.join(self.folder, job.work),
                    environment,
                    (streams[0], streams[1], streams[2]),
                )
            except OSError as error:
                raise _not_started(self.folder, job, words[0], environment, error) from None

    def _conclude(self, job: Job, watch: Watch, ended: Ended) -> None:
        usage = {"cpu": round(ended.cpu, 6), "memory": max(ended.memory, watch.memory), "disk": watch.disk}
        if job.container is not None and job.container.detached:
            usage = {"disk": watch.disk}  # the processes were the engine's
        self._update(exit_code=ended.exit_code, signal=ended.signal, usage=usage)
        if watch.verdict is not None:
            _cap_streams(self.folder, STREAM_CAP if job.limits.disk is None else job.limits.disk)
            raise watch.verdict
        if not ended.began:
            raise SiteFailed(
                f"the process that was to become {job.command[0]} was killed by signal {ended.signal} before it did: "
                "the program never ran"
            )
        if watch.disk_was_full or disk.is_full(self.folder):
            raise DiskLimit("the disk is full: what the job wrote may be incomplete; make room and run it again")
        if job.limits.disk is not None:
            self._check_disk(job.limits.disk, watch)
        elif disk.streams(self.folder) > STREAM_CAP:
            _cap_streams(self.folder, STREAM_CAP)
            raise disk_limit(disk.streams(self.folder), STREAM_CAP)
        if ended.exit_code != 0:
            raise _program_error(self.folder, ended)
        self._update(outputs=gather(self.folder, job))

    def _check_disk(self, limit: int, watch: Watch) -> None:
        used = watch.measure_disk()
        self._update(usage={**self.found["usage"], "disk": used})
        if used > limit:
            raise disk_limit(used, limit)

    def _update(self, **changes: object) -> None:
        self.found.update(changes)


def _environment(folder: str, job: Job) -> dict[str, str]:
    """The job's variables; HOME and TMPDIR in the folder unless the job names them; the mark of the folder."""
    environment = dict(job.environment)
    for name, directory in (("HOME", "home"), ("TMPDIR", "tmp")):
        path = environment.setdefault(name, os.path.join(folder, directory))
        if path.startswith(folder + "/"):
            os.makedirs(path, exist_ok=True)
    environment["WEFT_JOB"] = folder
    return environment


def _open(stack: contextlib.ExitStack, path: str, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o644)
    stack.callback(os.close, descriptor)
    return descriptor


def _not_started(folder: str, job: Job, word: str, environment: dict[str, str], error: OSError) -> WeftError:
    if error.errno in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE):
        return SiteFailed(f"the node could not start {word}: {error.strerror}")
    if error.errno == errno.E2BIG:
        return CalculationFailed(f"the command line of {word} and its environment are longer than the system takes")
    path = os.path.normpath(os.path.join(folder, job.work, word))
    if "/" in word and path.startswith(folder + "/"):
        code = 127 if error.errno == errno.ENOENT else 126
        return ExitCode(f"{word} cannot be run: {error.strerror}", exit_code=code)
    where = "" if "/" in word else f" on PATH={environment.get('PATH', os.defpath)}"
    return EnvironmentDiffers(f"the program {word} cannot be run here{where}: {error.strerror}", program=word)


def _program_error(folder: str, ended: Ended) -> WeftError:
    tail = _tail(os.path.join(folder, "stderr"))
    said = f"; its last words on stderr:\n{tail}" if tail else ", and nothing on stderr"
    if ended.signal is None:
        return ExitCode(
            f"the program ended with exit code {ended.exit_code}{said}", exit_code=ended.exit_code, stderr=tail
        )
    perhaps = ", perhaps for want of memory" if ended.signal == 9 else ""
    return Signalled(
        f"the program was killed by signal {ended.signal}{perhaps}{said}", signal=ended.signal, stderr=tail
    )


def _tail(path: str) -> str:
    """The last lines of a text, whatever its bytes are."""
    try:
        with os.fdopen(_reopen(path, os.O_RDONLY), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            text = file.read(_TAIL_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.strip().splitlines()[-_TAIL_LINES:])


def _cap_streams(folder: str, cap: int) -> None:
    """Cut what was written to a stream before the limit was noticed, so that logs stay within it."""
    for name in STREAMS:
        with contextlib.suppress(OSError), os.fdopen(_reopen(os.path.join(folder, name), os.O_RDWR), "r+b") as file:
            if os.fstat(file.fileno()).st_size > cap:
                file.truncate(cap)


def _reopen(path: str, flags: int) -> int:
    """Open a stream's file again: it may be a link or a pipe by now, and is neither followed nor waited for."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a file", path)
    return descriptor


def _site_error(error: OSError) -> WeftError:
    if disk.is_full_error(error):
        return DiskLimit(f"the disk is full: {error.strerror}: {error.filename}")
    return SiteFailed(f"the node failed at the job: {error.strerror or error}: {error.filename}")


def _tell(folder: str, outcome: Outcome) -> None:
    try:
        write_outcome(folder, outcome)
    except PermissionError:
        os.chmod(folder, 0o700)  # the job closed its folder
        write_outcome(folder, outcome)
    except OSError as error:
        if not disk.is_full_error(error):
            raise
        failure = outcome.error or DiskLimit("the disk is full: there was no room to write down the outcome")
        _tell_on_full_disk(folder, replace(outcome, error=failure, outputs={}))


def _tell_on_full_disk(folder: str, outcome: Outcome) -> None:
    """Make room for the news: what the job made is lost, and the news says so."""
    for name in ("work", "tmp", "home", "inputs"):
        shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
    for cap in (_KEPT_OF_STREAMS, 0):
        _cap_streams(folder, cap)
        with contextlib.suppress(OSError):
            return write_outcome(folder, outcome)
    return write_outcome(folder, outcome)

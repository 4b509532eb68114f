"""A command in its container, from before it starts until nothing of it is left: the words of :mod:`weftwork.node.container`, run.

Everything that is started here is a child that the sweep knows, so that no other job takes it for an orphan of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import tarfile
import tempfile
from dataclasses import replace
from typing import IO, Any, Final, Self

from weftwork.errors import ExitCode, MemoryLimit, SiteFailed
from weftwork.node import processes
from weftwork.node.container import FOLDERS, PATIENCE, ROOT, Container, expand
from weftwork.node.materialise import discard
from weftwork.node.sweep import Children, Command, Ended

_OVER: Final = frozenset({"exited", "stopped", "dead"})
_SOON: Final = 10.0  # seconds in which an engine must have heard what must not wait
_SIGNALS: Final = frozenset(int(number) for number in signal.Signals)


class Contained:
    """One command in its container, from before it starts until nothing of it is left.

    A context: on entering, all is prepared (raises :class:`~weftwork.errors.SiteFailed`); on leaving, the container is
    removed in every case. ``words`` are what is to be started in between.
    """

    def __init__(
        self,
        children: Children,
        folder: str,
        container: Container,
        command: tuple[str, ...],
        environment: dict[str, str],
    ) -> None:
        self._children = children
        self._folder = folder
        self._container = container
        self._command = command
        self._environment = environment

    @property
    def words(self) -> tuple[str, ...]:
        return expand(self._container.start, self._folder, self._command)

    def __enter__(self) -> Self:
        for name in FOLDERS:
            os.makedirs(os.path.join(self._folder, name), exist_ok=True)
        try:
            for words in self._container.prepare:
                self._must(words, "cannot make a container")
            self._send()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._container.remove is not None:
            self._call(self._container.remove)

    def ask(self, command: Command) -> None:
        """Ask the program to end, by whatever way a signal reaches it."""
        if self._container.ask is not None:
            self._call(self._container.ask, _SOON)
        elif self._container.spared:
            for process in self._children.note(command, processes.table()):
                if process.pid != command.pid:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(process.pid, signal.SIGTERM)
        else:
            command.ask()

    def concluded(self, ended: Ended, stderr: str) -> Ended:
        """How the command ended, on the word of what enforced its limits; ``stderr`` are its last lines.

        Raises :class:`~weftwork.errors.MemoryLimit`, :class:`~weftwork.errors.ExitCode` where the image has no such program,
        :class:`~weftwork.errors.SiteFailed` where the container and not the program failed.
        """
        container = self._container
        if container.inspect is not None:
            ended = self._told(ended, stderr)
        if ended.exit_code:
            self._blame(stderr, ended.exit_code)
        if container.shell_codes and ended.exit_code is not None and ended.exit_code - 128 in _SIGNALS:
            ended = replace(ended, exit_code=None, signal=ended.exit_code - 128)
        return ended

    def fetch(self) -> None:
        """Bring back what was made where this node does not see it. What was sent there is not what comes back."""
        if self._container.fetch is None:
            return
        with tempfile.TemporaryFile(dir=self._folder) as archive:
            self._must(self._container.fetch, "cannot give back what was made in the container", out=archive)
            archive.seek(0)
            discard(os.path.join(self._folder, "work"))
            with tarfile.open(fileobj=archive) as tar:
                if hasattr(tarfile, "tar_filter"):
                    tar.extractall(self._folder, filter="tar")
                else:
                    tar.extractall(self._folder)

    def _send(self) -> None:
        """The job's folders, as an archive in which all is the user's."""
        if self._container.send is None:
            return
        with tempfile.TemporaryFile(dir=self._folder) as archive:
            with tarfile.open(fileobj=archive, mode="w") as tar:
                for name in FOLDERS:
                    tar.add(os.path.join(self._folder, name), f"{ROOT.strip('/')}/{name}")
            archive.seek(0)
            self._must(self._container.send, "cannot take in what the job needs", given=archive)

    def _told(self, ended: Ended, stderr: str) -> Ended:
        """What the engine says of the container's end."""
        assert self._container.inspect is not None
        runtime = self._container.runtime
        code, out, err = self._call(self._container.inspect)
        try:
            state = json.loads(out)
            status, exit_code, oom = str(state["status"]), int(state["exit_code"]), bool(state["oom"])
        except (ValueError, KeyError, TypeError):
            raise SiteFailed(
                f"{runtime} does not say how the container ended: {_last(err) or f'exit code {code}'}"
            ) from None
        if state.get("error"):
            self._blame(str(state["error"]), exit_code)
            raise SiteFailed(f"{runtime} could not run the container: {state['error']}")
        if exit_code and (oom or self._in_kernel_log(exit_code, str(state.get("id", "")))):
            raise MemoryLimit(
                "the kernel ended the program for using more memory than its limit",
                exit_code=exit_code,
            )
        if status not in _OVER or exit_code != ended.exit_code:
            # Whoever handed the streams on gave up: what was written may be incomplete, or nothing ran at all.
            raise SiteFailed(
                f"{runtime} let go of the container ({status}, exit code {exit_code}) with exit code {ended.exit_code}: {_last(stderr)}"
            )
        return ended

    def _in_kernel_log(self, exit_code: int, container: str) -> bool:
        """Whether the kernel tells of a program that it ended in this container. Some engines do not hear of it themselves."""
        if exit_code - 128 != signal.SIGKILL or not container:
            return False
        words = ("sh", "-c", 'dmesg | grep -F "oom_memcg=" | grep -c -F "$0"', container)
        return self._call(words, _SOON)[0] == 0

    def _blame(self, text: str, code: int) -> None:
        container, line = self._container, _last(text)
        if container.absent is not None and re.search(container.absent, text, re.MULTILINE):
            program = self._command[0]
            raise ExitCode(
                f"the image has no program {program!r} that can be run; name one that is in it, or its full path ({line})",
                exit_code=127,
                stderr=text,
            )
        if container.fault is not None and re.search(container.fault, text, re.MULTILINE):
            raise SiteFailed(f"{container.runtime} could not run the container: {line}", exit_code=code)

    def _must(
        self, words: tuple[str, ...], what: str, *, given: IO[bytes] | None = None, out: IO[bytes] | None = None
    ) -> None:
        code, _, err = self._call(words, given=given, out=out)
        if code != 0:
            self._blame(err, code)
            raise SiteFailed(f"{self._container.runtime} {what}: {_last(err) or f'exit code {code}'}")

    def _call(
        self,
        words: tuple[str, ...],
        patience: float = PATIENCE,
        given: IO[bytes] | None = None,
        out: IO[bytes] | None = None,
    ) -> tuple[int, str, str]:
        """Run words of ours as a child that the sweep knows, and read what they said."""
        with contextlib.ExitStack() as stack:
            given = given or stack.enter_context(open(os.devnull, "rb"))
            said = out or stack.enter_context(tempfile.TemporaryFile(dir=self._folder))
            err = stack.enter_context(tempfile.TemporaryFile(dir=self._folder))
            try:
                command = self._children.spawn(
                    self._folder,
                    expand(words, self._folder, self._command),
                    self._folder,
                    self._environment,
                    (given.fileno(), said.fileno(), err.fileno()),
                )
            except OSError as error:
                raise SiteFailed(f"{words[0]} cannot be run on this node: {error.strerror}", program=words[0]) from None
            self._children.wait(command, patience)
            ended = self._children.end(command)
            code = -1 if ended.exit_code is None else ended.exit_code
            return code, _read(said), _read(err)


def _read(file: Any) -> str:
    file.seek(0)
    return bytes(file.read(1 << 16)).decode("utf-8", "replace")


def _last(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1].strip()[:500] if lines else ""

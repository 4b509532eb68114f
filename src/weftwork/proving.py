"""Proof of a site from end to end: small commands that run there, and what comes of them.

Each look is by itself: what one finds wrong does not keep the others from being made. Nothing of it answers any later
calculation, and nothing stays.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from weftwork.core.environment import Environment
from weftwork.core.module import Carried, Command, Input, Module, Output
from weftwork.core.placement import Placement
from weftwork.core.step import Overrides
from weftwork.core.values import Ref, Type
from weftwork.errors import (
    Cancelled,
    DiskLimit,
    ExitCode,
    Invalid,
    MemoryLimit,
    Signalled,
    TimeLimit,
    WeftError,
)
from weftwork.handles import Job
from weftwork.modules.prepared import Prepared

if TYPE_CHECKING:
    from weftwork.embedded import Embedded

PATIENCE: Final = 300.0
"""Seconds for a command to begin: it may wait in a queue."""

_SENT: Final = 1 << 20
_MEGABYTE: Final = 10**6

Verdict = Literal["yes", "no", "failed"]


@dataclass(frozen=True, slots=True)
class Look:
    """One thing that was tried. ``yes``: it holds; ``no``: it does not, and need not (a limit that the site cannot enforce);
    ``failed``: it must, and does not."""

    name: str
    verdict: Verdict
    detail: str = ""


def prove(session: Embedded, site: str, image: str | None = None) -> Iterator[Look]:
    """What holds at a site, one look after the other. Commands run in ``image`` where it is given.

    Raises :class:`~weftwork.errors.Refused` for a site that there is not, :class:`~weftwork.errors.Invalid` where the site
    runs commands in images alone and none is given.
    """
    proof = _Proof(session, site, image)
    session.engine.sites.named(site)
    looks: tuple[tuple[str, Callable[[], Look]], ...] = (
        ("image", proof.image),
        ("bytes both ways", proof.bytes),
        ("exit code", proof.exit_code),
        ("cancel", proof.cancel),
        ("time limit", proof.time_limit),
        ("memory limit", proof.memory_limit),
        ("disk limit", proof.disk_limit),
        ("read-only inputs", proof.read_only),
        ("no network", proof.network),
        ("clean up", proof.clean_up),
    )
    for name, look in looks:
        if image is None and name == "image":
            continue
        try:
            yield look()
        except Invalid:
            raise
        except WeftError as error:
            yield Look(name, "failed", f"{type(error).__name__}: {error}")


@dataclass(slots=True)
class _Proof:
    session: Embedded
    site: str
    image_name: str | None
    jobs: tuple[str, ...] = ()

    def _module(self, script: str) -> Module:
        return Module(
            "site_check",
            (Input("data", Type("file")),),
            (Output("out", Type("file")),),
            Command(script=script),
            Environment(image=self.image_name),
        )

    def _start(self, script: str, data: bytes = b"x", resources: Mapping[str, int] | None = None) -> Job:
        said = Overrides(self.site, tuple((resources or {}).items()), cache=False, retries=0)
        module = self._module(script)
        try:
            job = self.session.submit(Prepared.of(module, Carried()), {"data": self._file(data)}, said)
        except WeftError as error:
            if self.image_name is None and "declares no image" in str(error):
                raise Invalid(f"the site {self.site} runs commands in images alone: name one with --image") from error
            raise
        assert isinstance(job, Job)
        self.jobs = (*self.jobs, job.id)
        return job

    def _file(self, data: bytes) -> Ref:
        return Ref(Type("file"), self.session.home.store.put(data), len(data))

    # The looks

    def image(self) -> Look:
        engine, module = self.session.engine, self._module("true")
        placement = engine.placed(module, Overrides(self.site).placement(module.resources, Placement()))
        identity = engine.frame(module, placement).environment["image"]
        return Look("image", "yes", f"{self.image_name} counts as {identity[:12]}")

    def bytes(self) -> Look:
        sent, since = os.urandom(_SENT), time.monotonic()
        job = self._start('cat "$data" > "$out"', sent)
        got = self.session.home.store.get(job.record().output("out").checksum)
        if got != sent:
            return Look("bytes both ways", "failed", f"{len(sent)} bytes were sent, and {len(got)} others came back")
        host = job.record().observed.get("host", "?")
        return Look("bytes both ways", "yes", f"1 MiB there and back in {time.monotonic() - since:.1f} s, at {host}")

    def exit_code(self) -> Look:
        error = self._start("exit 7").exception()
        good = isinstance(error, ExitCode) and error.details.get("exit_code") == 7
        return Look("exit code", "yes" if good else "failed", "" if good else f"7 was told as {error!r}")

    def cancel(self) -> Look:
        job = self._start("sleep 600")
        until = time.monotonic() + PATIENCE
        while job.status == "queued" and time.monotonic() < until:
            time.sleep(0.05)
        if job.status != "running":
            return Look("cancel", "failed", f"a command did not begin within {PATIENCE:.0f} s: it is {job.status}")
        since = time.monotonic()
        job.cancel()
        error = job.exception(PATIENCE)
        good = isinstance(error, Cancelled)
        return Look(
            "cancel", "yes" if good else "failed", f"after {time.monotonic() - since:.1f} s" if good else f"{error!r}"
        )

    def time_limit(self) -> Look:
        return self._limit("time limit", TimeLimit, "sleep 100", time=2)

    def memory_limit(self) -> Look:
        # tail keeps in memory what it may have to print.
        eat = f"head -c {600 * _MEGABYTE} /dev/zero | tail -c {500 * _MEGABYTE} | head -c 1 > /dev/null"
        return self._limit("memory limit", MemoryLimit, f"{eat}; sleep 1", memory=100 * _MEGABYTE)

    def disk_limit(self) -> Look:
        write = f'head -c {100 * _MEGABYTE} /dev/zero > "$out"; sleep 1'
        return self._limit("disk limit", DiskLimit, write, disk=20 * _MEGABYTE)

    def _limit(self, name: str, expected: type[WeftError], script: str, **resources: int) -> Look:
        error = self._start(f'{script}; : >> "$out"', resources=resources).exception(PATIENCE)
        if isinstance(error, expected):
            return Look(name, "yes", str(error).splitlines()[0])
        if isinstance(error, Signalled):
            return Look(name, "yes", f"it is enforced, and told as {str(error).splitlines()[0]}")
        if error is None:
            return Look(name, "no", "a command that passed it ended well")
        return Look(name, "failed", f"{type(error).__name__}: {str(error).splitlines()[0]}")

    def read_only(self) -> Look:
        job = self._start('if ( echo y >> "$data" ) 2> /dev/null; then echo written; fi > "$out"')
        written = self._said(job)
        return Look(
            "read-only inputs", "no" if written else "yes", "a command could write to its input" if written else ""
        )

    def network(self) -> Look:
        said = self._said(self._start('cat /proc/net/dev > "$out" 2> /dev/null || echo unknown > "$out"'))
        names = [line.partition(":")[0].strip() for line in said.splitlines() if ":" in line]
        if not names:
            return Look("no network", "no", "what there is cannot be told")
        others = [name for name in names if name != "lo"]
        return Look("no network", "no" if others else "yes", f"a command sees {', '.join(others)}" if others else "")

    def _said(self, job: Job) -> str:
        return self.session.home.store.get(job.record().output("out").checksum).decode("utf-8", "replace")

    def clean_up(self) -> Look:
        """Folders are removed soon after the end that they are told by."""
        engine, until = self.session.engine, time.monotonic() + 10
        while (left := self._left(engine.home)) and time.monotonic() < until:
            time.sleep(0.1)
        return Look("clean up", "failed" if left else "yes", f"left are {', '.join(left)}" if left else "")

    def _left(self, home: Path) -> list[str]:
        folder = home / "jobs"
        names = os.listdir(folder) if folder.is_dir() else []
        return [name for name in names if name.rpartition("-")[0] in self.jobs]

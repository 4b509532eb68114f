"""A runtime with its images, and one job of it: what :mod:`weftwork.testing.runtime` tries."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import cast

import weftwork.node
from weftwork.core.checksum import Checksum
from weftwork.core.environment import Environment
from weftwork.core.module import Command, Module
from weftwork.core.module import Output as Declared
from weftwork.core.placement import Resources
from weftwork.core.values import Type
from weftwork.node.job import Job
from weftwork.node.outcome import Outcome, read_outcome
from weftwork.ports import Runtime, Scheduler
from weftwork.sites.machine import Machine
from weftwork.sites.site import PlacedSite

NODE = (sys.executable, "-I", "-S", os.path.join(os.path.dirname(weftwork.node.__file__), "__main__.py"))
"""The node program, as a supervisor is started: by its path, with nothing around it."""

ROLES = {
    "plain": "a shell and its company in /bin, PATH=/opt/bin:/usr/local/bin:/usr/bin:/bin, FROM_IMAGE=yes",
    "swallow": "the same, with an entry point that ends at once, a user 1234 and a working folder that is not there",
    "bare": "one static program, /busybox: no shell, nothing else",
}
"""The images that a place offers, by what they are for."""


def hashed(path: Path) -> tuple[Checksum, int]:
    """Checksum and size of a file."""
    with open(path, "rb") as file:
        return Checksum.of_digest(hashlib.file_digest(file, "sha256").digest()), path.stat().st_size


class RuntimePlace(ABC):
    """A runtime on this machine, with images to try it with."""

    runtime: Runtime
    folder: Path
    shares = True
    """Whether the runtime sees this machine's files; where not, they are copied, and the container has its own ``/tmp``."""
    confines = True
    """Whether it takes the rights of root from a program that root runs."""

    @abstractmethod
    def image(self, role: str) -> str:
        """The name of an image that has the role."""

    @abstractmethod
    def left(self, task: str) -> list[str]:
        """What the system still has of a task's containers, asked without the runtime's own code."""

    def site(self) -> PlacedSite:
        return PlacedSite(self.runtime.name, cast("Scheduler", None), self.runtime, Machine(hashed))

    def job(self, job: Job, role: str, *, network: bool = False, resources: Resources | None = None) -> Job:
        """The job in a container of the image that has the role."""
        module = Module(
            "contract",
            (),
            (Declared("out", Type("file")),),
            Command(("contract",)),
            Environment(image=self.image(role)),
            network=network,
        )
        site = self.site()
        return site.placed(job, module, site.resolve(module), resources or Resources())


class Try:
    """One job of a test: its folder, and the node program that runs it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = [*NODE, "run", str(self.folder)]
        self._process = subprocess.Popen(program, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def until(self, name: str, seconds: float = 60.0) -> None:
        """Until the command has made a file in its work folder."""
        deadline = time.monotonic() + seconds
        while not (self.folder / "work" / name).exists() and not self.text("stdout").startswith(name):
            assert self._process is not None
            assert self._process.poll() is None, self.outcome()
            assert time.monotonic() < deadline, f"the command has not made {name}"
            time.sleep(0.02)

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def end(self, seconds: float = 120.0) -> int:
        assert self._process is not None
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise

    def outcome(self) -> Outcome | None:
        return read_outcome(str(self.folder))

    def text(self, name: str) -> str:
        path = self.folder / name
        return path.read_text() if path.exists() else ""

"""Docker: the engine holds the container; this side creates it, starts it, asks how it ended, and removes it.

Creating and starting are two steps, so that a container that could not be made is never taken for a program that failed, and so that
whoever comes after a killed runner finds the container by its name. Podman agrees in nearly all of it; what differs is in
:mod:`weftwork.sites.runtimes.podman`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from weftwork.core.checksum import Checksum
from weftwork.node.container import ROOT, Container, plain
from weftwork.ports import Image, Wrapping
from weftwork.sites.adapters import Making, without_options
from weftwork.sites.images.engines import EngineStore, environment
from weftwork.sites.images.stock import Stock

if TYPE_CHECKING:
    from weftwork.formats.adapters import Adapter

_INSPECT: Final = (
    '{"status": {{json .State.Status}}, "exit_code": {{json .State.ExitCode}}, '
    '"oom": {{json .State.OOMKilled}}, "error": {{json .State.Error}}, "id": "{{.ID}}"}'
)
_ABSENT: Final = (
    r"^\[FATAL tini \(\d+\)\] exec .* failed: |"
    r"starting container process caused: .*(executable file not found|no such file or directory|permission denied|is a directory)"
)
"""What docker-init says when it cannot become the program, and what runc says where there is no such init."""

_TRUSTED: Final = 10.0  # seconds for which an image that was there is taken to be there still


class Docker:
    """The runtime ``docker``. See :class:`weftwork.ports.Runtime`."""

    name = "docker"
    takes: frozenset[Literal["machine", "image"]] = frozenset({"image"})
    enforces = frozenset({"memory", "cpus", "processes", "network"})
    absent: str = _ABSENT

    def __init__(self, stock: Stock) -> None:
        self._stock = stock
        self._engine = EngineStore(self.name)
        self._ready: dict[Checksum, tuple[float, Image, str]] = {}
        self._shares: bool | None = None
        self._rootless = False

    def missing(self) -> str | None:
        return None if self._engine.installed else f"the program {self.name}"

    def resolve(self, reference: str) -> Image:
        return self._stock.resolve(reference, self._engine)

    def ready(self, identity: Checksum) -> tuple[Image, str]:
        at, image, name = self._ready.get(identity, (0.0, None, ""))
        if image is None or time.monotonic() - at > _TRUSTED:
            image = self._stock.known(identity)
            name = self._stock.in_engine(image, self._engine)
            if self._shares is None:
                self._rootless = self._is_rootless()
                self._shares = self._probe(name)
            self._ready[identity] = (time.monotonic(), image, name)
        return image, name

    def _is_rootless(self) -> bool:
        done = self._engine.call(["info", "--format", "{{json .SecurityOptions}}"], 60)
        return b"name=rootless" in done.stdout

    def _probe(self, image: str) -> bool:
        """Whether the engine sees our files: a folder that was just made can be bound only where it is the same disk."""
        self._stock.folder.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="probe-", dir=self._stock.folder))
        name = f"weft-{folder.name}"
        try:
            words = ["create", "--name", name, *_bind(str(folder), "/probe", writable=False), image, "probe"]
            done = self._engine.call(words, 60)
            if done.returncode == 0:
                self._engine.call(["rm", "--force", name], 60)
                return True
            said = done.stderr.decode("utf-8", "replace")
            if "does not exist" in said or "no such file" in said.lower():
                return False
            raise self._engine.unavailable(said)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def wrap(self, wrapping: Wrapping) -> tuple[Container, dict[str, str]]:
        name = f"weft-{wrapping.task}"
        create = [self.name, "create", "--name", name, "--pull", "never", "--init", "--entrypoint", ""]
        create += ["--workdir", f"{ROOT}/work", *self.user(), *self.limits(wrapping), *self.closed(wrapping)]
        create += [word for each, value in wrapping.environment.items() for word in ("--env", plain(f"{each}={value}"))]
        shared = self._shares is not False
        create += self._binds() if shared else []
        if wrapping.stdin:
            create.append("--interactive")
        start = [
            self.name,
            "start",
            "--attach",
            *(["--interactive"] if wrapping.stdin else []),
            name,
        ]
        return Container(
            runtime=self.name,
            prepare=((*create, wrapping.image, "{command}"),),
            start=tuple(start),
            inspect=(self.name, "container", "inspect", "--format", plain(_INSPECT), name),
            ask=(self.name, "kill", "--signal", "TERM", name),
            send=None if shared else (self.name, "cp", "-", f"{name}:/"),
            fetch=None if shared else (self.name, "cp", f"{name}:{ROOT}/work", "-"),
            remove=(self.name, "rm", "--force", "--volumes", name),
            absent=self.absent,
        ), environment()

    def user(self) -> list[str]:
        """The user's own ids: what the program makes is the user's. In an engine without root's rights, its root is the user."""
        return ["--user", "0:0" if self._rootless else f"{os.getuid()}:{os.getgid()}"]

    def limits(self, wrapping: Wrapping) -> list[str]:
        words = ["--cpus", str(min(wrapping.cpus, os.cpu_count() or wrapping.cpus))]
        if wrapping.limits.memory is not None:
            # As much with swap as without: the limit is on both together.
            memory = str(max(wrapping.limits.memory, 6 << 20))
            words += ["--memory", memory, "--memory-swap", memory]
        if wrapping.limits.processes is not None:
            words += ["--pids-limit", str(wrapping.limits.processes + 1)]  # the init is one of them
        return words + self.gpus(wrapping.gpus)

    def gpus(self, count: int) -> list[str]:
        return ["--gpus", str(count)] if count else []

    def closed(self, wrapping: Wrapping) -> list[str]:
        """Nothing but the image and the job: no network, no further rights, no log beside the job's own streams."""
        words = ["--network", "host" if wrapping.network else "none", "--cap-drop", "ALL"]
        words += [
            "--security-opt",
            "no-new-privileges",
            "--log-driver",
            "none",
            "--no-healthcheck",
            "--hostname",
            "weft",
        ]
        # What is copied in is written to the container's own files.
        return words if self._shares is False else [*words, "--read-only"]

    def _binds(self) -> list[str]:
        words = _bind("{folder}/inputs", f"{ROOT}/inputs", writable=False)
        for name in ("work", "tmp", "home"):
            words += _bind(f"{{folder}}/{name}", f"{ROOT}/{name}", writable=True)
        for path in ("/tmp", "/var/tmp"):
            words += _bind("{folder}/tmp", path, writable=True)
        return words


def _bind(source: str, target: str, *, writable: bool) -> list[str]:
    """A bind mount, as the CSV record that Docker and Podman read: a path may hold commas."""
    quoted = f'"source={source}"'
    return ["--mount", ",".join(["type=bind", quoted, f"target={target}", *([] if writable else ["readonly"])])]


def adapter() -> Adapter:
    return without_options("runtime", "docker", "Containers of the Docker engine of this machine.")


def make(making: Making) -> Docker:
    return Docker(making.images())

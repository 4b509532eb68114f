"""Apptainer (or Singularity): an image as one SIF file, without a daemon. What clusters have.

Variables go by the program's environment (``APPTAINERENV_NAME``), where they need no quoting; ``--no-eval`` keeps it from reading them as
shell text.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from weftwork.core.checksum import Checksum
from weftwork.errors import ImageFailed
from weftwork.node.container import ROOT, Container, plain
from weftwork.ports import Image, Wrapping
from weftwork.sites.adapters import Making, without_options
from weftwork.sites.images.engines import environment
from weftwork.sites.runtimes.converted import WRITABLE, Converted

if TYPE_CHECKING:
    from weftwork.formats.adapters import Adapter

_BUILDING = 3600.0


class Apptainer(Converted):
    """The runtime ``apptainer``. See :class:`weftwork.ports.Runtime`."""

    name = "apptainer"
    programs = ("apptainer",)

    @property
    def program(self) -> str:
        return "apptainer" if shutil.which("apptainer") or not shutil.which("singularity") else "singularity"

    def missing(self) -> str | None:
        return None if shutil.which(self.program) else "the program apptainer (or singularity)"

    def ready(self, identity: Checksum) -> tuple[Image, str]:
        image = self.stock.known(identity)
        return image, str(self.stock.file(image, self._build))

    def _build(self, folder: Path, target: Path) -> None:
        words = [self.program, "--quiet", "build", *self._rights(), str(target), str(folder)]
        outside = environment() | {"HOME": os.environ.get("HOME", "/"), "TMPDIR": str(target.parent)}
        done = subprocess.run(words, env=outside, capture_output=True, timeout=_BUILDING, check=False)
        if done.returncode != 0 or not target.exists():
            lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit code {done.returncode}"]
            raise ImageFailed(f"{self.program} cannot make a SIF file of {folder}: {lines[-1]}")

    @staticmethod
    def _rights() -> list[str]:
        """Root without all of its rights needs a namespace to have them in; a user gets one anyhow."""
        return ["--userns"] if os.getuid() == 0 else []

    def wrap(self, wrapping: Wrapping) -> tuple[Container, dict[str, str]]:
        words = [self.program, "--quiet", "exec", *self._rights()]
        words += [
            "--containall",
            "--no-eval",
            "--no-privs",
            "--pwd",
            f"{ROOT}/work",
            *(["--nv"] if wrapping.gpus else []),
        ]
        words += [] if wrapping.network else ["--net", "--network", "none"]
        words += ["--home", f"{{folder}}/home:{ROOT}/home"]
        words += _bind("{folder}/inputs", f"{ROOT}/inputs", writable=False)
        for target, name in WRITABLE:
            if name != "home":
                words += _bind(f"{{folder}}/{name}", target, writable=True)
        prefix = "APPTAINERENV_" if self.program == "apptainer" else "SINGULARITYENV_"
        inside = {f"{prefix}{name}": value for name, value in wrapping.environment.items() if name != "HOME"}
        return Container(
            runtime=self.name,
            start=(*words, plain(wrapping.image), "{command}"),
            absent=r"^FATAL: +.*(executable file not found|no such file or directory|permission denied)",
            fault=r"^FATAL: ",
        ), environment() | inside


def _bind(source: str, target: str, *, writable: bool) -> list[str]:
    """A bind mount, as the CSV record that Apptainer reads as Docker does: a path may hold commas and colons."""
    return [
        "--mount",
        ",".join(["type=bind", f'"source={source}"', f"destination={target}", *([] if writable else ["ro"])]),
    ]


def adapter() -> Adapter:
    return without_options(
        "runtime", "apptainer", "Containers of Apptainer, from SIF files that the home keeps; Singularity too."
    )


def make(making: Making) -> Apptainer:
    return Apptainer(making.images())

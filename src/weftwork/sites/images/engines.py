"""The image store of Docker or Podman on this machine, by their command lines (which agree in all that is used here)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from weftwork.errors import ImageFailed, Unavailable
from weftwork.sites.images.config import Config

PROGRAMS: Final = ("docker", "podman")
_KEPT: Final = (
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "SSH_AUTH_SOCK",
    "REGISTRY_AUTH_FILE",
)
_KEPT_BEGINNINGS: Final = ("DOCKER_", "PODMAN_", "CONTAINER_", "CONTAINERS_", "APPTAINER_", "SINGULARITY_")
_PULLING: Final = 3600.0
_ABSENT: Final = ("no such image", "not known", "no such object", "image not known")


def environment() -> dict[str, str]:
    """The variables that container programs of this machine read, as this process has them."""
    return {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(_KEPT_BEGINNINGS)} | {
        "PATH": os.environ.get("PATH", os.defpath)
    }


class EngineStore:
    """One engine's images. ``name`` is its program."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def installed(self) -> bool:
        return shutil.which(self.name) is not None

    def find(self, name: str) -> tuple[str, Config] | None:
        """The id and config of an image that is there; ``None`` where it is not. Raises Unavailable where nobody answers."""
        done = self.call(["image", "inspect", name], 60)
        if done.returncode != 0:
            said = done.stderr.decode("utf-8", "replace")
            if any(each in said.lower() for each in _ABSENT):
                return None
            raise self.unavailable(said)
        found = json.loads(done.stdout)[0]
        image = str(found["Id"])
        return image if image.startswith("sha256:") else f"sha256:{image}", Config.of_inspect(found)

    def pull(self, name: str, *, insecure: bool) -> None:
        """Get it from its registry. Raises ImageFailed with what the engine says."""
        words = ["pull", "--quiet", *(["--tls-verify=false"] if insecure and self.name == "podman" else []), name]
        self._must(words, f"{self.name} cannot get the image {name}")

    def load(self, archive: Path) -> str:
        """Take an image in from an archive; the name by which the engine knows it."""
        out = self._must(["load", "--quiet", "--input", str(archive)], f"{self.name} cannot load {archive}")
        line = out.decode("utf-8", "replace").strip().splitlines()[-1]
        return line.partition(": ")[2].strip() or line

    def save(self, image: str, archive: Path) -> None:
        """Write an image as a docker-archive."""
        words = ["save", "--output", str(archive), image]
        if self.name == "podman":
            words[1:1] = ["--quiet", "--format", "docker-archive"]
        self._must(words, f"{self.name} cannot save the image {image}")

    def call(self, words: Sequence[str], patience: float) -> subprocess.CompletedProcess[bytes]:
        """Run the engine's program. Raises Unavailable where it is not there or says nothing for too long."""
        try:
            return subprocess.run(
                [self.name, *words],
                env=environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=patience,
                check=False,
            )
        except FileNotFoundError:
            raise Unavailable(
                f"the program {self.name} is not on this machine: install it, or choose another site"
            ) from None
        except subprocess.TimeoutExpired:
            raise Unavailable(f"{self.name} {words[0]} says nothing for {patience:g} s") from None

    def unavailable(self, said: str) -> Unavailable:
        lines = said.strip().splitlines() or ["no answer"]
        where = _address(os.environ, self.name)
        return Unavailable(f"{self.name} cannot be used{where}: {lines[-1].strip()}")

    def _must(self, words: Sequence[str], what: str) -> bytes:
        done = self.call(words, _PULLING)
        if done.returncode != 0:
            lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit code {done.returncode}"]
            raise ImageFailed(f"{what}: {lines[-1].strip()}")
        return done.stdout


def _address(variables: Mapping[str, str], name: str) -> str:
    variable = "DOCKER_HOST" if name == "docker" else "CONTAINER_HOST"
    return f" ({variable}={variables[variable]})" if variables.get(variable) else ""

"""What an image counts as. Pure.

Identity is the SHA-256 of (system, architecture, the digests of its layers' uncompressed bytes in order, its variables). All
of these are the same in Docker's and Podman's stores, in a registry and in an archive, however layers are compressed; the
digest of a manifest is not. The rest of a config does not act: entry point and words are replaced by the
command, user, working folder, volumes, ports and health checks by how a job is run.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weftwork.core.checksum import Checksum, canonical
from weftwork.errors import ImageFailed

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


@dataclass(frozen=True, slots=True)
class Config:
    """The part of an image's config that acts."""

    system: str
    architecture: str
    layers: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]

    @property
    def identity(self) -> Checksum:
        return Checksum.of(
            canonical(["weft.image.v1", self.system, self.architecture, list(self.layers), dict(self.environment)])
        )

    @staticmethod
    def of_oci(document: Mapping[str, Any]) -> Config:
        """From an OCI or Docker image config (a registry's blob, an archive's file)."""
        return _config(
            document.get("os"),
            document.get("architecture"),
            (document.get("rootfs") or {}).get("diff_ids"),
            (document.get("config") or {}).get("Env"),
        )

    @staticmethod
    def of_inspect(document: Mapping[str, Any]) -> Config:
        """From what ``docker image inspect`` and ``podman image inspect`` say."""
        return _config(
            document.get("Os"),
            document.get("Architecture"),
            (document.get("RootFS") or {}).get("Layers"),
            (document.get("Config") or {}).get("Env"),
        )

    def check(self, name: str) -> Config:
        """Itself. Raises ImageFailed where this machine cannot run it."""
        here = machine()
        if (self.system, self.architecture) != here:
            raise ImageFailed(
                f"the image {name} is for {self.system}/{self.architecture}, and this machine is {here[0]}/{here[1]}: "
                "name one that is made for it"
            )
        return self


def machine() -> tuple[str, str]:
    """What images must be for, on this machine. Containers are Linux's everywhere."""
    found = platform.machine().lower()
    return "linux", _ARCHITECTURES.get(found, found)


def _config(system: Any, architecture: Any, layers: Any, variables: Any) -> Config:
    pairs = [str(each).partition("=") for each in variables or ()]
    return Config(
        str(system or "linux").lower(),
        str(architecture or "unknown").lower(),
        tuple(str(each) for each in layers or ()),
        tuple(sorted({name: value for name, _, value in pairs}.items())),
    )

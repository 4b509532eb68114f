"""What a text that names an image means. Pure.

``python:3.12``, ``quay.io/org/tool@sha256:…``: a repository of a registry, as Docker reads it (distribution/reference: Docker
Hub and ``library/`` are understood). ``docker-archive:PATH``, ``oci-archive:PATH``, ``oci:FOLDER``: what ``docker save`` and
``skopeo copy`` write. A path that ends in ``.sif`` or leads to a folder: an image of Apptainer, a root file system.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Final

from weftwork.errors import Invalid

HUB: Final = "docker.io"
LOCAL: Final = "localhost"
ARCHIVES: Final = ("docker-archive", "oci-archive", "oci")
_NAME: Final = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*\Z")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True)
class Reference:
    """A repository of a registry, with a tag or a digest (which wins)."""

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    def __str__(self) -> str:
        return f"{self.registry}/{self.repository}{f'@{self.digest}' if self.digest else f':{self.tag}'}"

    @property
    def pinned(self) -> bool:
        """Whether it can never mean anything else."""
        return self.digest is not None

    def at(self, digest: str) -> Reference:
        return Reference(self.registry, self.repository, None, digest)


@dataclass(frozen=True, slots=True)
class Archive:
    """A file or folder that holds an image: ``kind`` is one of :data:`ARCHIVES`, ``sif`` or ``folder``."""

    kind: str
    path: str


def parse(text: str) -> Reference | Archive:
    """Raises :class:`~weftwork.errors.Invalid` for what names no image, with what would."""
    head, colon, rest = text.partition(":")
    if colon and head in ARCHIVES:
        return Archive(head, os.path.abspath(os.path.expanduser(rest)))
    if text.startswith(("/", "./", "../", "~")):
        path = os.path.abspath(os.path.expanduser(text))
        return Archive("folder" if os.path.isdir(path) else "sif", path)
    return _reference(text.removeprefix("docker://"))


def _reference(text: str) -> Reference:
    name, _, digest = text.partition("@")
    if digest and not _DIGEST.match(digest):
        raise Invalid(f"the image {text!r}: {digest!r} is not a digest; sha256: and 64 hexadecimal digits are expected")
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == LOCAL):
        registry, name = first, rest
    else:
        registry = HUB
    repository, colon, tag = name.rpartition(":") if ":" in name.rsplit("/", 1)[-1] else (name, "", "")
    if registry in (HUB, "index.docker.io"):
        registry = HUB
        repository = repository if "/" in repository else f"library/{repository}"
    if not _NAME.match(repository):
        raise Invalid(
            f"{text!r} does not name an image; write it as python:3.12, registry.org/group/name:tag, "
            "docker-archive:image.tar, or the path of a .sif file or folder that begins with / or ./"
        )
    if colon and not _TAG.match(tag):
        raise Invalid(f"the image {text!r}: {tag!r} is not a tag: letters, digits, '_', '.' and '-' are expected")
    return Reference(registry, repository, (tag or "latest") if not digest else tag or None, digest or None)

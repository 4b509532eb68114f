"""Images in files: docker-archive (``docker save``), OCI layout as a tar file or a folder. Their config, and their layers' bytes."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

from weftwork.errors import ImageFailed
from weftwork.sites.images.config import Config, machine
from weftwork.sites.images.reference import Archive


class ImageArchive:
    """An opened archive. ``config`` says what it counts as; :meth:`layer` opens the nth layer, compressed as it is."""

    def __init__(self, archive: Archive, files: _Files) -> None:
        self._archive = archive
        self._files = files
        names, config = self._docker() if files.has("manifest.json") else self._oci()
        self.layers: list[str] = names
        self.config: Config = Config.of_oci(config)

    def layer(self, number: int) -> BinaryIO:
        return self._files.open(self.layers[number])

    def _docker(self) -> tuple[list[str], dict[str, Any]]:
        entries = self._files.json("manifest.json")
        if len(entries) != 1:
            raise ImageFailed(f"{self._archive.path} holds {len(entries)} images, and one is expected: save one alone")
        return [str(each) for each in entries[0]["Layers"]], self._files.json(str(entries[0]["Config"]))

    def _oci(self) -> tuple[list[str], dict[str, Any]]:
        if not self._files.has("index.json"):
            raise ImageFailed(f"{self._archive.path} is no image: it has neither manifest.json nor index.json")
        document = self._files.json("index.json")
        while "manifests" in document:
            document = self._files.json(_blob(self._one(document["manifests"])["digest"]))
        return [_blob(each["digest"]) for each in document["layers"]], self._files.json(
            _blob(document["config"]["digest"])
        )

    def _one(self, entries: list[dict[str, Any]]) -> dict[str, Any]:
        system, architecture = machine()
        fitting = [
            each
            for each in entries
            if not each.get("platform")
            or (each["platform"].get("os"), each["platform"].get("architecture")) == (system, architecture)
        ]
        if len(fitting) != 1:
            raise ImageFailed(
                f"{self._archive.path} holds {len(fitting)} images for {system}/{architecture}, and one is expected"
            )
        return fitting[0]


@contextmanager
def opened(archive: Archive) -> Iterator[ImageArchive]:
    """Open an archive for reading. Raises :class:`~weftwork.errors.ImageFailed` for what is none."""
    try:
        if archive.kind == "oci":
            yield ImageArchive(archive, _Folder(archive.path))
            return
        with tarfile.open(archive.path) as tar:
            yield ImageArchive(archive, _Tar(tar))
    except OSError as error:
        raise ImageFailed(f"the image {archive.path} cannot be read: {error.strerror or error}") from None
    except (tarfile.TarError, KeyError, ValueError, TypeError, LookupError) as error:
        raise ImageFailed(f"{archive.path} is not a whole {archive.kind}: {type(error).__name__}: {error}") from None


class _Files:
    """Named files, wherever they are."""

    def has(self, name: str) -> bool:
        raise NotImplementedError

    def open(self, name: str) -> BinaryIO:
        raise NotImplementedError

    def json(self, name: str) -> Any:
        with self.open(name) as file:
            return json.load(file)


class _Tar(_Files):
    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._members = {os.path.normpath(each.name): each for each in tar.getmembers()}

    def has(self, name: str) -> bool:
        return os.path.normpath(name) in self._members

    def open(self, name: str) -> BinaryIO:
        # tarfile follows a link among its own members: docker save writes such for a layer that is there twice.
        file = self._tar.extractfile(self._members[os.path.normpath(name)])
        if file is None:
            raise ImageFailed(f"{name} in the archive is not a file")
        return cast("BinaryIO", file)


class _Folder(_Files):
    def __init__(self, path: str) -> None:
        self._path = path

    def has(self, name: str) -> bool:
        return os.path.isfile(os.path.join(self._path, name))

    def open(self, name: str) -> BinaryIO:
        return open(os.path.join(self._path, name), "rb")


def _blob(digest: str) -> str:
    kind, _, value = str(digest).partition(":")
    if not value.isalnum() or not kind.isalnum():
        raise ImageFailed(f"{digest!r} is not a digest")
    return f"blobs/{kind}/{value}"

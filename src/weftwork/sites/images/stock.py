"""The images that this home knows: resolved names, and images as folders or SIF files, each made once.

Below ``HOME/images/``::

    names/H.json        what a registry said about a name, and when
    known/IDENTITY.json where an image of that identity is to be had
    IDENTITY/root/      the image as a folder; IDENTITY/image.sif as a file of Apptainer; IDENTITY.lock while one is made

A name is looked up in the stores of this machine's engines each time: what a user just built counts. What a registry said is
remembered for :data:`REMEMBERED` seconds, and for as long as it cannot be reached; a digest never has to be asked again.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from weftwork.core.checksum import Checksum, canonical
from weftwork.errors import EnvironmentDiffers, ImageFailed, Invalid, Unavailable
from weftwork.node.home import lock
from weftwork.ports import Image
from weftwork.sites.images import archives
from weftwork.sites.images.config import Config
from weftwork.sites.images.engines import PROGRAMS, EngineStore
from weftwork.sites.images.reference import Archive, Reference, parse
from weftwork.sites.images.unpack import add_mount_points, unpack

REMEMBERED: Final = 3600.0

Build = Callable[[Path, Path], None]
"""Makes a file of the folder: (folder, target)."""


class Stock:
    """Images of one home, for every runtime of this machine. Safe from many threads and processes."""

    def __init__(self, home: Path, hash_file: Callable[[Path], tuple[Checksum, int]]) -> None:
        self.folder = home / "images"
        self._hash = hash_file

    # What a name means

    def resolve(self, text: str, own: EngineStore | None = None) -> Image:
        """The image of a name, now. ``own`` is the engine that will run it: its store is asked first, and must answer.

        Raises :class:`~weftwork.errors.ImageFailed`, and why.
        """
        reference = parse(text)
        if isinstance(reference, Archive):
            image = self._archived(text, reference)
        else:
            image = self._stored(text, own) or self._asked(text, reference)
        self._write(self.folder / "known" / f"{image.identity}.json", _document(image))
        return image

    def known(self, identity: Checksum) -> Image:
        """The image of that identity, which was resolved once."""
        document = _read(self.folder / "known" / f"{identity}.json")
        if document is None:
            raise ImageFailed(f"this home knows no image of the identity {identity.short}: submit again")
        return _image(document)

    def _stored(self, text: str, own: EngineStore | None) -> Image | None:
        """An image that an engine of this machine has under that name."""
        engines = [own] if own is not None else []
        engines += [EngineStore(name) for name in PROGRAMS if own is None or name != own.name]
        for engine in engines:
            if engine is not own and not engine.installed:
                continue
            try:
                found = engine.find(text.removeprefix("docker://"))
            except Unavailable:
                if engine is own:
                    raise
                continue
            if found is not None:
                identifier, config = found
                return _of(text, config.check(text), f"{engine.name}:{identifier}")
        return None

    def _asked(self, text: str, reference: Reference) -> Image:
        """What the registry says of a name, or said not long ago."""
        path = self.folder / "names" / f"{Checksum.of(str(reference).encode())}.json"
        before = _read(path)
        if before is not None and (reference.pinned or time.time() - before["at"] < REMEMBERED):
            return _image({**before, "reference": text})
        # Imported here: most commands ask no registry.
        from weftwork.sites.images.registry import Registry

        try:
            with Registry(reference.registry, reference.repository) as registry:
                found = registry.find(reference)
        except ImageFailed as error:
            if before is not None and error.details.get("unreachable"):
                return _image({**before, "reference": text})
            raise
        image = _of(text, found.config.check(text), f"registry:{reference.at(found.digest)}")
        self._write(path, {**_document(image), "at": time.time()})
        return image

    def _archived(self, text: str, archive: Archive) -> Image:
        if not os.path.exists(archive.path):
            raise Invalid(f"the image {text}: there is no {archive.path}")
        if archive.kind == "sif":
            return Image(text, self._hash(Path(archive.path))[0], {}, f"sif:{archive.path}")
        if archive.kind == "folder":
            return Image(text, self._checksum_of_folder(archive.path), {}, f"folder:{archive.path}")
        with archives.opened(archive) as found:
            return _of(text, found.config.check(text), f"{archive.kind}:{archive.path}")

    def _checksum_of_folder(self, path: str) -> Checksum:
        """A root file system of somebody else: its links, files and their executable bits."""
        entries: list[list[Any]] = []
        for folder, folders, files in os.walk(path):
            for name in sorted([*folders, *files]):
                at = os.path.join(folder, name)
                below = os.path.relpath(at, path)
                if os.path.islink(at):
                    entries.append([below, "link", os.readlink(at)])
                elif os.path.isfile(at):
                    entries.append([below, os.access(at, os.X_OK), str(self._hash(Path(at))[0])])
        return Checksum.of(canonical(["weft.root.v1", sorted(entries)]))

    # Where its bytes are

    def in_engine(self, image: Image, engine: EngineStore) -> str:
        """The id under which the engine has the image, which it gets or is given where it has it not."""
        kind, _, where = image.origin.partition(":")
        names = [where] if kind in (engine.name, "registry") else []
        for name in names:
            found = engine.find(name)
            if found is not None and found[1].identity == image.identity:
                return found[0]
        with self._making(image.identity):
            name = self._into_engine(image, kind, where, engine)
            found = engine.find(name)
        if found is None or found[1].identity != image.identity:
            raise EnvironmentDiffers(
                f"the image {image.reference} was {image.identity.short} when the key was made, and what {engine.name} got of "
                f"{image.origin} is {found[1].identity.short if found else 'nothing'}: submit again"
            )
        return found[0]

    def _into_engine(self, image: Image, kind: str, where: str, engine: EngineStore) -> str:
        if kind == "registry":
            engine.pull(where, insecure=where.startswith(("localhost", "127.0.0.1")))
            return where
        if kind in ("docker-archive", "oci-archive") and (kind == "docker-archive" or engine.name == "podman"):
            return engine.load(Path(where))
        if kind in PROGRAMS and kind != engine.name:
            with self._saved(kind, where) as archive:
                return engine.load(archive)
        if kind == engine.name:
            raise ImageFailed(
                f"the image {image.reference} ({where[:19]}) is gone from {engine.name}: load or build it again"
            )
        raise ImageFailed(
            f"{engine.name} cannot start the image {image.reference}: it takes names, docker-archive: and what other engines have; "
            "choose apptainer, charliecloud or bubblewrap for a folder, apptainer for a SIF file"
        )

    @contextmanager
    def _saved(self, engine: str, identifier: str) -> Iterator[Path]:
        """An image of another engine, as a docker-archive for as long as it is needed."""
        with self._scratch() as scratch:
            target = scratch / "image.tar"
            EngineStore(engine).save(identifier, target)
            yield target

    def root(self, image: Image) -> Path:
        """The image as a folder, made once. It must not be written to."""
        target = self.folder / str(image.identity) / "root"
        if not target.exists():
            with self._making(image.identity):
                if not target.exists():
                    self._make_root(image, target)
        return target

    def file(self, image: Image, build: Build) -> Path:
        """The image as one file, which ``build`` makes of its folder, once."""
        kind, _, where = image.origin.partition(":")
        if kind == "sif":
            if self._hash(Path(where))[0] != image.identity:
                raise EnvironmentDiffers(
                    f"the image {where} was {image.identity.short} when the key was made, and has changed"
                )
            return Path(where)
        target = self.folder / str(image.identity) / "image.sif"
        if not target.exists():
            root = self.root(image)
            with self._making(image.identity):
                if not target.exists():
                    with self._scratch() as scratch:
                        build(root, scratch / "image.sif")
                        os.replace(scratch / "image.sif", target)
        return target

    def _make_root(self, image: Image, target: Path) -> None:
        kind, _, where = image.origin.partition(":")
        with self._scratch() as scratch:
            root = scratch / "root"
            root.mkdir()
            if kind == "registry":
                self._from_registry(where, scratch, root, image)
            elif kind in PROGRAMS:
                with self._saved(kind, where) as archive:
                    self._from_archive(Archive("docker-archive", str(archive)), root, image)
            elif kind == "folder":
                self._from_folder(where, root, image)
            elif kind == "sif":
                raise ImageFailed(
                    f"{where} is a file of Apptainer, and this runtime starts folders: choose the site apptainer"
                )
            else:
                self._from_archive(Archive(kind, where), root, image)
            add_mount_points(str(root))
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(root, target)

    def _from_registry(self, where: str, scratch: Path, root: Path, image: Image) -> None:
        from weftwork.sites.images.registry import Registry

        reference = parse(where)
        assert isinstance(reference, Reference)
        with Registry(reference.registry, reference.repository) as registry:
            found = registry.find(reference)
            _same(image, found.config)
            for (digest, _), diff in zip(found.layers, found.config.layers, strict=True):
                layer = scratch / "layer"
                registry.fetch(reference, digest, layer)
                with open(layer, "rb") as stream:
                    unpack(str(root), stream, diff)

    def _from_archive(self, archive: Archive, root: Path, image: Image) -> None:
        with archives.opened(archive) as found:
            _same(image, found.config)
            for number, diff in enumerate(found.config.layers):
                with found.layer(number) as stream:
                    unpack(str(root), stream, diff)

    def _from_folder(self, where: str, root: Path, image: Image) -> None:
        """A copy: what somebody else may change, and what lacks mount points, is nothing to start again and again."""
        shutil.copytree(where, root, symlinks=True, dirs_exist_ok=True, ignore_dangling_symlinks=True)
        if self._checksum_of_folder(str(root)) != image.identity:
            raise EnvironmentDiffers(
                f"the folder {where} was {image.identity.short} when the key was made, and has changed"
            )

    # Files

    @contextmanager
    def _making(self, identity: Checksum) -> Iterator[None]:
        """One process and thread at a time, for one image."""
        self.folder.mkdir(parents=True, exist_ok=True)
        held = lock(str(self.folder / f"{identity}.lock"), wait=True)
        try:
            yield
        finally:
            if held is not None:
                os.close(held)

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        """A folder on the same disk, gone afterwards."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = Path(tempfile.mkdtemp(prefix="making-", dir=self.folder))
        try:
            yield path
        finally:
            for folder, _, _ in os.walk(path):
                with contextlib.suppress(OSError):
                    os.chmod(folder, 0o700)
            shutil.rmtree(path, ignore_errors=True)

    def _write(self, path: Path, document: dict[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent)
        with open(descriptor, "w", encoding="ascii") as file:
            json.dump(document, file)
        os.replace(temporary, path)


def _of(text: str, config: Config, origin: str) -> Image:
    return Image(text, config.identity, dict(config.environment), origin)


def _same(image: Image, config: Config) -> None:
    if config.identity != image.identity:
        raise EnvironmentDiffers(
            f"the image {image.reference} was {image.identity.short} when the key was made, and what is at {image.origin} is "
            f"{config.identity.short} now: submit again"
        )


def _document(image: Image) -> dict[str, Any]:
    return {
        "reference": image.reference,
        "identity": str(image.identity),
        "environment": dict(image.environment),
        "origin": image.origin,
    }


def _image(document: dict[str, Any]) -> Image:
    return Image(
        document["reference"], Checksum(document["identity"]), dict(document["environment"]), document["origin"]
    )


def _read(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None

"""Layers of an image, laid one over the other into a folder (OCI image specification: layer.md).

As the user, without any right of root: everything belongs to whoever unpacks it, devices are left out, set-user-id bits dropped. No
member ever reaches outside of the folder, through whatever links. Each layer's uncompressed bytes are verified by their digest.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import shutil
import tarfile
from typing import BinaryIO, Final, cast

from weftwork.errors import Corrupt, ImageFailed
from weftwork.node.container import FOLDERS, ROOT

_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"
_LINKS: Final = 40
_POINTS: Final = ("proc", "sys", "dev", "tmp", "var/tmp", "run", *(f"{ROOT.strip('/')}/{name}" for name in FOLDERS))
_FILES: Final = ("etc/resolv.conf", "etc/hosts")


def unpack(root: str, layer: BinaryIO, digest: str) -> None:
    """Lay a layer over what is in ``root``. Raises Corrupt where its bytes are not those of the digest."""
    stream = _Hashing(_plain(layer))
    deferred: list[tuple[str, int]] = []
    made: set[str] = set()
    # A stream: nothing is read twice, so that what is hashed is what was laid down.
    with tarfile.open(fileobj=cast("BinaryIO", stream), mode="r|") as tar:
        for member in tar:
            _lay(root, tar, member, made, deferred)
    while stream.read(1 << 20):
        pass
    for path, mode in reversed(deferred):
        if os.path.isdir(path) and not os.path.islink(path):
            os.chmod(path, mode & 0o1777 | 0o700)
    if f"sha256:{stream.hasher.hexdigest()}" != digest:
        raise Corrupt(f"a layer should be {digest} and is sha256:{stream.hasher.hexdigest()}: get the image again")


def add_mount_points(root: str) -> None:
    """Make what runtimes lay their mounts over: a root file system that is read-only later must have them."""
    for path in _POINTS:
        at = _inside(root, path, make=True)
        if not os.path.lexists(at):
            os.mkdir(at, 0o1777 if path.endswith("tmp") else 0o755)
    for path in _FILES:
        at = _inside(root, path, make=True)
        if not os.path.lexists(at):
            with open(at, "wb"):
                pass


def _lay(
    root: str, tar: tarfile.TarFile, member: tarfile.TarInfo, made: set[str], deferred: list[tuple[str, int]]
) -> None:
    path = _relative(member.name)
    if not path:
        return
    folder, name = os.path.split(path)
    if name == _OPAQUE:
        _empty(_inside(root, folder, last=True), made)
        return
    if name.startswith(_WHITEOUT):
        _remove(_inside(root, os.path.join(folder, name[len(_WHITEOUT) :])))
        return
    at = _inside(root, path, make=True)
    made.add(at)
    if member.isdir():
        if os.path.islink(at) or not os.path.isdir(at):
            _remove(at)
            os.mkdir(at, 0o755)
        deferred.append((at, member.mode))
        return
    if member.isreg():
        _remove(at)
        source = tar.extractfile(member)
        assert source is not None
        with open(at, "xb") as out:
            shutil.copyfileobj(source, out, 1 << 20)
        os.chmod(at, member.mode & 0o777 | 0o400)
        os.utime(at, (member.mtime, member.mtime))
    elif member.issym():
        _remove(at)
        os.symlink(member.linkname, at)
    elif member.islnk():
        target = _inside(root, _relative(member.linkname))
        if target != at:
            _remove(at)
            os.link(target, at, follow_symlinks=False)


def _relative(name: str) -> str:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ImageFailed(f"the image holds {name!r}, which leads out of it")
    return "/".join(parts)


def _inside(root: str, path: str, *, make: bool = False, last: bool = False) -> str:
    """Where a path of the image lies, its links followed as they are seen inside (but for its last part, unless ``last``)."""
    waiting = [part for part in path.split("/") if part]
    at: list[str] = []
    links = 0
    while waiting:
        part = waiting.pop(0)
        if part == "..":
            at[-1:] = []
            continue
        here = os.path.join(root, *at, part)
        if os.path.islink(here) and (waiting or last):
            links += 1
            if links > _LINKS:
                raise ImageFailed(f"the image's links lead round in a circle at {path!r}")
            target = os.readlink(here)
            at = [] if target.startswith("/") else at
            waiting = [each for each in target.split("/") if each not in ("", ".")] + waiting
            continue
        if make and waiting and not os.path.isdir(here):
            if os.path.lexists(here):
                os.unlink(here)
            os.mkdir(here, 0o755)
        at.append(part)
    return os.path.join(root, *at)


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        for folder, _, _ in os.walk(path):
            os.chmod(folder, 0o700)
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def _empty(folder: str, made: set[str]) -> None:
    """Hide what lower layers had in a folder, and nothing of this layer."""
    if os.path.isdir(folder):
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            if path not in made and not any(each.startswith(path + "/") for each in made):
                _remove(path)


def _plain(layer: BinaryIO) -> BinaryIO:
    """The layer's bytes, whatever compressed them."""
    buffered = io.BufferedReader(cast("io.RawIOBase", layer), 1 << 16)
    head = buffered.peek(6)[:6]
    if head[:2] == b"\x1f\x8b":
        return cast("BinaryIO", gzip.GzipFile(fileobj=buffered))
    if head[:3] == b"BZh":
        return cast("BinaryIO", bz2.BZ2File(buffered))
    if head == b"\xfd7zXZ\x00":
        return cast("BinaryIO", lzma.LZMAFile(buffered))
    if head[:4] == b"\x28\xb5\x2f\xfd":
        return _unzstd(cast("BinaryIO", buffered))
    return cast("BinaryIO", buffered)


def _unzstd(layer: BinaryIO) -> BinaryIO:
    """Python reads zstd from 3.14 on; before, its program does."""
    import subprocess
    import tempfile

    if shutil.which("zstd") is None:
        raise ImageFailed(
            "a layer of the image is compressed with zstd, and the program zstd is not on this machine: install it"
        )
    with tempfile.TemporaryFile() as given:
        shutil.copyfileobj(layer, given, 1 << 20)
        given.seek(0)
        with subprocess.Popen(["zstd", "-dcq"], stdin=given, stdout=subprocess.PIPE) as program:
            assert program.stdout is not None
            plain = tempfile.SpooledTemporaryFile(1 << 20)  # noqa: SIM115 - it goes with whoever reads it
            shutil.copyfileobj(program.stdout, plain, 1 << 20)
    plain.seek(0)
    return cast("BinaryIO", plain)


class _Hashing:
    """A stream that hashes what is read of it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.hasher = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.hasher.update(data)
        return data

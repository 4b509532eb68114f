"""Files where a person has them: hashed once, listed, fetched from an address once; directories laid out for reading."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from weftwork.core.checksum import Checksum, Hasher, from_canonical
from weftwork.errors import Corrupt, Invalid, NotFound, Unavailable
from weftwork.ports import Store
from weftwork.stores.filesums import FileSums


class Sources:
    """What is known of files on this machine's disks and at addresses. See :class:`weftwork.ports.Files`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(parents=True, exist_ok=True)
        self._sums = FileSums(root / "files.sqlite")
        self._fetched: dict[str, Path] = {}

    def checksum(self, path: Path) -> tuple[Checksum, int]:
        return self._sums.checksum(path)

    def directory(self, path: Path) -> list[tuple[str, bool, Checksum, str]]:
        return self._sums.directory(path)

    def fetch(self, address: str, expected: Checksum | None) -> Path:
        """A local file with what the address holds: fetched once a process, and never again when its checksum is known."""
        name = expected or Checksum.of(address.encode("utf-8"))
        target = self._root / "fetched" / str(name)
        if expected is not None and target.exists():
            return target
        if address in self._fetched:
            return self._fetched[address]
        # Imported here and below: they cost more time than opening a home, and few commands need them.
        import tempfile

        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as temporary:
            try:
                found = _scheme(address)(address, temporary.write)
            except BaseException:
                os.unlink(temporary.name)
                raise
        if expected is not None and found != expected:
            os.unlink(temporary.name)
            raise Corrupt(
                f"{address} holds {found.short}, where {expected.short} was expected", expected=expected, found=found
            )
        os.replace(temporary.name, target)
        self._fetched[address] = target
        return target

    def folder(self, checksum: Checksum, store: Store) -> Path:
        """A stored directory as a read-only folder: made beside and renamed, so that it is whole or not there."""
        target = self._root / "folders" / str(checksum)
        if target.is_dir():
            return target
        import shutil
        import tempfile

        target.parent.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(dir=target.parent, prefix="."))
        try:
            for name, executable, each in from_canonical(store.get(checksum)):
                place = making / name
                place.parent.mkdir(parents=True, exist_ok=True)
                with store.open(Checksum(each)) as source, open(place, "wb") as out:
                    shutil.copyfileobj(source, out, 1 << 20)
                place.chmod(0o555 if executable else 0o444)
        except BaseException:
            shutil.rmtree(making)
            raise
        try:
            making.rename(target)
        except OSError:
            shutil.rmtree(making)
            if not target.is_dir():
                raise
        return target

    def forget(self, checksums: Iterable[Checksum]) -> None:
        """Remove the folders of directories that were let go."""
        import shutil

        for checksum in checksums:
            shutil.rmtree(self._root / "folders" / str(checksum), ignore_errors=True)

    def close(self) -> None:
        self._sums.close()


Fetch = Callable[[str, Callable[[bytes], object]], Checksum]


def _scheme(address: str) -> Fetch:
    scheme = address.partition("://")[0]
    if scheme in ("http", "https"):
        return _http
    if scheme == "s3":
        return _s3
    raise Invalid(f"{address}: an address begins with https://, http:// or s3://; a local file is given by its path")


def _http(address: str, write: Callable[[bytes], object]) -> Checksum:
    import httpx2

    hasher = Hasher()
    try:
        with httpx2.stream("GET", address, follow_redirects=True, timeout=60) as answer:
            if answer.status_code in (404, 410):
                raise NotFound(f"there is nothing at {address} (it answers {answer.status_code}); check the address")
            if answer.status_code != 200:
                raise Unavailable(f"{address} answers {answer.status_code} {answer.reason_phrase}")
            for chunk in answer.iter_bytes():
                hasher.update(chunk)
                write(chunk)
    except httpx2.HTTPError as error:
        raise Unavailable(f"{address} cannot be fetched: {error}") from error
    return hasher.checksum()


def _s3(address: str, write: Callable[[bytes], object]) -> Checksum:
    try:
        import obstore
        from obstore.store import S3Store
    except ImportError:
        raise Invalid(f"{address}: buckets need the extra `objects`; install weftwork[objects]") from None
    bucket, _, key = address.removeprefix("s3://").partition("/")
    hasher = Hasher()
    try:
        for chunk in obstore.get(S3Store(bucket), key).stream():
            data = bytes(chunk)
            hasher.update(data)
            write(data)
    except FileNotFoundError:
        raise NotFound(f"there is nothing at {address}; check the bucket and the key") from None
    except Exception as error:
        raise Unavailable(f"{address} cannot be fetched: {error}") from error
    return hasher.checksum()

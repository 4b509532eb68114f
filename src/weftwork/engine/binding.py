"""Values become references, and references values: the border between Python values and the store."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from weftwork.core import codecs
from weftwork.core.checksum import Checksum, from_canonical_all
from weftwork.core.job import Record
from weftwork.core.module import Module
from weftwork.core.values import Directory, File, Ref, Type, convert, infer, kinds_of_refs
from weftwork.errors import Corrupt, Invalid, MissingInputs, NotFound
from weftwork.ports import Files, Store


class Taken:
    """What one binding has to bring into the store, gathered first: a wrong input further on leaves nothing behind."""

    def __init__(self, store: Store, files: Files) -> None:
        self._store = store
        self._files = files
        self.buffers: dict[Checksum, bytes] = {}
        self._paths: dict[Checksum, str | Path] = {}

    def keep(self, data: bytes) -> Checksum:
        checksum = Checksum.of(data)
        self.buffers[checksum] = data
        return checksum

    def keep_all(self, buffers: Sequence[bytes]) -> list[Checksum]:
        checksums = Checksum.of_all(buffers)
        self.buffers.update(zip(checksums, buffers, strict=True))
        return checksums

    def file(self, path: Path) -> tuple[Checksum, int]:
        checksum, size = self._files.checksum(path)
        self._paths[checksum] = path
        return checksum, size

    def directory(self, path: Path) -> list[tuple[str, bool, Checksum]]:
        found = self._files.directory(path)
        self._paths.update((checksum, place) for _, _, checksum, place in found)
        return [(name, executable, checksum) for name, executable, checksum, _ in found]

    def store(self) -> None:
        """Files first: the buffers name them. Raises Invalid for a file that has changed since it was looked at."""
        missing = self._store.missing(self._paths) if self._paths else ()
        if missing:
            try:
                self._store.put_files([(Path(self._paths[checksum]), checksum) for checksum in missing])
            except Corrupt as error:
                path = self._paths[Checksum(error.details["expected"])]
                raise Invalid(
                    f"{path} changed while it was being read: submit again when nobody writes to it"
                ) from None
        if self.buffers:
            self._store.put_many(list(self.buffers.values()))


class Binder:
    """Puts values into a store under their declared types, and reads them back. Safe from many threads."""

    def __init__(self, store: Store, files: Files) -> None:
        self._store = store
        self._files = files

    def bind(self, module: Module, values: Mapping[str, Any], beside: Iterable[bytes] = ()) -> dict[str, Ref]:
        """The inputs of a module as references, stored, with the buffers ``beside`` them that the module needs.

        Raises :class:`~weftwork.errors.Invalid` before anything is stored or runs.
        """
        taken = Taken(self._store, self._files)
        columns = self.bind_columns(module, {name: [value] for name, value in values.items()}, 1, taken)
        for data in beside:
            taken.keep(data)
        taken.store()
        return {name: column[0] for name, column in columns.items()}

    def bind_columns(
        self, module: Module, columns: Mapping[str, Sequence[Any]], count: int, taken: Taken
    ) -> dict[str, list[Ref]]:
        """The inputs of ``count`` calls, input by input. What is to be stored gathers in ``taken``, and is not stored yet."""
        inputs = {each.name: each.type for each in module.inputs}
        return {
            name: self._refs(inputs[name], values, f"{module.name}: input {name!r}", taken)
            for name, values in module.bind_columns(columns, count).items()
        }

    def taken(self) -> Taken:
        """What a binding gathers, for :meth:`bind_columns`."""
        return Taken(self._store, self._files)

    def bind_one(self, module: Module, name: str, value: Any) -> Ref:
        """One input of a module, stored once for many calls."""
        return self.put(module.input(name).type, value, f"{module.name}: input {name!r}")

    def put(self, declared: Type, value: Any, where: str = "the value") -> Ref:
        """One value, stored."""
        taken = Taken(self._store, self._files)
        ref = self._ref(declared, convert(declared, value, where), where, taken)
        taken.store()
        return ref

    def _refs(self, declared: Type, values: Sequence[Any], where: str, taken: Taken) -> list[Ref]:
        """:meth:`_ref` of each. Plain values go together, and one that all share goes once."""
        if len(values) > 1 and len(set(map(id, values))) == 1:
            return [self._ref(declared, values[0], where, taken)] * len(values)
        kinds = kinds_of_refs(values)
        if kinds is not None and all(_stays(kind, declared) for kind in kinds):
            return list(values)
        if not _PLAIN.issuperset(map(type, values)):
            return [self._ref(declared, value, where, taken) for value in values]
        encoded = codecs.encode_all(declared, values, taken.keep)
        checksums = taken.keep_all([data for _, data in encoded])
        return [Ref(kind, each, len(data)) for (kind, data), each in zip(encoded, checksums, strict=True)]

    def _ref(self, declared: Type, value: Any, where: str, taken: Taken) -> Ref:
        if isinstance(value, Ref):
            return self.coerce(value, declared, where)
        if isinstance(value, File):
            return self._file(value, where, taken)
        if not declared.inline and declared.name in ("any", "list", "record", "collection"):
            declared = infer(value) if declared.name == "any" else declared
            value = self._without_files(value, where, taken)
        concrete, data = codecs.encode(declared, value, taken.keep)
        return Ref(concrete, taken.keep(data), len(data))

    def _without_files(self, value: Any, where: str, taken: Taken) -> Any:
        """The value with each file in it, at any depth, replaced by its reference."""
        if isinstance(value, File):
            return self._file(value, where, taken)
        if isinstance(value, list):
            return [self._without_files(each, f"{where}[{index}]", taken) for index, each in enumerate(value)]
        if isinstance(value, dict):
            return {name: self._without_files(each, f"{where}[{name!r}]", taken) for name, each in value.items()}
        return value

    def _file(self, file: File, where: str, taken: Taken) -> Ref:
        """A file or directory, taken in."""
        path = self._files.fetch(file.source, file.checksum) if file.remote else Path(os.path.abspath(file.source))
        if isinstance(file, Directory):
            return self._directory(path, where, taken)
        if not path.exists():
            raise Invalid(f"{where}: the file {file.source} does not exist (looked for {path})")
        if not path.is_file():
            raise Invalid(f"{where}: {file.source} is not a regular file; for a directory use weft.Directory")
        try:
            checksum, size = taken.file(path)
        except OSError as error:
            raise Invalid(f"{where}: {file.source} cannot be read: {error.strerror}") from error
        if file.checksum is not None and checksum != file.checksum:
            raise Invalid(
                f"{where}: {file.source} has the checksum {checksum.short}, where {file.checksum.short} was expected"
            )
        return Ref(Type("file"), checksum, size)

    def _directory(self, path: Path, where: str, taken: Taken) -> Ref:
        if not path.is_dir():
            what = "is not a directory; for a file use weft.File" if path.exists() else "does not exist"
            raise Invalid(f"{where}: the directory {path} {what}")
        data = codecs.directory_bytes(taken.directory(path))
        return Ref(Type("directory"), taken.keep(data), len(data))

    def coerce(self, ref: Ref, declared: Type, where: str) -> Ref:
        """A reference as the declared type: as it is, under another name of the same bytes, or read and written anew."""
        if _stays(ref.type, declared):
            return ref
        concrete = declared.concrete
        if ref.type.name in _RAW and concrete.name in _RAW:
            if concrete.name in ("text", "image"):
                convert(declared, codecs.decode_bytes(concrete, self._store.get(ref.checksum)), where)
            return Ref(concrete, ref.checksum, ref.size)
        if ref.type.name == "file":
            value = codecs.from_text(declared, self._store.get(ref.checksum).decode("utf-8", "strict"), where)
        else:
            value = self.value(ref)
        return self.put(declared, value, where)

    def values(self, records: Sequence[Record], again: Again) -> Iterator[dict[str, Any]]:
        """The values of many records, fresh, one after the other: the small ones are read from the store together.

        Where bytes are lost, ``again`` gives the records with their bytes made again.
        """
        read, later, lost = self._small(records)
        if lost:
            records = again(records)
            read, later, _ = self._small(records)
        values = iter(read)
        for record in records:
            # The outputs lead: when there are no more of them, no value has been taken yet.
            some = {name: value for (name, _), value in zip(record.outputs, values, strict=False)}
            yield self._decoded(record, again) if later and _LATER in some.values() else some

    def _small(self, records: Sequence[Record]) -> tuple[list[Any], bool, bool]:
        """The values of the outputs one after the other, ``_LATER`` for those that are not small, or not there; whether
        there are any of these, and whether small ones are lost."""
        refs = [ref for each in records for _, ref in each.outputs]
        # Asked once: bytes of a text may be those of a number as well, and are read as what the reference says.
        inline = [ref.type.inline for ref in refs]
        small = {ref.checksum for ref in itertools.compress(refs, inline) if ref.size <= _SMALL}
        try:
            held = self._store.get_many(list(small))
        except Corrupt:
            held = {}
        found = [held.get(ref.checksum) if plain else None for ref, plain in zip(refs, inline, strict=True)]
        values = from_canonical_all([data for data in found if data is not None])
        if len(values) == len(found):
            return values, False, False
        rest = iter(values)
        return [_LATER if data is None else next(rest) for data in found], True, len(held) < len(small)

    def _decoded(self, record: Record, again: Again) -> dict[str, Any]:
        for left in range(_TRIES, -1, -1):
            try:
                return {name: self.value(ref) for name, ref in record.outputs}
            except (MissingInputs, Corrupt):
                if not left:
                    raise
                (record,) = again([record])
        raise AssertionError

    def value(self, ref: Ref) -> Any:
        """The value, fresh. Raises :class:`~weftwork.errors.MissingInputs` where its bytes are gone."""
        try:
            return codecs.read(ref.type, ref.checksum, self._store.get, self.local)
        except NotFound as error:
            raise MissingInputs(
                f"the bytes of a {ref.type} are gone from the store: {error}", checksums=[str(ref.checksum)]
            ) from error

    def local(self, kind: Type, checksum: Checksum) -> File:
        """A ``File`` or ``Directory`` with a readable path for stored bytes."""
        if kind.name == "directory":
            return Directory(self.directory(checksum), checksum)
        path = self._store.path(checksum)
        if path is None:
            raise MissingInputs(f"{checksum.short} has no local file", checksums=[str(checksum)])
        return File(path, checksum)

    def directory(self, checksum: Checksum) -> Path:
        """A stored directory as a folder of files, made once beside the store's own files and read-only."""
        return self._files.folder(checksum, self._store)

    def export(self, ref: Ref, target: Path) -> None:
        """Write a value where a person wants it: a file's bytes, a directory's files, JSON for the rest; whole or not at all."""
        if ref.type.name == "directory":
            source = self.directory(ref.checksum)
            _copy_tree(source, target)
            return
        temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._store.open(ref.checksum) as stream, open(temporary, "wb") as out:
                while chunk := stream.read(1 << 20):
                    out.write(chunk)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)


Again = Callable[[Sequence[Record]], Sequence[Record]]

_TRIES = 3

_PLAIN = frozenset({type(None), bool, int, float, str})
"""Kinds of Python values that hold nothing else."""

_LATER: Any = object()
_SMALL = 64 * 1024
"""Bytes up to which values are read together."""

_RAW = frozenset({"text", "bytes", "image", "file"})
"""Types whose canonical bytes are the bytes themselves."""


def _stays(kind: Type, declared: Type) -> bool:
    """Whether a reference of a type is one of the declared type as it is."""
    return declared.name == "any" or kind == declared.concrete or (kind.name == "null" and declared.optional)


def _copy_tree(source: Path, target: Path) -> None:
    import shutil

    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    shutil.copytree(source, temporary, copy_function=_copy_writable)
    for folder, _, _ in os.walk(temporary):
        os.chmod(folder, 0o777 & ~_umask())
    if target.exists():
        shutil.rmtree(target)
    os.replace(temporary, target)


def _copy_writable(source: str, target: str) -> None:
    """A copy that its owner may change: what it is copied from is read-only."""
    import shutil

    shutil.copyfile(source, target)
    mode = 0o777 if os.stat(source).st_mode & 0o100 else 0o666
    os.chmod(target, mode & ~_umask())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

"""Owns the job folder and ``job.json``: what is to be run. How it ended is ``outcome.json``, of :mod:`weftwork.node.outcome`.

A job folder is the same everywhere::

    job.json        what to run; written before the folder is handed over, never changed after
    started.jsonl   who claimed the folder, then which process runs; its existence is the claim
    cancel.json     a request to stop, by anybody who can write here
    inputs/         declared inputs, read-only copies
    work/           where the command runs and leaves its outputs
    tmp/, home/     TMPDIR and HOME, when the job names no others
    stdout, stderr  what the command wrote, in files from the first byte
    transfer.log    what staging did
    batch.json      at a batch system: which task of which array this is
    node.log        at a batch system: what was said before the node program spoke, and by it
    outcome.json    the only truth about the end: written last and in one step

``job.json``::

    {"version": 1, "id": "globally unique name of the attempt",
     "command": ["final", "words"],
     "environment": {"PATH": "..."},             complete: nothing is inherited. HOME, TMPDIR are added
                                                 when absent, WEFT_JOB (the folder) always
     "stdin": "inputs/x" | null,                 relative to the folder
     "work": "work",                             where the command starts; outputs are relative to it
     "inputs": [{"path": "inputs/x" | "work/a b.txt", "checksum": hex, "size": int | null,
                 "source": "/absolute/path" | "data": base64, "executable": false, "writable": false},
                {"path": "inputs/d", "entries": [... the same, paths relative to the directory]}],
     "outputs": [{"name": "fit", "kind": "file" | "directory" | "files",
                  "from": "stdout" | "stderr" | "pattern below work", "optional": false}],
     "limits": {"seconds": null, "memory": null, "disk": null, "processes": null, "grace": 5},
     "expects": [{"path": "/usr/bin/tool", "checksum": hex}],
     "container": {...}}                         optional, see weftwork.node.container. The environment is then that of the words
                                                 that start the container; the program's own is among these words
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import os
from dataclasses import dataclass, field
from typing import Any, Final

from weftwork.core.checksum import Checksum, shorten
from weftwork.errors import Invalid
from weftwork.node.container import Container

VERSION: Final = 1
JOB: Final = "job.json"
STREAMS: Final = ("stdout", "stderr")
KINDS: Final = ("file", "directory", "files")


@dataclass(frozen=True, slots=True)
class FileInput:
    """A file to be laid into the folder: a copy of ``source``, or ``data`` itself."""

    path: str
    checksum: Checksum
    size: int | None = None
    source: str | None = None
    data: bytes | None = None
    executable: bool = False
    writable: bool = False

    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = {"path": self.path, "checksum": str(self.checksum), "size": self.size}
        if self.data is not None:
            document["data"] = base64.b64encode(self.data).decode("ascii")
        else:
            document["source"] = self.source
        if self.executable:
            document["executable"] = True
        if self.writable:
            document["writable"] = True
        return document


@dataclass(frozen=True, slots=True)
class DirectoryInput:
    """A directory to be laid into the folder; the paths of ``entries`` are relative to it."""

    path: str
    entries: tuple[FileInput, ...]

    def document(self) -> dict[str, Any]:
        return {"path": self.path, "entries": [entry.document() for entry in self.entries]}


@dataclass(frozen=True, slots=True)
class Output:
    """What to gather: ``origin`` is ``stdout``, ``stderr``, or a pattern below ``work`` (``./stdout`` is a file there)."""

    name: str
    origin: str
    kind: str = "file"
    optional: bool = False

    def document(self) -> dict[str, Any]:
        return {"name": self.name, "kind": self.kind, "from": self.origin, "optional": self.optional}


@dataclass(frozen=True, slots=True)
class Limits:
    """``seconds`` of wall clock, bytes of ``memory`` and ``disk``, number of ``processes``; ``grace`` from SIGTERM to SIGKILL."""

    seconds: float | None = None
    memory: int | None = None
    disk: int | None = None
    processes: int | None = None
    grace: float = 5.0

    def document(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Expected:
    """A program that the key counts by content, and the content it must have when the job starts."""

    path: str
    checksum: Checksum


@dataclass(frozen=True, slots=True)
class Job:
    """The whole of ``job.json``."""

    id: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    stdin: str | None = None
    inputs: tuple[FileInput | DirectoryInput, ...] = ()
    outputs: tuple[Output, ...] = ()
    limits: Limits = Limits()
    expects: tuple[Expected, ...] = ()
    work: str = "work"
    container: Container | None = None

    def document(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "id": self.id,
            "command": list(self.command),
            "environment": dict(self.environment),
            "stdin": self.stdin,
            "work": self.work,
            "inputs": [item.document() for item in self.inputs],
            "outputs": [item.document() for item in self.outputs],
            "limits": self.limits.document(),
            "expects": [{"path": item.path, "checksum": str(item.checksum)} for item in self.expects],
        } | ({} if self.container is None else {"container": self.container.document()})

    @classmethod
    def from_document(cls, document: Any) -> Job:
        """The job of a document, checked throughout. Raises :class:`~weftwork.errors.Invalid`, which names the place."""
        it = _Fields(document, "job.json")
        it.version()
        command = tuple(it.strings("command"))
        if not command or not command[0]:
            raise Invalid("job.json: command is empty: its first word is the program")
        stdin = it.take("stdin", str, None)
        work = relative(it.take("work", str, "work"), "job.json: work")
        if work.split("/")[0] != "work":
            raise Invalid(f"job.json: work is {work!r}; it must be work or a directory below it")
        job = cls(
            id=it.take("id", str),
            command=command,
            environment=_environment(it.take("environment", dict, {})),
            stdin=None if stdin is None else relative(stdin, "job.json: stdin"),
            inputs=tuple(_input(item, f"job.json: inputs[{n}]") for n, item in enumerate(it.take("inputs", list, []))),
            outputs=tuple(
                _output(item, f"job.json: outputs[{n}]") for n, item in enumerate(it.take("outputs", list, []))
            ),
            limits=_limits(it.take("limits", dict, {})),
            expects=tuple(_expected(item, n) for n, item in enumerate(it.take("expects", list, []))),
            work=work,
            container=None if (part := it.take("container", dict, None)) is None else Container.from_document(part),
        )
        it.nothing_else()
        _no_word_with_nul(job.command)
        _distinct(job)
        return job


def write_job(folder: str, job: Job) -> None:
    """Make the folder, with its parents, and write ``job.json`` in one step."""
    os.makedirs(folder, exist_ok=True)
    write_atomically(os.path.join(folder, JOB), job.document())


def read_job(folder: str) -> Job:
    """The job of a folder. Raises :class:`~weftwork.errors.Invalid` when it is missing or wrong."""
    try:
        with open(os.path.join(folder, JOB), "rb") as file:
            document = json.load(file)
    except OSError as error:
        raise Invalid(f"{folder} has no readable job.json: {error.strerror}") from None
    except ValueError as error:
        raise Invalid(f"{folder}/job.json is not JSON: {error}") from None
    return Job.from_document(document)


def write_atomically(path: str, document: Any) -> None:
    """Write a JSON document by way of a second name. No fsync: after a power loss a job without outcome is run again."""
    data = json.dumps(document, ensure_ascii=True, separators=(",", ":")).encode("ascii")
    temporary = path + ".new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    # O_EXCL: never through a link that a job may have laid there.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
    finally:
        os.close(descriptor)
    os.replace(temporary, path)


def relative(path: str, place: str) -> str:
    """The path in its plain form. Raises :class:`~weftwork.errors.Invalid` unless it stays below where it starts."""
    if not path or path.startswith("/") or "\0" in path:
        raise Invalid(f"{place} is {path!r}: a path relative to the job folder is expected")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise Invalid(f"{place} is {path!r}: it must not leave the job folder, so '..' is not allowed")
    return "/".join(parts) or "."


class _Fields:
    """The fields of a JSON object, taken one by one; what was never taken is an error."""

    def __init__(self, document: Any, place: str) -> None:
        if not isinstance(document, dict):
            raise Invalid(f"{place} is {shorten(document)}; a JSON object is expected")
        self._document = dict(document)
        self._place = place

    def take(self, key: str, kind: Any, *default: Any) -> Any:
        if key not in self._document:
            if default:
                return default[0]
            raise Invalid(f"{self._place}: {key!r} is missing")
        value = self._document.pop(key)
        if value is None and default and default[0] is None:
            return None
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise Invalid(f"{self._place}: {key} is {shorten(value)}, a {type(value).__name__} of the wrong type")
        return value

    def strings(self, key: str) -> list[str]:
        values = self.take(key, list)
        for n, value in enumerate(values):
            if not isinstance(value, str):
                raise Invalid(f"{self._place}: {key}[{n}] is {shorten(value)}; a string is expected")
        return list(values)

    def version(self) -> None:
        version = self.take("version", int)
        if version != VERSION:
            raise Invalid(f"{self._place}: version {version} is not known; this node program knows version {VERSION}")

    def nothing_else(self) -> None:
        if self._document:
            raise Invalid(f"{self._place}: {min(self._document)!r} is not a known key")


def _environment(document: dict[str, Any]) -> dict[str, str]:
    for name, value in document.items():
        if not name or "=" in name or "\0" in name:
            raise Invalid(f"job.json: environment: {name!r} cannot be the name of a variable")
        if not isinstance(value, str) or "\0" in value:
            raise Invalid(f"job.json: environment: {name} is {shorten(value)}; a string without NUL is expected")
    return document


def _input(document: Any, place: str) -> FileInput | DirectoryInput:
    it = _Fields(document, place)
    if "entries" not in document:
        return _file(it, place, top=True)
    path = _input_path(it.take("path", str), place)
    entries = tuple(
        _file(_Fields(entry, f"{place}.entries[{n}]"), f"{place}.entries[{n}]", top=False)
        for n, entry in enumerate(it.take("entries", list))
    )
    it.nothing_else()
    return DirectoryInput(path, entries)


def _input_path(path: str, place: str) -> str:
    plain = relative(path, f"{place}.path")
    head, _, rest = plain.partition("/")
    if head not in ("inputs", "work") or not rest:
        raise Invalid(f"{place}.path is {path!r}: inputs lie below inputs/ or work/")
    return plain


def _file(it: _Fields, place: str, *, top: bool) -> FileInput:
    path = it.take("path", str)
    text, source = it.take("data", str, None), it.take("source", str, None)
    if (text is None) == (source is None):
        raise Invalid(f"{place} ({path!r}) needs exactly one of source and data")
    if source is not None and not os.path.isabs(source):
        raise Invalid(f"{place}.source is {source!r}: an absolute path is expected")
    try:
        data = None if text is None else base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid(f"{place}.data is not base64: {error}") from None
    file = FileInput(
        path=_input_path(path, place) if top else relative(path, f"{place}.path"),
        checksum=Checksum(it.take("checksum", str)),
        size=it.take("size", int, None),
        source=source,
        data=data,
        executable=it.take("executable", bool, False),
        writable=it.take("writable", bool, False),
    )
    it.nothing_else()
    return file


def _output(document: Any, place: str) -> Output:
    it = _Fields(document, place)
    output = Output(
        name=it.take("name", str),
        origin=it.take("from", str),
        kind=it.take("kind", str, "file"),
        optional=it.take("optional", bool, False),
    )
    it.nothing_else()
    if output.kind not in KINDS:
        raise Invalid(f"{place}.kind is {output.kind!r}; one of {', '.join(KINDS)} is expected")
    if output.origin in STREAMS:
        if output.kind != "file":
            raise Invalid(f"{place}: {output.origin} is a file, not {output.kind}")
    else:
        relative(output.origin, f"{place}.from")
    return output


def _limits(document: dict[str, Any]) -> Limits:
    it = _Fields(document, "job.json: limits")
    limits = Limits(
        seconds=it.take("seconds", (int, float), None),
        memory=it.take("memory", int, None),
        disk=it.take("disk", int, None),
        processes=it.take("processes", int, None),
        grace=it.take("grace", (int, float), 5.0),
    )
    it.nothing_else()
    for name in Limits.__slots__:
        value = getattr(limits, name)
        if value is not None and not 0 <= value < float("inf"):
            raise Invalid(f"job.json: limits.{name} is {value}; it cannot be negative or infinite")
    return limits


def _expected(document: Any, n: int) -> Expected:
    it = _Fields(document, f"job.json: expects[{n}]")
    expected = Expected(it.take("path", str), Checksum(it.take("checksum", str)))
    it.nothing_else()
    if not os.path.isabs(expected.path):
        raise Invalid(f"job.json: expects[{n}].path is {expected.path!r}: an absolute path is expected")
    return expected


def _no_word_with_nul(words: tuple[str, ...]) -> None:
    for word in words:
        if "\0" in word:
            raise Invalid(
                f"job.json: the word {shorten(word)} of the command contains NUL, which no program can receive"
            )


def _distinct(job: Job) -> None:
    names = [output.name for output in job.outputs]
    paths = [path for item in job.inputs for path in _paths(item)]
    for what, values in (("output", names), ("input path", paths)):
        if len(set(values)) != len(values):
            twice = next(value for value in values if values.count(value) > 1)
            raise Invalid(f"job.json: the {what} {twice!r} is there twice")


def _paths(item: FileInput | DirectoryInput) -> list[str]:
    if isinstance(item, FileInput):
        return [item.path]
    return [item.path, *(f"{item.path}/{entry.path}" for entry in item.entries)]

"""The command lane: a calculation becomes a job folder, an outcome becomes a record's outputs."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weftwork.core import codecs
from weftwork.core.calculation import Calculation
from weftwork.core.checksum import Checksum, canonical, from_canonical
from weftwork.core.module import Command, Module, expand_word
from weftwork.core.module import Output as Declared
from weftwork.core.placement import Resources
from weftwork.core.values import Ref, Type, convert
from weftwork.engine.binding import Binder
from weftwork.errors import Invalid, MissingInputs, NoOutput
from weftwork.node.job import STREAMS, DirectoryInput, Expected, FileInput, Job, Limits, Output, write_job
from weftwork.node.materialise import discard
from weftwork.node.outcome import Gathered, Outcome
from weftwork.ports import Site, Store

_SCRIPT = ".script"
_PATH = ("/usr/local/bin", "/usr/bin", "/bin")
Words = Mapping[str, list[str] | None]
_WORDS = frozenset({"null", "bool", "int", "float", "str", "json"})
"""Types that stand in a command as text rather than as a file."""


class Folders:
    """Writes job folders under ``root`` and reads them back."""

    def __init__(self, root: Path, store: Store, binder: Binder) -> None:
        self.root = root
        self._store = store
        self._binder = binder

    def path(self, task: str) -> Path:
        return self.root / task

    def write(self, task: str, calculation: Calculation, module: Module, resources: Resources, site: Site) -> Path:
        """The folder of an attempt, ready to be handed over. Raises MissingInputs where bytes are gone."""
        program = module.program
        assert isinstance(program, Command)
        values = dict(calculation.inputs)
        inputs = _Inputs(self._store)
        tools = site.tools(calculation.frame.environment)
        words = {name: inputs.word(module, name, ref) for name, ref in values.items()}
        for path, executable, checksum in program.files:
            inputs.file(f"work/{path}", checksum, executable)
        if program.script is not None:
            text = program.script.encode("utf-8")
            inputs.made.append(FileInput(f"inputs/{_SCRIPT}", Checksum.of(text), len(text), data=text))
        job = Job(
            id=task,
            command=_command(module, program, words, tools),
            environment=_environment(module, calculation.frame.environment, tools, words, resources),
            stdin=None if program.stdin is None else inputs.paths[program.stdin],
            inputs=tuple(inputs.made),
            outputs=tuple(_output(each) for each in module.outputs),
            limits=Limits(resources.time, resources.memory, resources.disk),
            expects=_expects(tools, calculation.frame.environment),
        )
        job = site.placed(job, module, calculation.frame.environment, resources)
        folder = self.path(task)
        write_job(str(folder), job)
        return folder

    def collect(self, folder: Path, module: Module, outcome: Outcome) -> dict[str, Ref]:
        """Move the outputs of a finished attempt into the store, each converted to its declared type."""
        out = {}
        for declared in module.outputs:
            gathered = outcome.outputs.get(declared.name)
            if gathered is None:
                out[declared.name] = self._binder.put(Type("any"), None)
            else:
                out[declared.name] = self._collected(
                    folder, declared, gathered, f"{module.name}: output {declared.name!r}"
                )
        return out

    def _collected(self, folder: Path, declared: Declared, gathered: Gathered, where: str) -> Ref:
        if gathered.kind == "file":
            path = folder / gathered.path
            if declared.type.name == "file":
                checksum, size = self._store.put_file(path, gathered.entries[0].checksum, move=True)
                return Ref(Type("file"), checksum, size)
            return self._read(path, declared, where)
        below = folder / gathered.path
        self._store.put_files([(below / entry.path, entry.checksum) for entry in gathered.entries], move=True)
        entries = [(entry.path, entry.executable, entry.checksum) for entry in gathered.entries]
        if declared.type.name == "directory":
            data = codecs.directory_bytes(entries)
        elif declared.type.name == "collection":
            data = canonical([[path, str(checksum)] for path, _, checksum in entries])
        else:
            data = canonical([str(checksum) for _, _, checksum in entries])
        return Ref(declared.type.concrete, self._store.put(data), len(data))

    def _read(self, path: Path, declared: Declared, where: str) -> Ref:
        """What a program printed or wrote, as a value of the declared type."""
        data = path.read_bytes()
        try:
            if declared.type.name in ("bytes", "image"):
                value: Any = data
            elif declared.type.name == "array":
                value = codecs.decode_bytes(declared.type, data)
            else:
                text = data.decode("utf-8")
                value = (
                    text
                    if declared.type.name == "text"
                    else codecs.from_text(declared.type, _stripped(declared.type, text), where)
                )
            return self._binder.put(declared.type, convert(declared.type, value, where), where)
        except (Invalid, UnicodeDecodeError) as error:
            raise NoOutput(f"{where} is not what was declared: {str(error).removeprefix(f'{where}: ')}") from error

    def keep_logs(self, folder: Path, target: Path) -> None:
        """Keep an attempt's streams, unless that was done, before its folder goes."""
        for stream in STREAMS:
            source, kept = os.path.join(folder, stream), os.path.join(target, f"{folder.name}.{stream}")
            with contextlib.suppress(FileNotFoundError):
                if os.stat(source).st_size and not os.path.exists(kept):
                    target.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(source, kept)

    def discard(self, task: str, logs: Path) -> None:
        """Remove the folder of an attempt that is over, once its streams are kept."""
        folder = self.path(task)
        if folder.exists():
            self.keep_logs(folder, logs)
            discard(str(folder))


def _stripped(declared: Type, text: str) -> str:
    """A printed text without the newline at its end."""
    return text.removesuffix("\n") if declared.name == "str" else text


class _Inputs:
    """The inputs of one job, as files of its folder and words of its command."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.made: list[FileInput | DirectoryInput] = []
        self.paths: dict[str, str] = {}

    def word(self, module: Module, name: str, ref: Ref) -> list[str] | None:
        """The words that stand for an input: its text, or paths from the work folder; ``None`` for no value."""
        declared = module.input(name)
        if ref.type.name == "null":
            return None
        if ref.type.name in _WORDS and declared.filename is None:
            value = from_canonical(self._store.get(ref.checksum))
            if isinstance(value, list) and declared.type.name == "list":
                return [codecs.to_text(Type("any"), each) for each in value]
            return [codecs.to_text(ref.type, value)]
        if ref.type.name in ("list", "collection"):
            return self._many(name, ref)
        path = self._place(declared.filename or f"inputs/{name}")
        self.paths[name] = path
        if ref.type.name == "directory":
            self.made.append(self.directory(path, ref.checksum))
        else:
            self.file(path, ref.checksum, False)
        return [_from_work(path)]

    @staticmethod
    def _place(filename: str) -> str:
        return filename if filename.startswith("inputs/") else f"work/{filename}"

    def _many(self, name: str, ref: Ref) -> list[str]:
        """The paths of a list or collection, each a file in a folder of the input's name, in order."""
        out = []
        for label, item in codecs.items(ref.type, self._store.get(ref.checksum)):
            path = f"inputs/{name}/{label}"
            if item.type.name == "directory":
                self.made.append(self.directory(path, item.checksum))
            else:
                self.file(path, item.checksum, False)
            out.append(_from_work(path))
        return out

    def file(self, path: str, checksum: Checksum, executable: bool) -> None:
        self.made.append(FileInput(path, checksum, source=self._source(checksum), executable=executable))

    def directory(self, path: str, checksum: Checksum) -> DirectoryInput:
        entries = from_canonical(self._store.get(checksum))
        return DirectoryInput(
            path,
            tuple(
                FileInput(name, Checksum(each), source=self._source(Checksum(each)), executable=bool(executable))
                for name, executable, each in entries
            ),
        )

    def _source(self, checksum: Checksum) -> str:
        path = self._store.path(checksum)
        if path is None:
            raise MissingInputs(f"the bytes of {checksum.short} are gone from the store", checksums=[str(checksum)])
        return str(path)


def _from_work(path: str) -> str:
    return path.removeprefix("work/") if path.startswith("work/") else f"../{path}"


def _expects(tools: Mapping[str, tuple[str, Checksum]], environment: Mapping[str, Any]) -> tuple[Expected, ...]:
    """What must still be what the key counted when the job starts: programs, and files that the command names."""
    named = {path: Checksum(checksum) for path, checksum in (environment.get("files") or {}).items()}
    return tuple(Expected(path, checksum) for path, checksum in {**named, **dict(tools.values())}.items())


def _command(
    module: Module, program: Command, words: Words, tools: Mapping[str, tuple[str, Checksum]]
) -> tuple[str, ...]:
    """The final words. The program itself is the very file that was counted."""
    if program.script is not None:
        found = tools.get(program.interpreter[0])
        return (found[0] if found else program.interpreter[0], *program.interpreter[1:], f"../inputs/{_SCRIPT}")
    outputs = {each.name: each.path or each.name for each in module.outputs}
    out: list[str] = []
    for word in program.words:
        names = [name for name in Command((word,)).placeholders() if name not in outputs]
        if any(words.get(name) is None for name in names):
            continue
        values = {name: " ".join(words[name] or ()) for name in names} | outputs
        if len(names) == 1 and word == f"{{{names[0]}}}":
            out.extend(words[names[0]] or ())
        else:
            out.append(expand_word(word, values))
    if out and out[0] in tools:
        out[0] = tools[out[0]][0]
    return tuple(out)


def _environment(
    module: Module,
    resolved: Mapping[str, Any],
    tools: Mapping[str, tuple[str, Checksum]],
    words: Words,
    resources: Resources,
) -> dict[str, str]:
    """The fixed environment of a command: nothing of ours, declared variables, and a script's inputs."""
    threads = str(resources.cpus)
    out = {
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "NUMEXPR_NUM_THREADS": threads,
    }
    if "image" not in resolved:
        # In a container the PATH is the image's own.
        out["PATH"] = ":".join(dict.fromkeys([*(os.path.dirname(path) for path, _ in tools.values()), *_PATH]))
    if isinstance(module.program, Command) and module.program.script is not None:
        out |= {name: "\n".join(value) for name, value in words.items() if value is not None}
        out |= {each.name: each.path or each.name for each in module.outputs if each.source == "path"}
    return out | dict(resolved.get("variables") or {})


def _output(declared: Declared) -> Output:
    kind = {"directory": "directory", "collection": "files", "list": "files"}.get(declared.type.name, "file")
    if declared.type.inline:
        kind = "file"
    origin = declared.source if declared.source in ("stdout", "stderr") else declared.path or declared.name
    if origin in ("stdout", "stderr") and declared.source == "path":
        origin = f"./{origin}"
    return Output(declared.name, origin, kind, declared.type.optional)

"""A command line becomes a module: the files that it reads and writes, and the programs that it names.

The command runs in a fresh folder. Files below the current folder keep their relative place there; others are laid
beside it, and the word that names them is replaced. What its words name as programs is found by
:mod:`weftwork.modules.programs`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weftwork.core.checksum import Checksum
from weftwork.core.environment import Environment
from weftwork.core.module import Carried, Command, Input, Module, Output, by_name
from weftwork.core.placement import Resources
from weftwork.core.values import Directory, File, Ref, Type
from weftwork.errors import Invalid, NotFound
from weftwork.modules.programs import Programs, is_line, is_program, named_programs

_SYSTEM = ("/usr/", "/bin/", "/sbin/", "/lib", "/etc/", "/dev/", "/proc/", "/sys/")
"""Where files lie that belong to the system, and are taken to stay as they are."""

_EMPTY = b"[]"
"""The canonical bytes of a directory without files."""


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A command line as a module, with its inputs; ``outputs`` says where the caller wants each output, by its name.

    ``undeclared`` are files that the command names by their full paths and so reads where they lie: their content is not
    in its key.
    """

    module: Module
    carried: Carried
    values: Mapping[str, Any]
    outputs: Mapping[str, Path]
    declared: frozenset[str]
    undeclared: tuple[str, ...] = ()

    def resolve(self) -> tuple[Module, Carried]:
        return self.module, self.carried

    def bound(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Its own values, and what is given instead."""
        return {**self.values, **by_name(self.module.name, [each.name for each in self.module.inputs], args, kwargs)}


def wrap(
    folder: Path,
    words: Sequence[str],
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
    *,
    name: str | None = None,
    variables: Mapping[str, str] | None = None,
    resources: Resources | None = None,
    before: Sequence[str] = (),
) -> Wrapped:
    """The module of a command that is run in ``folder``. A single word with a space or a character that a shell reads is a line for the shell.

    An output that ends in ``/`` is a directory. ``before`` are words put before the command, such as a tracer's.

    Raises :class:`~weftwork.errors.NotFound` for an input that is not there, :class:`~weftwork.errors.Invalid` for
    words that make no command, or that do not name a file that lies outside of the folder.
    """
    if not words or not words[0].strip():
        raise Invalid("there is no command to run: give its words after --, as in `weft do -i in.txt -- sort in.txt`")
    files = _Files(folder)
    for each in inputs:
        files.input(each)
    for each in outputs:
        files.output(each)
    programs = named_programs(folder, words)
    programs.local.extend(each for each in files.programs_given() if each not in programs.local)
    shipped = files.programs(programs)
    line = ("sh", "-c", files.line(words[0])) if is_line(words) else files.words(words, programs)
    tools = [*programs.tools, *before[:1]]
    module = Module(
        name=name or _module_name(programs.name),
        inputs=tuple(files.inputs),
        outputs=(
            *files.outputs,
            Output("stdout", Type("file"), source="stdout"),
            Output("stderr", Type("file"), source="stderr"),
        ),
        program=Command((*(_escaped(each) for each in before), *line), files=tuple(shipped)),
        environment=Environment(tools=tuple(sorted(set(tools))), variables=tuple(sorted((variables or {}).items()))),
        resources=resources or Resources(),
    )
    buffers = (*(data for _, data in programs.read(folder)), _EMPTY)
    declared = files.known() | {str(folder / relative) for relative, _, _ in shipped}
    undeclared = _full_paths(words) - declared - set(tools)
    return Wrapped(
        module, Carried(buffers), files.values(), files.targets, frozenset(declared), tuple(sorted(undeclared))
    )


def _full_paths(words: Sequence[str]) -> set[str]:
    """The files that words name by their full paths, but for those of the system, and those that a line only writes."""
    if is_line(words):
        texts = _SEPARATORS.split(_WRITTEN.sub(" ", words[0]))
    else:
        texts = [*words, *(each.partition("=")[2] for each in words)]
    paths = {os.path.normpath(text) for text in texts if text.startswith("/") and not text.startswith(_SYSTEM)}
    return {path for path in paths if os.path.isfile(path)}


_WRITTEN = re.compile(r">[>|]?\s*\S+")
_SEPARATORS = re.compile(r"[\s;|&<>()'\"=]+")


@dataclass(slots=True)
class _Files:
    """The declared files of one command."""

    folder: Path
    inputs: list[Input] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    targets: dict[str, Path] = field(default_factory=dict)
    _given: dict[str, Any] = field(default_factory=dict)
    _names: set[str] = field(default_factory=lambda: {"stdout", "stderr"})
    _directories: set[str] = field(default_factory=set)
    _used: dict[str, str] = field(default_factory=dict)

    def input(self, text: str) -> None:
        path = self._absolute(text)
        if str(path) in self._used or self._covered(path):
            return
        if not path.exists():
            raise NotFound(f"the input {text} is not there (looked for {path})")
        name = self._used[str(path)] = self._name(path)
        kind = "directory" if path.is_dir() else "file"
        relative = self._relative(path)
        if relative == ".":
            raise Invalid("the whole current folder cannot be an input: name what the command reads in it")
        place = f"inputs/{name}/{path.name}" if relative is None else _below_work(relative)
        self.inputs.append(Input(name, Type(kind), filename=place))
        self._given[name] = Directory(path) if kind == "directory" else File(path)
        if kind == "directory":
            self._directories.add(str(path))

    def output(self, text: str) -> None:
        path = self._absolute(text)
        if str(path) in self._used:
            raise Invalid(
                f"{text} is named twice among inputs and outputs: a command reads its inputs and writes other files; "
                "have it write a new file"
            )
        name = self._used[str(path)] = self._name(path)
        relative = self._relative(path)
        kind = "directory" if text.endswith("/") else "file"
        place = f"outside/{name}/{path.name}" if relative is None else relative
        self.outputs.append(Output(name, Type(kind), path=place))
        self.targets[name] = path
        self._make_parent(place)

    def _make_parent(self, place: str) -> None:
        """The folder that an output is written to is there, as it would be for the person."""
        parent = os.path.dirname(place)
        if not parent or any(each.filename == _below_work(parent) for each in self.inputs):
            return
        name = self._name(Path("folder") / parent.replace("/", "_"))
        self.inputs.append(Input(name, Type("directory"), filename=_below_work(parent)))
        self._given[name] = Ref(Type("directory"), Checksum.of(_EMPTY), len(_EMPTY))

    def programs_given(self) -> list[str]:
        """Inputs below the folder that are programs themselves."""
        paths = [Path(value.source) for value in self._given.values() if type(value) is File]
        return [str(path.relative_to(self.folder)) for path in paths if self._relative(path) and is_program(path)]

    def programs(self, programs: Programs) -> list[tuple[str, bool, Checksum]]:
        """The local programs that are not inputs already, as files of the command."""
        out = []
        for (relative, data), executable in zip(
            programs.read(self.folder), programs.executable(self.folder), strict=True
        ):
            path = self.folder / relative
            if self._covered(path):
                continue
            if str(path) in self._used:
                self._forget(relative)
            out.append((relative, executable, Checksum.of(data)))
        return out

    def _forget(self, relative: str) -> None:
        """A program that was declared as an input too comes with its right to be run, and once."""
        for each in [each for each in self.inputs if each.filename == _below_work(relative)]:
            self.inputs.remove(each)
            del self._given[each.name]

    def words(self, words: Sequence[str], programs: Programs) -> tuple[str, ...]:
        """The words of the command, with those replaced that name a file outside of the folder, or by its full path."""
        named = {str(self._absolute(text)) for word in words for text in (word, word.partition("=")[2])}
        for path in sorted(self._outside() - named):
            raise Invalid(
                f"{path} lies outside of the current folder, and no word of the command names it: write the path as a word "
                "of its own or behind an equals sign, or run the command from a folder above it"
            )
        return (programs.first or self._word(words[0]), *(self._word(each) for each in words[1:]))

    def line(self, line: str) -> str:
        """A line for the shell, in which nothing can be replaced."""
        for path in sorted(self._outside()):
            raise Invalid(
                f"{path} lies outside of the current folder, and the command is a line for the shell: give the command "
                "as words, or run it from a folder above"
            )
        return _escaped(line)

    def _outside(self) -> set[str]:
        return {path for path in self._used if self._relative(Path(path)) is None}

    def _word(self, word: str) -> str:
        head, equals, tail = word.partition("=")
        if equals and self._path_word(tail) is not None:
            return f"{_escaped(head)}={self._path_word(tail)}"
        return self._path_word(word) or _escaped(word)

    def _path_word(self, text: str) -> str | None:
        """What stands for the path of a declared file; ``None`` where the text may stay as it is."""
        path = self._absolute(text)
        name = self._used.get(str(path))
        if not text or name is None:
            return None
        relative = self._relative(path)
        if relative is None:
            return f"{{{name}}}"
        return _escaped(relative) if os.path.isabs(text) else None

    def _absolute(self, text: str) -> Path:
        return Path(os.path.normpath(self.folder / os.path.expanduser(text)))

    def _relative(self, path: Path) -> str | None:
        return str(path.relative_to(self.folder)) if path.is_relative_to(self.folder) else None

    def _covered(self, path: Path) -> bool:
        return any(str(each) in self._directories for each in path.parents)

    def _name(self, path: Path) -> str:
        relative = self._relative(path) or path.name
        base = re.sub(r"[^A-Za-z0-9_]+", "_", relative).strip("_") or "file"
        base = f"f_{base}" if base[0].isdigit() else base
        name, number = base, 2
        while name in self._names:
            name, number = f"{base}_{number}", number + 1
        self._names.add(name)
        return name

    def values(self) -> dict[str, Any]:
        return dict(self._given)

    def known(self) -> set[str]:
        """The absolute paths that were declared."""
        return set(self._used)


def _below_work(relative: str) -> str:
    """A place below the work folder: ``inputs/`` alone would be the folder's neighbour."""
    return f"./{relative}" if relative == "inputs" or relative.startswith("inputs/") else relative


def _escaped(word: str) -> str:
    return word.replace("{", "{{").replace("}", "}}")


def _module_name(program: str) -> str:
    name = re.sub(r"[^A-Za-z0-9_.\-]+", "_", program).strip("_.-") or "command"
    return f"_{name}" if name[0].isdigit() else name

"""What a module's document says of its command or script, and of the files that lie beside it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from weftwork.core.module import Command, Input, Output, nearest
from weftwork.errors import Invalid
from weftwork.formats import words
from weftwork.formats.document import Problems
from weftwork.formats.nodes import Where
from weftwork.formats.signature import inside

P = TypeVar("P", covariant=True)


@dataclass(frozen=True, slots=True)
class ProgramPart(Generic[P]):
    """A program and its helper files, (path in the job, path as written)."""

    program: P
    files: tuple[tuple[str, str], ...] = ()


def read_program(
    value: dict[str, Any], path: Where, inputs: Iterable[Input], outputs: Iterable[Output], problems: Problems
) -> ProgramPart[Command] | None:
    """The command or script of a module; ``None`` where it cannot be read."""
    names = [each.name for each in inputs]
    stdin = value.get("stdin")
    if stdin is not None and stdin not in names:
        problems.add(
            (*path, "stdin"), f"there is no input {stdin!r}{nearest(stdin, names)}; stdin is the name of an input"
        )
    files = _files(value.get("files", ()), (*path, "files"), problems)
    if "script" in value:
        interpreter = _words(value.get("interpreter", ["sh"]), (*path, "interpreter"), problems)
        return (
            None if interpreter is None else ProgramPart(Command((), value["script"], interpreter, stdin=stdin), files)
        )
    found = _words(value["command"], (*path, "command"), problems)
    if found is None:
        return None
    left = [each.name for each in outputs if each.source == "path"]
    for index, word in enumerate(found):
        where = (*path, "command", index) if isinstance(value["command"], list) else (*path, "command")
        for fault in words.placeholder_faults(word, names, left):
            problems.add(where, fault)
    return ProgramPart(Command(found, stdin=stdin), files)


def _words(value: Any, path: Where, problems: Problems) -> tuple[str, ...] | None:
    try:
        found = words.split(value) if isinstance(value, str) else tuple(value)
    except Invalid as error:
        problems.add(path, str(error))
        return None
    for index, word in enumerate(found):
        if "\0" in word or (index == 0 and not word):
            problems.add(
                path, "a word cannot hold a NUL character" if word else "the first word, the program, is empty"
            )
            return None
    return found


def _files(value: Any, path: Where, problems: Problems) -> tuple[tuple[str, str], ...]:
    if isinstance(value, dict):
        pairs: list[tuple[str | int, str, str]] = [(target, target, source) for target, source in value.items()]
    else:
        pairs = [(index, source, source) for index, source in enumerate(value)]
    found: dict[str, str] = {}
    for key, target, source in pairs:
        where = (*path, key)
        if source.startswith("/") or "\0" in source or "://" in source:
            problems.add(
                where, f"{source!r} is not a path relative to this document; move the file beside it, or below"
            )
        elif isinstance(key, int) and ".." in source.split("/"):
            problems.add(
                where,
                f"{source!r} is not below this document; say what it is called in the job: `files: {{name: {source}}}`",
            )
        else:
            clean = inside(target, where, problems)
            if clean in found:
                problems.add(where, f"two helper files are called {clean}; give one another name")
            found[clean] = source
    return tuple(found.items())

"""The declared inputs and outputs of a module's document. The structure is sound already; here its meaning is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from weftwork.core.checksum import shorten
from weftwork.core.module import ABSENT, Input, Output
from weftwork.core.values import SCALARS, Type, convert
from weftwork.errors import Invalid
from weftwork.formats.document import Problems
from weftwork.formats.nodes import Where

_LONGEST_TYPE = 200
_STREAMS = ("stdout", "stderr")
_FILES = frozenset({"file", "directory"})
_ON_DISK = _FILES | {"image", "text", "bytes", "array", "table", "collection"}


def declared_inputs(
    value: Mapping[str, Any], path: Where, problems: Problems, folder: Path | None = None
) -> tuple[Input, ...]:
    """The inputs of a module or workflow; what is wrong with each is added to the problems.

    With a ``folder`` a path may be a default, and is relative to it.
    """
    found = (_input(name, each, (*path, name), problems, folder) for name, each in value.items())
    return tuple(each for each in found if each is not None)


def declared_outputs(value: Mapping[str, Any], path: Where, problems: Problems) -> tuple[Output, ...]:
    """The outputs of a module; what is wrong with each is added to the problems."""
    found = (_output(name, each, (*path, name), problems) for name, each in value.items())
    return tuple(each for each in found if each is not None)


def _input(name: str, value: Any, path: Where, problems: Problems, folder: Path | None) -> Input | None:
    declared = read_type(value, path, problems)
    if declared is None:
        return None
    if isinstance(value, str):
        return Input(name, declared)
    default = ABSENT
    if "default" in value:
        default = read_value(declared, value["default"], (*path, "default"), problems, folder)
    filename = value.get("filename")
    if filename is not None:
        if "/" in filename or "\0" in filename or filename in (".", ".."):
            problems.add((*path, "filename"), f"{filename!r} is not the name of a file; write it without folders")
        elif declared.name not in _ON_DISK:
            problems.add(
                (*path, "filename"), f"an input of type {declared} is no file; remove it, or make the type file"
            )
    return Input(name, declared, default, filename=filename, description=value.get("description", ""))


def _output(name: str, value: Any, path: Where, problems: Problems) -> Output | None:
    declared = read_type(value, path, problems)
    if declared is None:
        return None
    if isinstance(value, str):
        return Output(name, declared)
    description = value.get("description", "")
    tolerance = float(value["tolerance"]) if "tolerance" in value else None
    scratch = bool(value.get("scratch", False))
    origin = value.get("from")
    if origin in _STREAMS:
        return Output(name, declared, None, origin, description, tolerance, scratch)
    place = None if origin is None else inside(origin, (*path, "from"), problems)
    return Output(name, declared, place, "path", description, tolerance, scratch)


def inside(text: str, path: Where, problems: Problems) -> str:
    """A path below the work folder, without ``.`` in it. One that leads out of it is a problem."""
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if text.startswith("/") or ".." in parts or not parts or "\0" in text:
        problems.add(
            path,
            f"{text!r} leads out of the work folder; write a path below it, such as results/{parts[-1] if parts else 'x'}",
        )
    return "/".join(parts)


def read_type(value: Any, path: Where, problems: Problems) -> Type | None:
    """The type in a text, or in a mapping that may have other keys beside those of a type."""
    try:
        if isinstance(value, str):
            return _whole(_named(value))
        base = _named(value["type"])
        item = base.item if "item" not in value else read_type(value["item"], (*path, "item"), problems)
        fields = [
            (name, read_type(each, (*path, "fields", name), problems)) for name, each in value.get("fields", {}).items()
        ]
        if item is None and "item" in value:
            return None
        declared = replace(
            base,
            item=item,
            fields=tuple((name, each) for name, each in fields if each is not None),
            optional=value.get("optional", base.optional),
        )
        return _restricted(_whole(declared), value, path, problems)
    except Invalid as error:
        problems.add(path if isinstance(value, str) else (*path, "type"), str(error))
        return None


def _named(text: str) -> Type:
    if len(text) > _LONGEST_TYPE:
        raise Invalid(f"{shorten(text)} is not a type; write a name such as float, list[file] or int?")
    return Type.of(text)


def _whole(declared: Type) -> Type:
    """The type, whose records all say what they hold."""
    if declared.name == "record" and not declared.fields:
        raise Invalid("a record needs `fields`, the name of each to its type; for any mapping write json")
    if declared.item is not None:
        _whole(declared.item)
    return declared


def _restricted(declared: Type, value: Mapping[str, Any], path: Where, problems: Problems) -> Type | None:
    """The type with its choices and range, which only scalars (and lists of them) can have."""
    for key, fits, where in (
        ("item", ("list", "collection"), "a list or a collection"),
        ("fields", ("record",), "a record"),
    ):
        if key in value and declared.name not in fits:
            problems.add((*path, key), f"a type {declared.name} has no {key}; {where} has")
    scalar = declared.item if declared.name == "list" and declared.item is not None else declared
    choices: list[Any] = []
    for index, each in enumerate(value.get("choices", ())):
        where_ = (*path, "choices", index)
        if scalar.name not in SCALARS:
            problems.add(
                (*path, "choices"),
                f"a type {declared} has no choices; {', '.join(sorted(SCALARS))} have, and lists of them",
            )
            return None
        choices.append(_converted(scalar, each, where_, problems))
    low, high = value.get("range", (None, None))
    if "range" in value and scalar.name not in ("int", "float"):
        problems.add((*path, "range"), f"a type {declared} has no range; int and float have, and lists of them")
        return None
    if any(isinstance(bound, float) and math.isnan(bound) for bound in (low, high)):
        problems.add((*path, "range"), "a bound cannot be NaN; write null for no bound")
        return None
    try:
        return replace(declared, choices=tuple(choices), minimum=low, maximum=high)
    except Invalid as error:
        problems.add((*path, "range"), str(error))
        return None


def read_value(declared: Type, value: Any, path: Where, problems: Problems, folder: Path | None = None) -> Any:
    """A value converted to its type, as JSON: paths are joined to the folder, or refused where there is none."""
    if value is None and declared.optional:
        return None
    if says_all(declared):
        return _converted(declared, value, path, problems)
    if folder is None:
        problems.add(
            path,
            f"an input of type {declared} has no default in a module: a path is no content; make it optional ({declared}?), "
            "or put the file under `files`",
        )
        return None
    located = joined(value, folder)
    _converted(declared, located, path, problems)
    return located


def says_all(declared: Type) -> bool:
    """Whether JSON can hold the value itself, and not only the path of a file with it."""
    if declared.name == "list":
        return declared.item is not None and says_all(declared.item)
    if declared.name == "record":
        return all(says_all(each) for _, each in declared.fields)
    return declared.inline or declared.name in ("text", "any")


def joined(value: Any, folder: Path) -> Any:
    """A value that holds paths, each joined to a folder; addresses and absolute paths stay."""
    if isinstance(value, dict):
        return {name: joined(each, folder) for name, each in value.items()}
    if isinstance(value, list):
        return [joined(each, folder) for each in value]
    return str(folder / value) if isinstance(value, str) and "://" not in value else value


def _converted(declared: Type, value: Any, path: Where, problems: Problems) -> Any:
    try:
        return convert(declared, value, "\0")
    except Invalid as error:
        # The place is told by the line and the path; what is left of the text says the value and what is expected.
        problems.add(path, str(error).replace("\0: ", "").replace("\0", "the value"))
        return None

"""Inputs as a person gives them: ``-i name=value`` and a file of inputs, converted by what is declared."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from weftwork.core import codecs
from weftwork.core.module import Input, nearest
from weftwork.core.values import Type
from weftwork.errors import Invalid


def given_inputs(declared: Sequence[Input], pairs: Sequence[str], file: str | None) -> dict[str, Any]:
    """The inputs by name; those of ``-i`` win over those of the file.

    Raises :class:`~weftwork.errors.Invalid`, naming the input, the value and what was expected.
    """
    known = {each.name: each for each in declared}
    values: dict[str, Any] = {}
    if file is not None:
        values = _from_file(known, file)
    texts: dict[str, list[str]] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise Invalid(f"-i {pair}: write it as name=value, as in -i {next(iter(known), 'x')}=1")
        _input(known, name)
        texts.setdefault(name, []).append(text)
    for name, several in texts.items():
        values[name] = _value(known[name], several)
    return values


def _input(known: Mapping[str, Input], name: str) -> Input:
    if name not in known:
        raise Invalid(f"there is no input {name!r}{nearest(name, known)}; the inputs are {', '.join(known) or 'none'}")
    return known[name]


def _value(declared: Input, texts: Sequence[str]) -> Any:
    where = f"input {declared.name!r}"
    kind = declared.type
    if len(texts) == 1:
        return codecs.from_text(kind, texts[0], where)
    if kind.name != "list" or kind.item is None:
        raise Invalid(f"{where} is given {len(texts)} times, and takes one {kind}")
    return [codecs.from_text(kind.item, text, f"{where}[{index}]") for index, text in enumerate(texts)]


def _from_file(known: Mapping[str, Input], file: str) -> dict[str, Any]:
    """The inputs that a file holds; relative paths in it begin at its own folder."""
    from weftwork.formats.document import read_inputs

    folder = Path(file).absolute().parent
    return {name: _placed(_input(known, name).type, value, folder) for name, value in read_inputs(file).items()}


def _placed(kind: Type, value: Any, folder: Path) -> Any:
    if kind.name in ("file", "directory") and isinstance(value, str) and "://" not in value:
        return os.path.normpath(folder / os.path.expanduser(value))
    if kind.item is not None and isinstance(value, list):
        return [_placed(kind.item, each, folder) for each in value]
    if kind.item is not None and isinstance(value, dict):
        return {name: _placed(kind.item, each, folder) for name, each in value.items()}
    if kind.fields and isinstance(value, dict):
        types = dict(kind.fields)
        return {name: _placed(types[name], each, folder) if name in types else each for name, each in value.items()}
    return value

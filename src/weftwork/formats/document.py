"""A document as it was read: its plain value, the place of everything in it, and its problems, told all at once.

Owns the reading of a file (:func:`read`, the only I/O of this floor) and the shape of messages:
``file:line: path.to.key: what is wrong; what would be right``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weftwork.core.checksum import shorten
from weftwork.errors import Invalid, NotFound
from weftwork.formats import json_text, yaml_text
from weftwork.formats.nodes import Node, Where, locate, plain

MAX_BYTES = {"yaml": 16 * 1024**2, "json": 256 * 1024**2}
"""Sizes above which a document is refused. YAML takes about 0.1 ms a line to read: large workflows are JSON."""

_LISTED = 50
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_\-]*\Z")


@dataclass(slots=True)
class Document:
    """A document's value, its name (the file as it was given) and its text; :meth:`place` finds things in it."""

    name: str
    text: str
    value: Any
    folder: Path = Path()
    """Where the document's relative paths begin."""
    _root: Node | None = field(default=None, repr=False)

    def place(self, path: Sequence[str | int]) -> tuple[int, int]:
        """Line and column (from 1) of a path: of the key where it ends in one; of the nearest thing above what is not there."""
        if self._root is None:
            self._root = json_text.parse(self.text, self.name)
        return locate(self._root, path)


def read(path: str | os.PathLike[str]) -> Document:
    """The document in a file: JSON where its name ends in ``.json``, else YAML.

    Raises :class:`~weftwork.errors.NotFound` where there is no such file, :class:`~weftwork.errors.Invalid` where it cannot be read.
    """
    name = os.fspath(path)
    limit = MAX_BYTES[_notation(name)]
    try:
        with open(name, "rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError:
        raise NotFound(f"{name}: there is no such file") from None
    except OSError as error:
        raise Invalid(f"{name}: the file cannot be read: {error.strerror or error}") from None
    document = parse(data, name)
    # Not relative to the working directory, which a later process may not share.
    document.folder = Path(name).absolute().parent
    return document


def parse(text: str | bytes, name: str = "document.yaml") -> Document:
    """The document in a text. ``name`` is used in messages, and its ending ``.json`` says that the text is JSON."""
    notation = _notation(name)
    limit = MAX_BYTES[notation]
    if len(text) > limit:
        other = "; write a large workflow as JSON" if notation == "yaml" else ""
        raise Invalid(f"{name}: the document is larger than {limit // 1024**2} MiB{other}")
    if isinstance(text, bytes):
        text = _decoded(text, name)
    text = text.removeprefix("\ufeff")
    if notation == "json":
        return Document(name, text, json_text.loads(text, name), Path(name).parent)
    root = yaml_text.parse(text, name)
    return Document(name, text, plain(root), Path(name).parent, root)


def _decoded(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Invalid(f"{name}:{line}: the text is not UTF-8: {error.reason}; save the file as UTF-8") from None


def read_inputs(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The inputs in a file: a mapping of names to values, YAML or JSON."""
    return inputs_of(read(path))


def inputs_of(document: Document) -> dict[str, Any]:
    """The inputs that a document holds: a mapping of names to values."""
    if not isinstance(document.value, dict):
        problems = Problems(document)
        problems.add(
            (), f"{shorten(document.value)} is given where inputs are expected; write name: value, a line each"
        )
        problems.raise_all()
    return dict(document.value)


class Problems:
    """What is wrong with a document, collected so that all of it is told at once."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._found: dict[tuple[int, int, Where, str], None] = {}

    def __len__(self) -> int:
        return len(self._found)

    def add(self, path: Iterable[str | int], what: str) -> None:
        """Something is wrong at a path; ``what`` says what, and what would be right."""
        where = tuple(path)
        self._found[(*self._document.place(where), where, what)] = None

    def raise_all(self) -> None:
        """Raise :class:`~weftwork.errors.Invalid` with all problems in the order of their lines, if there are any."""
        if not self._found:
            return
        found = sorted(self._found, key=lambda each: each[:2])
        name = self._document.name
        lines = [f"{name}:{line}: {_prefix(path)}{what}" for line, _, path, what in found[:_LISTED]]
        if len(found) > _LISTED:
            lines.append(f"{name}: and {len(found) - _LISTED} more problems")
        raise Invalid(
            "\n".join(lines),
            problems=[
                {"file": name, "line": line, "column": column, "path": list(path), "message": what}
                for line, column, path, what in found
            ],
        )


def written(path: Sequence[str | int]) -> str:
    """A path for people: ``steps.fit.inputs.data[2]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _PLAIN_KEY.match(part) else shorten(part))
    return text


def _prefix(path: Sequence[str | int]) -> str:
    return f"{written(path)}: " if path else ""


def _notation(name: str) -> str:
    return "json" if name.lower().endswith(".json") else "yaml"

"""The bundle: the document of a Python program, and the program's identity, a pure function of that document.

A bundle is a graph. ``nodes`` are the things that have an identity of their own (modules, functions, classes, lists,
dicts, arrays, ...), numbered in the order in which a traversal with sorted names meets them; all else is written in
place::

    {"format": "weft.bundle.v1", "codecs": {...}, "counts": [...], "entry": VALUE, "declared": [VALUE, ...],
     "nodes": [NODE, ...], "packages": [...], "optimize": 0,
     "settings": [[name, VALUE], ...], "patches": [...], "limits": {...}}

    VALUE   null | bool | int | float | str | {"ref": 3} | {"tuple": [...]} | {"decimal": "0.1"} | {"name": [module, qualname]} ...
    NODE    {"kind": "function", "name", "qualname", "module": 0, "form", "source", "line", "column", "free", "closure", ...}
            {"kind": "module", "name", "file", "names": {name: VALUE}} | {"kind": "class", ...} | {"kind": "list", "items"} ...

Which of a node's fields are for people or tracebacks only is written here, once (``_UNCOUNTED``); everything else
counts. :mod:`weftwork.python.bundling` makes bundles, :mod:`weftwork.node.unbundle` runs them,
:mod:`weftwork.core.changes` tells two apart.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from weftwork.core.changes import Change, differences
from weftwork.core.checksum import Checksum, canonical
from weftwork.core.syntax import fingerprint
from weftwork.errors import Invalid

__all__ = ["CODECS", "FORMAT", "Change", "check_format", "counted", "differences", "identity"]

FORMAT: Final = "weft.bundle.v1"
CODECS: Final[dict[str, int]] = {"array": 1, "value": 1}
"""Versions of how captured values are written; part of every identity."""

_UNCOUNTED: Final[dict[str, frozenset[str]]] = {
    "function": frozenset({"source", "line", "column", "file"}),
    "module": frozenset({"name", "file", "package"}),
    "class": frozenset({"line", "file"}),
    "extension": frozenset({"file"}),
}

_BY_NAME: Final = frozenset({"entries", "namespace", "names", "closure", "kwdefaults", "attributes", "keywords"})
"""Fields of nodes that hold values under names which the program chose."""


def identity(document: Mapping[str, Any]) -> Checksum:
    """What the program *is*: equal for equal programs, whatever their files, lines, comments and module names.

    Raises :class:`~weftwork.errors.Invalid` when the document is no bundle that this version understands.
    """
    check_format(document)
    nodes = [counted(node, document["counts"]) for node in document["nodes"]]
    parts = [
        FORMAT,
        document["codecs"],
        document["counts"],
        document["optimize"],
        document["entry"],
        document["declared"],
        document.get("settings", []),
        document.get("patches", []),
    ]
    return Checksum.of(canonical([*parts, nodes]))


def check_format(document: Mapping[str, Any]) -> None:
    """Raises :class:`~weftwork.errors.Invalid` unless the document is a bundle that this version understands."""
    if document.get("format") != FORMAT:
        raise Invalid(
            f"not a program of this version: its format is {document.get('format')!r}, {FORMAT!r} is expected"
        )
    if document.get("codecs") != CODECS:
        raise Invalid(f"the program's values are written as {document.get('codecs')!r}, {CODECS!r} is expected")


def blobs(document: Mapping[str, Any]) -> set[Checksum]:
    """The buffers that a bundle names and does not hold: long texts and bytes that were captured, arrays, extensions."""
    found: set[Checksum] = set()
    for node in document["nodes"]:
        _gather(node, found)
    for part in ("entry", "declared", "settings", "patches"):
        _gather(document.get(part), found)
    return found


def _gather(value: Any, found: set[Checksum]) -> None:
    if isinstance(value, list):
        for each in value:
            _gather(each, found)
    elif isinstance(value, dict):
        if isinstance(value.get("blob"), str):
            found.add(Checksum(value["blob"]))
        for name, each in value.items():
            # What is called by names of the program's own: one of them may well be `blob`.
            _gather(list(each.values()) if name in _BY_NAME and isinstance(each, dict) else each, found)


def counted(node: Mapping[str, Any], counts: Collection[str] = ()) -> dict[str, Any]:
    """What counts of one node: its fields without those for people, a function's syntax in place of its source.

    ``counts`` names what this program may see beside that: ``docstrings``, ``places`` (sources as written, files and
    lines), the ``order`` of dicts.
    """
    kind = node["kind"]
    uncounted = frozenset() if "places" in counts else _UNCOUNTED.get(kind, frozenset())
    found = {name: value for name, value in node.items() if name not in uncounted}
    if kind == "function":
        found["syntax"] = fingerprint(node["source"], node["form"], docstrings="docstrings" in counts)
    elif kind not in ("class", "module") and "order" not in counts:
        found = _unordered(found)
    return found


def _unordered(value: Any) -> Any:
    """Dicts, and the states of objects, without the order of their keys."""
    if isinstance(value, dict):
        known = "entries" in value
        return {name: _unordered(item) for name, item in value.items() if not (known and name == "order")}
    return [_unordered(item) for item in value] if isinstance(value, list) else value

"""From a live Python function to its bundle: what is hashed, what is shipped, and what is run.

:func:`bundle` is the door; :mod:`weftwork.python.walk` does the work, and :func:`weftwork.core.bundle.identity` names
what comes out. Identity is taken at submission: a bundle is made anew each time, from the objects as they are then.
"""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weftwork.core.bundle import CODECS, FORMAT, identity
from weftwork.core.checksum import Checksum
from weftwork.errors import Invalid, Refused
from weftwork.python import classes, files, patches, settings
from weftwork.python.checks import Caution
from weftwork.python.values import share
from weftwork.python.walk import Walker, unwrapped

__all__ = ["Bundled", "Caution", "bundle"]

_DOCSTRINGS = frozenset({"__doc__", "getdoc", "pydoc", "help", "doctest"})
_PLACES = frozenset(
    {
        "getsource",
        "getsourcelines",
        "findsource",
        "getcomments",
        "getsourcefile",
        "getframeinfo",
        "f_lineno",
        "tb_lineno",
    }
    | {
        "co_firstlineno",
        "co_lines",
        "co_positions",
        "co_filename",
        "extract_stack",
        "extract_tb",
        "format_exc",
        "format_tb",
    }
    | {"format_exception", "format_stack", "TracebackException"}
)
"""What shows sources, files or lines."""
_PLACE_MODULES = frozenset({"inspect", "linecache", "traceback"})
_NAMESPACES = frozenset({"__dict__", "vars"})
_BLIND = frozenset({"len", "isinstance", "abs", "float", "int", "round", "bool", "get", "type"})
"""Calls that do not see the order of a dict."""
_ANNOTATIONS = frozenset({"__annotations__", "get_type_hints", "get_annotations", "getfullargspec", "signature"})


@dataclass(frozen=True)
class Bundled:
    """A program: its document, the larger captured values, and what was noticed while it was made."""

    document: dict[str, Any]
    blobs: dict[Checksum, bytes]
    """Captured values above 4 KiB, such as arrays, by checksum: they travel beside the document."""
    packages: tuple[str, ...]
    """The distributions that the program reaches, for :func:`weftwork.python.environment.python_environment`."""
    warnings: tuple[Caution, ...]
    """Where its result may depend on more than its inputs: clock, random, environment, subprocess, open."""

    @property
    def identity(self) -> Checksum:
        """What the program is; see :func:`weftwork.core.bundle.identity`."""
        return identity(self.document)


def bundle(function: Callable[..., Any], *, uses: Iterable[Any] = ()) -> Bundled:
    """The bundle of a function as it is now.

    ``uses`` declares what the source does not show: functions, classes and other values, modules (taken whole), files
    (paths, by content), and names of what the program may do although it cannot be followed: ``"eval"``, ``"exec"``,
    ``"compile"``, ``"globals"``, ``"global"`` (writes to globals, or the name of one), ``"getattr"``,
    ``"import_module"``, ``"modules"``; ``"__doc__"`` and ``"__annotations__"`` make docstrings and annotations count.

    Raises :class:`~weftwork.errors.Refused` for what no bundle can hold, saying what, where, and what to do, and
    :class:`~weftwork.errors.Invalid` when ``function`` is nothing that can be called.
    """
    function = unwrapped(function)
    if not callable(function):
        raise Invalid(f"{function!r} is not a function; give a function, a class, or a partial")
    names, declared = _sorted_uses(uses)
    walker = Walker(names)
    walker.declared = {id(value) for value in declared if isinstance(value, types.ModuleType)}
    try:
        entry = walker.encode(function)
        walker.finish()
        forms = [files.declare(walker, value) for value in declared]
        walker.finish()
        held = settings.settings(walker)
        patched = patches.patches(walker)
        walker.finish()
        counts = _counts(walker, names)
        share(walker)
    except RecursionError:
        raise Refused(
            f"the values that {_title(function)} reaches are nested too deeply; pass them as inputs"
        ) from None
    document = {
        "format": FORMAT,
        "codecs": dict(CODECS),
        "counts": counts,
        "optimize": sys.flags.optimize,
        "entry": entry,
        "declared": forms,
        "nodes": walker.nodes,
        "packages": sorted(walker.packages),
    }
    told = {"settings": held, "patches": patched, "limits": settings.limits()}
    document.update({name: value for name, value in told.items() if value})
    return Bundled(document, walker.blobs, tuple(sorted(walker.packages)), tuple(walker.cautions))


def _title(function: Any) -> str:
    return str(getattr(function, "__qualname__", None) or repr(function))


def _sorted_uses(uses: Iterable[Any]) -> tuple[frozenset[str], list[Any]]:
    """What was declared, as names and as values to be walked; paths are read."""
    names: set[str] = set()
    values: list[Any] = []
    for item in (uses,) if isinstance(uses, str | os.PathLike) else uses:
        if isinstance(item, str) and (os.sep in item or os.path.isfile(item)):
            values.append(files.DeclaredFile(Path(item)))
        elif isinstance(item, str):
            names.add(item)
        elif isinstance(item, os.PathLike):
            values.append(files.DeclaredFile(Path(item)))
        else:
            values.append(item)
    return frozenset(names), values


def _sees_places(walker: Walker, mentions: AbstractSet[str]) -> bool:
    """Whether a program sees its own files and lines under a name that says little: ``stack`` is numpy's too."""
    inspects = False
    for node in walker.nodes:
        for value in node.get("names", {}).values() if node["kind"] == "module" else ():
            named = value.get("name") if isinstance(value, dict) else None
            if named and named[0] in _PLACE_MODULES and (named[1] in _PLACES or named[1] == "stack"):
                return True
            inspects = inspects or (isinstance(value, dict) and value.get("module") == "inspect")
        source = str(node.get("source", ""))
        if "inspect" in source and "stack" in source:
            return True
    return inspects and "stack" in mentions


def _counts(walker: Walker, names: frozenset[str]) -> list[str]:
    """Which texts count beside the code, where the program may read them; they are written into its nodes."""
    counts = []
    if "__subclasses__" in walker.mentions:
        for cls, node in walker.classes:  # which grows meanwhile
            node["subclasses"] = [walker.encode(subclass) for subclass in type.__subclasses__(cls)]
            walker.finish()
    mentions = walker.mentions | names
    if mentions & _ANNOTATIONS:
        counts.append("annotations")
        for function, node in walker.functions:  # which grows meanwhile
            node["annotations"] = classes.encode_annotations(walker, function.__annotations__)
            walker.finish()
    if mentions & _DOCSTRINGS:
        counts.append("docstrings")
        for cls, node in walker.classes:
            node["doc"] = cls.__doc__ if isinstance(cls.__doc__, str) else None
    if walker.iterates or walker.called - _BLIND - {function.__name__ for function, _ in walker.functions}:
        counts.append("order")
    if mentions & _PLACES or _sees_places(walker, mentions):
        counts.append("places")
    if mentions & _NAMESPACES:
        counts.append("namespaces")
        for cls, node in walker.classes:
            node["order"] = [name for name in vars(cls) if name in node["namespace"]]
    return counts

"""From a bundle back to the callable, and only from it: the project's own files are never read.

:func:`load` builds the modules of the bundle and serves them: an ``import`` inside a function of the bundle gets the
bundle's module. File names and lines are the original ones, and ``linecache`` holds the source that was shipped, so
that a traceback reads as it would at home. Standard library, :mod:`weftwork.core` and :mod:`weftwork.errors` alone.
"""

from __future__ import annotations

import builtins
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from weftwork.core.bundle import check_format
from weftwork.core.checksum import Checksum
from weftwork.node import files
from weftwork.node.rebuild import Rebuild
from weftwork.node.state import State

__all__ = ["Program", "load", "load_with_state"]


class Program:
    """The function of a bundle, and what has each call begin with the state that the bundle tells."""

    def __init__(self, make: Callable[[], tuple[Callable[..., Any], State]]) -> None:
        self._make = make
        self._function, self._state = make()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def restore(self) -> list[str]:
        """Put back what a call changed in globals, defaults, classes, caches and the settings of libraries.

        Returns what that was, for people. What cannot be put back in place is loaded again.
        """
        found = self._state.restore()
        if self._state.stale:
            self._function, self._state = self._make()
            found.append("the state of a library's object")
        return found


def load(document: Mapping[str, Any], get_blob: Callable[[Checksum], bytes]) -> Callable[..., Any]:
    """The function of a bundle.

    ``get_blob`` gives the bytes of a captured value by checksum. Whether the document is what a key says is for the
    caller to check, with :func:`weftwork.core.bundle.identity`. Raises :class:`~weftwork.errors.Invalid` for a
    document that is no bundle, and whatever an import of an installed package raises that is not here.
    """
    return load_with_state(document, get_blob)[0]


def load_with_state(
    document: Mapping[str, Any], get_blob: Callable[[Checksum], bytes], within: str | None = None
) -> tuple[Callable[..., Any], Program]:
    """The function of a bundle as :func:`load` gives it, and what restores its captured state after a call.

    Files that the program declared are laid out ``within`` a folder, by default that for temporary files.
    """
    check_format(document)
    folder = files.unpack(document, get_blob, within)

    def make() -> tuple[Callable[..., Any], State]:
        served: dict[str, types.ModuleType] = {}
        rebuild = Rebuild(document, get_blob, lambda node: _new_module(node, served, folder))
        function: Callable[..., Any] = rebuild.entry()
        _serve(served)
        return function, rebuild.state()

    program = Program(make)
    return program, program


def _new_module(node: Mapping[str, Any], served: dict[str, types.ModuleType], folder: str | None) -> types.ModuleType:
    """An empty module of the bundle; the names in it are filled in later."""
    name = node["name"]
    module = types.ModuleType(name)
    module.__file__ = node["file"] or None
    if folder is not None and node["served"]:
        module.__file__ = files.place(folder, name, package=node["package"])
    module.__package__ = name if node["package"] else name.rpartition(".")[0]
    vars(module)["__builtins__"] = _builtins(served)
    if node["package"]:
        module.__path__ = []
    module.__spec__ = importlib.machinery.ModuleSpec(
        name, None, origin=node["file"] or None, is_package=node["package"]
    )
    if node["served"]:
        served.setdefault(name, module)
    return module


def _builtins(served: Mapping[str, types.ModuleType]) -> dict[str, Any]:
    """The builtins of a bundle's modules: its ``import`` looks in the bundle first."""
    names = dict(vars(builtins))

    def import_(
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002
        locals: Mapping[str, Any] | None = None,  # noqa: A002
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> types.ModuleType:
        absolute = name
        if level:
            package = str((globals or {}).get("__package__") or "")
            absolute = importlib.util.resolve_name("." * level + name, package)
        module = served.get(absolute)
        if module is None:
            return builtins.__import__(name, globals, locals, fromlist, level)
        if not fromlist:
            return served.get(absolute.partition(".")[0], module)
        for item in fromlist:
            child = served.get(f"{absolute}.{item}")
            if child is not None and not hasattr(module, item):
                setattr(module, item, child)
        return module

    names["__import__"] = import_
    return names


_ours: dict[str, types.ModuleType] = {}


def _serve(served: Mapping[str, types.ModuleType]) -> None:
    """Let ``sys.modules`` know the bundle's modules too, for ``pickle`` and ``importlib``; never in another's place."""
    for name, module in list(_ours.items()):
        if sys.modules.get(name) is module:
            del sys.modules[name]
    _ours.clear()
    for name, module in served.items():
        if name != "__main__" and name not in sys.modules:
            sys.modules[name] = _ours[name] = module

"""What a project sets in libraries: ``json.JSONEncoder.default = mine``, ``iers.conf.auto_download = False``.

The source of the modules that a program reaches, and of those that they import, tells which attributes and items of
libraries are set there; what they are at submission goes with the program. A call at the top of a module that may set
something in a library (``torch.manual_seed(1)``) is not repeated on the node, and only worth a word.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from weftwork.node.distributions import origin_of
from weftwork.python import inert, source
from weftwork.python.checks import Caution
from weftwork.python.environment import package_versions
from weftwork.python.stores import Store

if TYPE_CHECKING:
    from weftwork.python.walk import Walker

_MISSING: Final = object()
_OURS: Final = frozenset(
    {"sys", "os", "logging", "warnings", "builtins", "importlib", "random", "numpy.random", "numpy.random.mtrand"}
    | {"matplotlib.rcParams", "matplotlib.pyplot.rcParams", "pandas.options", "mpmath.mp"}
)
"""Surroundings of a call, which the worker sees to, and settings that :mod:`weftwork.python.settings` knows."""
_KNOWN_CALLS: Final = (
    "numpy.seterr", "numpy.set_printoptions", "numpy.random.", "pandas.set_option", "pandas.options", "matplotlib.",
    "mpmath.", "tqdm.", "pytest.", "click.", "rich.", "seaborn.set", "IPython.",
)  # fmt: skip


def patches(walker: Walker) -> list[dict[str, Any]]:
    """The attributes and items of libraries that the program's modules set, with their present values."""
    found: dict[str, dict[str, Any]] = {}
    for module, file in _files(walker):
        for store in file.stores:
            for name, form in _patch(walker, vars(module), store):
                found.setdefault(name, form)
        for store in file.calls:
            _call(walker, module, store)
    return [found[name] for name in sorted(found)]


def _files(walker: Walker) -> Iterator[tuple[types.ModuleType, Any]]:
    """The modules of the program and the project's modules that they import, with their files."""
    waiting = [module for name in sorted(_names(walker)) if (module := sys.modules.get(name)) is not None]
    seen: set[int] = set()
    while waiting:
        module = waiting.pop()
        if id(module) in seen or not origin_of(module.__name__, module).walked:
            continue
        seen.add(id(module))
        for file in source.files_of(module):
            yield module, file
            waiting += _imported(module, file)


def _names(walker: Walker) -> set[str]:
    return {
        name
        for node in walker.nodes
        if node["kind"] == "module" and node["served"]
        for name in (node["name"], *(("__main__",) if _is_main(node["name"]) else ()))
    }


def _is_main(name: str) -> bool:
    main = sys.modules.get("__main__")
    if main is None or name in sys.modules:
        return name == "__main__"
    from weftwork.python.modules import module_name

    return module_name(vars(main)) == name


def _imported(module: types.ModuleType, file: Any) -> Iterator[types.ModuleType]:
    package = str(vars(module).get("__package__") or "")
    for name, level, names in file.imports:
        try:
            absolute = importlib.util.resolve_name("." * level + name, package) if level else name
        except ImportError:
            continue
        for each in (absolute, *(f"{absolute}.{item}" for item in names)):
            found = sys.modules.get(each)
            if isinstance(found, types.ModuleType):
                yield found


def _patch(walker: Walker, namespace: dict[str, Any], store: Store) -> Iterator[tuple[str, dict[str, Any]]]:
    anchored = _anchor(namespace, store.path)
    if anchored is None:
        return
    anchor, name, path, owner = anchored
    value = _present(owner, store)
    told = ".".join((name, *path))
    if owner is _MISSING or name in _OURS or told in _OURS or not _concerns(walker, name):
        return
    if value is not _MISSING and inert.dotted_name(value) == (told, store.key):
        return  # the library's own: it was never replaced, or was put back
    form = {"in": anchor, "path": list(path), ("item" if store.item else "attribute"): store.key}
    if value is not _MISSING:  # else a function sets it, and each call begins without it
        form["value"] = walker.encode_at(f"{told}.{store.key}, which the project sets", value)
    yield f"{told} {store.key}", form


def _anchor(namespace: dict[str, Any], names: tuple[str, ...]) -> tuple[Any, str, tuple[str, ...], Any] | None:
    """The library's module, class or object that a path begins with: its form, its name, the rest, and where that ends."""
    value: Any = namespace.get(names[0], _MISSING)
    found: tuple[Any, str, int] | None = None
    for index in range(1, len(names) + 1):
        if value is _MISSING:
            return None
        named = None if found else _named(value)
        if named is not None:
            found = (*named, index)
        elif found is None and not isinstance(value, types.ModuleType):
            return None  # the project's own
        if index < len(names):
            held = vars(value) if isinstance(value, types.ModuleType) else None
            value = getattr(value, names[index], _MISSING) if held is None else held.get(names[index], _MISSING)
    return (found[0], found[1], names[found[2] :], value) if found else None


def _named(value: Any) -> tuple[Any, str] | None:
    if isinstance(value, types.ModuleType):
        return (
            None
            if origin_of(value.__name__, value).kind in ("project", "weftwork")
            else ({"module": value.__name__}, value.__name__)
        )
    if isinstance(value, type):
        name = inert.inert_name(value)
        return None if name is None else ({"name": list(name[:2])}, f"{name[0]}.{name[1]}")
    held = inert.module_attribute(value)
    return None if held is None else ({"name": list(held)}, f"{held[0]}.{held[1]}")


def _present(owner: Any, store: Store) -> Any:
    try:
        return owner[store.key] if store.item else vars(owner).get(store.key, _MISSING)
    except (LookupError, TypeError):
        return _MISSING


def _concerns(walker: Walker, name: str) -> bool:
    origin = origin_of(name.partition(".")[0])
    return origin.kind == "stdlib" or (
        origin.distribution is not None and origin.distribution in package_versions(walker.packages)
    )


def _call(walker: Walker, module: types.ModuleType, store: Store) -> None:
    anchored = _anchor(vars(module), store.path)
    if anchored is None or not _concerns(walker, anchored[1]):
        return
    told = ".".join((anchored[1], *anchored[2], store.key))
    if origin_of(anchored[1].partition(".")[0]).kind == "package" and not told.startswith(_KNOWN_CALLS):
        where = str(getattr(module, "__file__", None) or module.__name__)
        walker.cautions[Caution("setting", f"{told}()", module.__name__, where, store.line)] = None

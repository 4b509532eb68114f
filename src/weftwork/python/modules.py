"""Modules of the project as a bundle holds them: few of their names, those that are reached.

A library's module is a name, an extension module of the project is the content of its file, and a module that is
itself passed around is taken whole. Which names a function reaches is the business of :mod:`weftwork.python.scope`.
"""

from __future__ import annotations

import os
import sys
import types
from typing import TYPE_CHECKING, Any, Final

from weftwork.node.distributions import origin_of
from weftwork.python import inert

if TYPE_CHECKING:
    from weftwork.python.walk import Walker

_OWN: Final = frozenset({"__name__", "__file__", "__package__", "__path__", "__spec__", "__loader__", "__builtins__"})
"""Names that the loader gives a module: their values here are places, and say nothing of the program."""


def module_name(namespace: dict[str, Any]) -> str:
    """The name by which a module is imported; a script has the name that importing it would give."""
    name = str(namespace.get("__name__", "__main__"))
    if name != "__main__":
        return name
    spec = namespace.get("__spec__")
    if spec is not None:
        return str(spec.name).removesuffix(".__main__")
    file = namespace.get("__file__")
    return os.path.splitext(os.path.basename(str(file)))[0] if file else "__main__"


def module_index(walker: Walker, namespace: dict[str, Any]) -> int:
    """The node of the module with these globals, as an index."""
    if not walker.known(namespace):
        node = walker.node(namespace, "module")
        node["name"] = module_name(namespace)
        node["file"] = str(namespace.get("__file__") or "")
        node["package"] = "__path__" in namespace
        # A closure that a library made is walked; its module's other names are the library's own.
        node["served"] = origin_of(str(namespace.get("__name__", "__main__"))).walked
        node["names"] = {}
    return int(walker.ref(namespace)["ref"])


def encode_module(walker: Walker, module: types.ModuleType) -> Any:
    """A module used as a value: a library's by name, an extension by content, the project's own whole."""
    form, is_project = reference(walker, module)
    if is_project:
        whole(walker, module)
    return form


def reference(walker: Walker, module: types.ModuleType) -> tuple[Any, bool]:
    """How a module is written, and whether its reached names are to be written with it."""
    name = module.__name__
    origin = origin_of(name, module)
    if not origin.walked:
        walker.uses(origin)
        return {"module": name}, False
    if is_extension(module):
        return _extension(walker, module), False
    return {"ref": module_index(walker, vars(module))}, True


def is_extension(module: types.ModuleType) -> bool:
    return str(getattr(module, "__file__", None) or "").endswith((".so", ".pyd", ".dylib"))


def _extension(walker: Walker, module: types.ModuleType) -> Any:
    """A compiled module of the project, by the content of its file."""
    if not walker.known(module):
        node = walker.node(module, "extension")
        file = str(module.__file__)
        with open(file, "rb") as stream:
            node.update(name=module.__name__, file=file, suffix=os.path.basename(file).partition(".")[2])
            node["blob"] = walker.blob(stream.read())
    return walker.ref(module)


def extension_attribute(walker: Walker, value: Any) -> Any:
    """A function or class of an extension module of the project; ``None`` for anything else."""
    found = inert.dotted_name(value)
    module = sys.modules.get(found[0]) if found is not None else None
    if found is None or module is None or not is_extension(module) or not origin_of(found[0], module).walked:
        return None
    return {"attribute": [_extension(walker, module), found[1]]}


def whole(walker: Walker, module: types.ModuleType) -> None:
    """Every name of a module: it is used in ways that its source does not show."""
    if id(module) in walker.whole:
        return
    walker.whole.add(id(module))
    namespace = vars(module)
    for name in sorted(namespace):
        if not (name.startswith("__") and name.endswith("__")):
            require(walker, namespace, name)


def of_project(value: Any) -> bool:
    """Whether this is a function or class that the project defines."""
    home = value.__module__ if isinstance(value, types.FunctionType | type) else None
    return isinstance(home, str) and origin_of(home).walked


def require(walker: Walker, namespace: dict[str, Any], name: str, *given: Any) -> None:
    """Write one name of a module, once; ``given`` is its value where the module does not hold it itself."""
    names: dict[str, Any] = walker.nodes[module_index(walker, namespace)]["names"]
    if name in names:
        return
    if name in _OWN:
        names[name] = {"own": module_name(namespace) if name == "__name__" else name}
        return
    names[name] = None  # a cycle through this name finds it written
    names[name] = walker.encode_at(f"{module_name(namespace)}.{name}", given[0] if given else namespace[name])


def link(walker: Walker, namespace: dict[str, Any], name: str, module: types.ModuleType) -> bool:
    """Bind a module to a name without taking it whole. Returns whether it is the project's."""
    form, is_project = reference(walker, module)
    walker.nodes[module_index(walker, namespace)]["names"].setdefault(name, form)
    return is_project

"""What is known by its dotted name alone: functions, classes and objects of the standard library and of packages."""

from __future__ import annotations

import sys
import types
from typing import Any

from weftwork.node.distributions import Origin, origin_of


def dotted_name(value: Any) -> tuple[str, str] | None:
    """The module and qualified name under which exactly this object is found, or ``None``."""
    owner = getattr(value, "__objclass__", None)
    # The attributes of an unusual object may be anything: only text is a name.
    module = getattr(owner if isinstance(owner, type) else value, "__module__", None)
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    if not isinstance(name, str) or "<" in name:
        return None
    candidates = [module] if isinstance(module, str) else _likely_modules(value)
    for candidate in candidates:
        if _resolve(candidate, name) is value:
            return candidate, name
    if module == "builtins" and isinstance(value, type):
        return next((("types", name) for name, item in vars(types).items() if item is value), None)
    return None


def _likely_modules(value: Any) -> list[str]:
    """Where to look for an object that does not say its module, as a ufunc may: its class's package."""
    own = type(value).__module__
    top = own.partition(".")[0]
    return [
        own,
        top,
        *sorted(name for name in list(sys.modules) if name.startswith(top + ".") or name == "scipy.special"),
    ]


def _resolve(module: str, name: str) -> Any:
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        if found is None:
            return None
        found = getattr(found, part, None)
    return found


def module_attribute(value: Any) -> tuple[str, str] | None:
    """Where a library keeps an object that has no name of its own: in its class's module, or a package around that."""
    module = type(value).__module__
    if not isinstance(module, str) or module == "builtins" or origin_of(module).walked:
        return None
    while module:
        for name, item in vars(sys.modules[module]).items() if module in sys.modules else ():
            if item is value:
                return module, name
        module = module.rpartition(".")[0]
    return None


def inert_name(value: Any) -> tuple[str, str, Origin] | None:
    """The dotted name of an object that no project code defines, with its origin; ``None`` for all others."""
    found = dotted_name(value)
    if found is None:
        return None
    origin = origin_of(found[0])
    if origin.walked:
        return None
    code = getattr(value, "__code__", None)
    if isinstance(value, types.FunctionType) and isinstance(code, types.CodeType):
        # A project function that was put in a package's place is still the project's.
        home = value.__globals__.get("__name__")
        if isinstance(home, str) and origin_of(home).walked:
            return None
    return found[0], found[1], origin

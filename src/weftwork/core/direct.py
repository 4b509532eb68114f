"""Frozen, slotted dataclasses that are made fast.

The initialiser that :mod:`dataclasses` writes for a frozen class sets each field through ``object.__setattr__``, which
looks the name up in the class: 0.27 microseconds for three fields, against 0.17 here. Some ten of these are made for
each call of a map.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar

T = TypeVar("T")

_GIVEN: Any = object()


def direct(cls: type[T]) -> type[T]:
    """Stands above ``@dataclass(frozen=True, slots=True)``: the same class, whose fields are set through their slots.

    It takes the same arguments, has the same defaults and calls ``__post_init__`` as before. Raises ``TypeError`` for a
    class whose fields have no slots of their own, and for fields that are no arguments.
    """
    scope: dict[str, Any] = {"_GIVEN": _GIVEN}
    arguments, body = ["self"], []
    for each in fields(cls):  # type: ignore[arg-type]
        slot: Any = cls.__dict__.get(each.name)
        if not (each.init and hasattr(slot, "__set__")) or each.kw_only:
            raise TypeError(f"{cls.__name__}.{each.name} is not a field with a slot that is given by position or name")
        scope[f"_set_{each.name}"] = slot.__set__
        arguments.append(each.name + _default(each, scope))
        value = each.name
        if each.default_factory is not MISSING:
            value = f"_make_{each.name}() if {each.name} is _GIVEN else {each.name}"
        body.append(f"    _set_{each.name}(self, {value})")
    if hasattr(cls, "__post_init__"):
        body.append("    self.__post_init__()")
    exec(f"def __init__({', '.join(arguments)}):\n" + "\n".join(body), scope)
    made, written = scope["__init__"], cls.__init__
    made.__qualname__, made.__module__, made.__annotations__ = (
        written.__qualname__,
        cls.__module__,
        written.__annotations__,
    )
    cls.__init__ = made  # type: ignore[method-assign]
    return cls


def _default(each: Field[Any], scope: dict[str, Any]) -> str:
    """The default of an argument as text, with what it names in the scope."""
    if each.default_factory is not MISSING:
        scope[f"_make_{each.name}"] = each.default_factory
        return "=_GIVEN"
    if each.default is not MISSING:
        scope[f"_default_{each.name}"] = each.default
        return f"=_default_{each.name}"
    return ""

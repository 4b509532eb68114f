"""Callables, descriptors, members and instances: what is neither plain data nor a bare function or module."""

from __future__ import annotations

import ctypes
import enum
import functools
import logging
import sys
import types
import typing
import weakref
from typing import TYPE_CHECKING, Any

from weftwork.node.distributions import origin_of
from weftwork.python import classes, inert, modules
from weftwork.python.values import entries

if TYPE_CHECKING:
    from weftwork.python.walk import Walker

_LRU = type(functools.lru_cache(maxsize=None)(lambda: None))
_SINGLEDISPATCH = "singledispatch.<locals>.wrapper"


def encode(walker: Walker, value: Any) -> Any:
    """The form of a value that one of the rules here knows; ``None`` for any other."""
    rule = _RULES.get(type(value))
    if rule is not None:
        return rule(walker, value)
    if type(value).__module__ in ("ctypes", "_ctypes") or (ctypes is not None and isinstance(value, ctypes.CDLL)):
        raise walker.refused(f"a {type(value).__name__} of ctypes, which is an address of this process,")
    if isinstance(value, enum.Enum):
        return _member(walker, value)
    if isinstance(value, logging.Logger):
        return {"logger": None if value is logging.root else value.name}
    if isinstance(value, types.FunctionType) and value.__code__.co_qualname == _SINGLEDISPATCH:
        return _singledispatch(walker, value)
    return None


def encode_type(walker: Walker, cls: type[Any]) -> Any:
    """A class that no library defines: by definition, unless an extension module of the project holds it."""
    found = modules.extension_attribute(walker, cls)
    if found is not None:
        return found
    metaclass = type(cls)
    walked = isinstance(metaclass, type) and inert.inert_name(metaclass) is None
    node = classes.encode_class(walker, cls, metaclass_walked=walked)
    module = sys.modules.get(cls.__module__)
    if module is not None:
        node["module"] = modules.module_index(walker, vars(module))
    walker.classes.append((cls, node))
    return walker.ref(cls)


def _member(walker: Walker, value: enum.Enum) -> Any:
    cls = walker.encode(type(value))
    if value._name_ is not None and type(value).__members__.get(value._name_) is value:
        return {"member": [cls, value._name_]}
    return {"flags": [cls, walker.encode(value._value_)]}


def _partial(walker: Walker, value: functools.partial[Any]) -> Any:
    node = walker.node(value, "partial")
    node["function"] = walker.encode(value.func)
    node["arguments"] = [walker.encode(item) for item in value.args]
    node["keywords"] = {name: walker.encode(value.keywords[name]) for name in sorted(value.keywords)}
    if vars(value):
        node["attributes"] = entries(walker, vars(value))
    return walker.ref(value)


def _property(walker: Walker, value: property) -> Any:
    node = walker.node(value, "property")
    node["functions"] = [walker.encode(part) for part in (value.fget, value.fset, value.fdel)]
    return walker.ref(value)


def _wrapped(kind: str) -> Any:
    def rule(walker: Walker, value: Any) -> Any:
        node = walker.node(value, kind)
        node["function"] = walker.encode(value.__func__)
        return walker.ref(value)

    return rule


def _cached_property(walker: Walker, value: functools.cached_property[Any]) -> Any:
    node = walker.node(value, "cached_property")
    node["name"] = value.attrname
    node["function"] = walker.encode(value.func)
    return walker.ref(value)


def _lru_cache(walker: Walker, value: Any) -> Any:
    """The function under the cache; what the cache holds is inert."""
    node = walker.node(value, "lru_cache")
    node.update(value.cache_parameters())
    node["function"] = walker.encode(value.__wrapped__)
    return walker.ref(value)


def _singledispatch(walker: Walker, value: Any) -> Any:
    node = walker.node(value, "singledispatch")
    node["function"] = walker.encode(value.__wrapped__)
    registry = sorted(value.registry, key=walker.sort_key)
    node["registry"] = [[walker.encode(cls), walker.encode(value.registry[cls])] for cls in registry]
    return walker.ref(value)


def _method(walker: Walker, value: types.MethodType) -> Any:
    return {"method": [walker.encode(value.__func__), walker.encode(value.__self__)]}


def _builtin(walker: Walker, value: types.BuiltinFunctionType) -> Any:
    found = modules.extension_attribute(walker, value)
    if found is not None:
        return found
    owner = value.__self__
    if owner is None or isinstance(owner, types.ModuleType):
        return None
    return {"attribute": [walker.encode(owner), value.__name__]}


def _typevar(_: Walker, value: Any) -> Any:
    return {"typevar": [type(value).__name__, value.__name__]}


def _newtype(walker: Walker, value: Any) -> Any:
    return {"newtype": [value.__name__, walker.encode(value.__supertype__)]}


def _typing_alias(walker: Walker, value: Any) -> Any:
    """``Optional[float]``, ``Callable[[int], float]``, ``Literal["a"]``: inert but for the classes in them."""
    reduced = value.__reduce__()
    if isinstance(reduced, str):
        walker.uses(origin_of("typing"))
        return {"name": ["typing", reduced]}
    function, arguments = reduced
    return {"call": [walker.encode(function), [walker.encode(item) for item in arguments]]}


def _weak(walker: Walker, value: Any) -> Any:
    """Weak collections are caches of live objects: they begin empty."""
    node = walker.node(value, "object")
    node.update(callable={"name": ["weakref", type(value).__name__]}, arguments=[])
    return walker.ref(value)


_RULES: dict[type, Any] = {
    weakref.WeakKeyDictionary: _weak,
    weakref.WeakValueDictionary: _weak,
    weakref.WeakSet: _weak,
    functools.partial: _partial,
    property: _property,
    staticmethod: _wrapped("staticmethod"),
    classmethod: _wrapped("classmethod"),
    functools.cached_property: _cached_property,
    _LRU: _lru_cache,
    types.MethodType: _method,
    types.BuiltinFunctionType: _builtin,
    typing.TypeVar: _typevar,
    typing.ParamSpec: _typevar,
    typing.NewType: _newtype,
    types.GenericAlias: _typing_alias,
}
_ALIASES: tuple[Any, ...] = (
    typing.Any,
    vars(typing)["List"],
    vars(typing)["List"][int],
    vars(typing)["Optional"][int],
    typing.Callable[[int], int],
    typing.Literal[1],
    typing.Annotated[int, 1],
)
for _example in _ALIASES:
    if not isinstance(_example, type):
        _RULES.setdefault(type(_example), _typing_alias)
_RULES[types.UnionType] = lambda walker, value: {"union": [walker.encode(item) for item in value.__args__]}

"""Classes by definition: how a live class is taken apart into what it was made of.

The live namespace counts, not the class statement: an attribute that another module set is part of the class. What
machinery generates (``dataclass``, ``NamedTuple``, ``Enum``, ``ABCMeta``) is written as its input, and generated again
by :mod:`weftwork.node.classes`.
"""

from __future__ import annotations

import abc
import collections.abc
import contextlib
import copyreg
import dataclasses
import enum
import inspect
import io
import numbers
import os
import types
import typing
from collections.abc import Mapping
from typing import Any

from weftwork.errors import Refused
from weftwork.python.values import Encoder, entries


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NEVER = _words(
    "__dict__ __weakref__ __module__ __qualname__ __doc__ __annotations__ __annotate__ __annotate_func__ "
    "__annotations_cache__ __firstlineno__ __static_attributes__ __abstractmethods__ _abc_impl __slots__ "
    "__orig_bases__ __parameters__ __type_params__ __classdictcell__"
)
_OF_DATACLASS = frozenset({"__dataclass_fields__", "__dataclass_params__", "__match_args__"})
_OF_NAMEDTUPLE = _words(
    "__new__ _make _replace __replace__ __repr__ _asdict __getnewargs__ _fields _field_defaults __match_args__"
)
_OF_ENUM = _words(
    "_member_names_ _member_map_ _value2member_map_ _unhashable_values_ _unhashable_values_map_ _hashable_values_ "
    "_member_type_ _value_repr_ _use_args_ _new_member_ __new_member__ _boundary_ _flag_mask_ _all_bits_ "
    "_singles_mask_ _inverted_ _add_alias_ _add_value_alias_ _generate_next_value_ __new__ __reduce_ex__ "
    "__or__ __and__ __xor__ __ror__ __rand__ __rxor__ __invert__ __format__ __str__ __repr__"
)
_PROTOCOL = frozenset({"_is_protocol", "_is_runtime_protocol", "__protocol_attrs__", "__non_callable_proto_members__"})


class _TypedDict(typing.TypedDict):
    """For its metaclass, which has no public name."""


_METACLASSES: tuple[type, ...] = (type, abc.ABCMeta, enum.EnumMeta, type(typing.Protocol), type(_TypedDict))


def encode_class(encoder: Encoder, cls: type[Any], *, metaclass_walked: bool) -> dict[str, Any]:
    """The node of a class. Metaclasses are ``type``, ``ABCMeta``, those of enums and protocols, and walked ones.

    Raises :class:`~weftwork.errors.Refused` for a class that another metaclass made.
    """
    node = encoder.node(cls, "class")
    metaclass = type(cls)
    if metaclass not in _METACLASSES and not metaclass_walked:
        raise encoder.refused(
            f"the class {cls.__qualname__}, made by {metaclass.__module__}.{metaclass.__qualname__}, cannot be rebuilt; "
            "import it from an installed package instead: it"
        )
    node["name"], node["qualname"] = cls.__name__, cls.__qualname__
    node["metaclass"] = encoder.encode(metaclass)
    namespace = dict(vars(cls))
    bases = namespace.get("__orig_bases__", cls.__bases__)
    node["bases"] = [encoder.encode(base) for base in cls.__bases__]
    if bases is not cls.__bases__ and not _is_namedtuple(cls):
        node["generic_bases"] = [_annotation(encoder, base) for base in bases]
    node["annotations"] = _annotations(encoder, namespace, cls)
    generated = _how(encoder, node, cls, namespace)
    skipped = _NEVER | generated
    kept = {name: value for name, value in namespace.items() if name not in skipped and not _is_slot(value)}
    node["namespace"] = {name: encoder.encode(kept[name]) for name in sorted(kept)}
    _elsewhere(encoder, node, cls)
    if "__slots__" in namespace:
        slots = namespace["__slots__"]
        node["slots"] = [slots] if isinstance(slots, str) else list(slots)
    return node


def _elsewhere(encoder: Encoder, node: dict[str, Any], cls: type[Any]) -> None:
    """What registries hold of a class: its own as an abstract class, those of the standard library, and copyreg's."""
    if isinstance(cls, abc.ABCMeta):
        registered = sorted(_registered(cls), key=encoder.sort_key)
        if registered:
            node["registered"] = [encoder.encode(item) for item in registered]
    virtual = [found for found in _ABSTRACT if cls in _registered(found)]
    if virtual:
        node["virtual"] = [encoder.encode(found) for found in virtual]
    reducer = copyreg.dispatch_table.get(cls)
    if reducer is not None:
        node["reducer"] = encoder.encode(reducer)


_ABSTRACT: tuple[Any, ...] = tuple(
    found
    for module in (collections.abc, numbers, os, contextlib, io)
    for name, found in sorted(vars(module).items())
    if isinstance(found, abc.ABCMeta) and not name.startswith("_")
)
"""The abstract classes with which a project's class may be registered by a call that no definition shows."""


def _registered(cls: Any) -> list[type[Any]]:
    """The classes that were registered with an abstract class, which holds them weakly."""
    registry = vars(abc)["_get_dump"](cls)[0]
    return [found for found in (reference() for reference in registry) if found is not None]


def _how(encoder: Encoder, node: dict[str, Any], cls: type[Any], namespace: dict[str, Any]) -> frozenset[str]:
    """What made the class, noted in its node; returns the names that this machinery generates."""
    if isinstance(cls, enum.EnumMeta):
        node["how"] = "enum"
        return _enum(encoder, node, cls, namespace)
    if "__dataclass_params__" in namespace:
        node["how"] = "dataclass"
        return _dataclass(encoder, node, cls, namespace)
    if _is_namedtuple(cls):
        node["how"] = "namedtuple"
        node["fields"] = list(namespace["_fields"])
        defaults = namespace.get("_field_defaults", {})
        node["defaults"] = [encoder.encode(defaults[name]) for name in node["fields"] if name in defaults]
        actual = cls.__new__.__defaults__ or ()
        if [id(item) for item in actual] != [id(defaults[name]) for name in node["fields"] if name in defaults]:
            node["new_defaults"] = [encoder.encode(item) for item in actual]
        generated = {name for name in _OF_NAMEDTUPLE if not _written(namespace.get(name))}
        return frozenset(generated) | frozenset(node["fields"])
    if typing.is_typeddict(cls):
        node["how"] = "typeddict"
        node["required"] = sorted(namespace["__required_keys__"])
        return frozenset(namespace)
    node["how"] = "plain"
    return _PROTOCOL if getattr(cls, "_is_protocol", False) else frozenset()


def _written(value: Any) -> bool:
    """Whether this is a method that somebody wrote, and not one that ``namedtuple`` made."""
    function = getattr(value, "__func__", value)
    if not isinstance(function, types.FunctionType):
        return False
    home = str(function.__globals__.get("__name__", ""))
    return home != "collections" and not home.startswith("namedtuple_")


def _is_namedtuple(cls: type[Any]) -> bool:
    return cls.__bases__ == (tuple,) and "_fields" in vars(cls) and "_make" in vars(cls)


def _is_slot(value: Any) -> bool:
    return isinstance(value, types.MemberDescriptorType | types.GetSetDescriptorType)


def _annotations(encoder: Encoder, namespace: dict[str, Any], cls: type[Any]) -> list[Any]:
    """Annotations of a class are evaluated with it, and much is made of them: they count."""
    try:
        own = inspect.get_annotations(cls)
    except Exception:
        own = namespace.get("__annotations__", {})
    return encode_annotations(encoder, own)


def encode_annotations(encoder: Encoder, annotations: Mapping[str, Any]) -> list[Any]:
    """Names and annotations in their order; what no bundle can hold is written as its text."""
    return [[name, _annotation(encoder, item)] for name, item in annotations.items()]


def _annotation(encoder: Encoder, value: Any) -> Any:
    try:
        return encoder.encode(value)
    except Refused:
        return repr(value)


def _enum(encoder: Encoder, node: dict[str, Any], cls: type[Any], namespace: dict[str, Any]) -> frozenset[str]:
    members: dict[str, Any] = dict(cls.__members__)
    node["members"] = [[name, encoder.encode(member._value_)] for name, member in members.items()]
    attributes = {name: _set_on(member) for name, member in members.items() if name == member._name_}
    if any(attributes.values()):
        node["attributes"] = {name: entries(encoder, found) for name, found in attributes.items() if found}
    own_new = namespace.get("__new_member__")
    if isinstance(own_new, types.FunctionType) and own_new.__module__ == cls.__module__:
        raise encoder.refused(f"the enum {cls.__qualname__}, which defines __new__,")
    boundary = namespace.get("_boundary_")
    node["boundary"] = None if boundary is None else boundary.name
    own = {name for name in _OF_ENUM if name not in ("_generate_next_value_", "__new__")}
    written = {
        name for name in own if isinstance(namespace.get(name), types.FunctionType) and _of_module(cls, namespace[name])
    }
    return (_OF_ENUM - written) | frozenset(members)


def _set_on(member: enum.Enum) -> dict[str, Any]:
    """The attributes of a member beside its name and value: set by ``__init__``, or from outside."""
    return {name: item for name, item in vars(member).items() if not (name.startswith("_") and name.endswith("_"))}


def _of_module(cls: type[Any], function: types.FunctionType) -> bool:
    return function.__globals__.get("__name__") == cls.__module__


_PARAMS = ("init", "repr", "eq", "order", "unsafe_hash", "frozen", "match_args", "kw_only", "slots", "weakref_slot")
_FIELD = ("init", "repr", "hash", "compare", "kw_only")


def _dataclass(encoder: Encoder, node: dict[str, Any], cls: type[Any], namespace: dict[str, Any]) -> frozenset[str]:
    params = namespace["__dataclass_params__"]
    node["params"] = {name: bool(getattr(params, name)) for name in _PARAMS if hasattr(params, name)}
    # Before Python 3.12 the parameters do not tell these; a field tells its own kw_only.
    node["params"]["match_args"] = "__match_args__" in namespace
    own = [name for name, _ in node["annotations"]]
    fields: dict[str, dataclasses.Field[Any]] = namespace["__dataclass_fields__"]
    node["fields"] = [_field(encoder, fields[name], params) for name in own if name in fields]
    slots = set(namespace.get("__slots__", ())) - {"__weakref__"}
    node["params"]["slots"] = "__slots__" in namespace and slots == {
        field["name"] for field in node["fields"] if field["type"] == "_FIELD"
    }
    node["params"]["weakref_slot"] = node["params"]["slots"] and "__weakref__" in namespace["__slots__"]
    generated = {
        name
        for name, value in namespace.items()
        if name.startswith("__") and isinstance(value, types.FunctionType) and _is_generated(value)
    }
    if namespace.get("__hash__", 0) is None:
        generated.add("__hash__")
    # An attribute that is not its field's default was set when the class was made already.
    names = [name for name in own if name in fields and name in namespace and not _is_slot(namespace[name])]
    late = {name: encoder.encode(namespace[name]) for name in names if namespace[name] is not fields[name].default}
    if late:
        node["late"] = late
    given = {id(found.default) for found in fields.values()} | {id(_FACTORY)}
    for name in generated:
        if any(id(item) not in given for item in getattr(namespace[name], "__defaults__", None) or ()):
            raise encoder.refused(f"the changed defaults of {cls.__qualname__}.{name}, which dataclass generated,")
    return _OF_DATACLASS | frozenset(generated) | frozenset(names)


_FACTORY = vars(dataclasses)["_HAS_DEFAULT_FACTORY"]


def _is_generated(function: types.FunctionType) -> bool:
    inner = inspect.unwrap(function)
    return bool(inner.__code__.co_filename == "<string>" or inner.__globals__.get("__name__") == "dataclasses")


def _field(encoder: Encoder, field: dataclasses.Field[Any], params: Any) -> dict[str, Any]:
    kind = getattr(field, "_field_type").name  # noqa: B009
    found: dict[str, Any] = {"name": field.name, "type": kind}
    for name in _FIELD:
        value = getattr(field, name)
        found[name] = None if value is dataclasses.MISSING else value
    if field.default is not dataclasses.MISSING:
        found["default"] = encoder.encode(field.default)
    if field.default_factory is not dataclasses.MISSING:
        found["factory"] = encoder.encode(field.default_factory)
    if field.metadata:
        found["metadata"] = encoder.encode(dict(field.metadata))
    return found

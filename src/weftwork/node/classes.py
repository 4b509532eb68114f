"""Classes made again from a bundle; :mod:`weftwork.python.classes` takes them apart.

A class is made empty and then given its namespace, so that no ``__init_subclass__``, metaclass ``__init__`` or
``__set_name__`` of the project runs a second time: what they did is in the captured namespaces already.
"""

from __future__ import annotations

import abc
import collections
import copyreg
import dataclasses
import enum
import functools
import typing
from collections.abc import Callable, Mapping
from typing import Any

from weftwork.node.values import entries

Made = Callable[[Any], None]


def make_class(rebuild: Any, node: Mapping[str, Any], made: Made) -> type[Any]:
    """The class of a class's node."""
    return _HOW[node["how"]](rebuild, node, made)


def _skeleton(rebuild: Any, node: Mapping[str, Any], *, slots: bool = True) -> type[Any]:
    bases = tuple(rebuild.decode(base) for base in node["bases"])
    namespace = _named(rebuild, node)
    if slots and "slots" in node:
        namespace["__slots__"] = tuple(node["slots"])
    if "generic_bases" in node:
        namespace["__orig_bases__"] = tuple(rebuild.decode(base) for base in node["generic_bases"])
    metaclass = rebuild.decode(node["metaclass"])
    # type and ABCMeta alone: what a metaclass of the project does to a class, it has done.
    make: Callable[..., type[Any]] = abc.ABCMeta.__new__ if issubclass(metaclass, abc.ABCMeta) else type.__new__
    return make(metaclass, node["name"], bases, namespace)


def _named(rebuild: Any, node: Mapping[str, Any]) -> dict[str, Any]:
    namespace = rebuild.namespace_of(node)
    return {
        "__module__": namespace.get("__name__", "__main__"),
        "__qualname__": node["qualname"],
        "__doc__": node.get("doc"),
    }


def _fill(rebuild: Any, node: Mapping[str, Any], cls: type[Any]) -> None:
    if node["annotations"]:
        cls.__annotations__ = {name: rebuild.decode(form) for name, form in node["annotations"]}
    for name in node.get("order", node["namespace"]):
        value = rebuild.decode(node["namespace"][name])
        if name == "__init_subclass__":
            rebuild.later(functools.partial(type.__setattr__, cls, name, value))
        else:
            type.__setattr__(cls, name, value)
    _in_registries(rebuild, node, cls)
    if isinstance(cls, abc.ABCMeta):
        rebuild.later(lambda: abc.update_abstractmethods(cls))  # the mark is an attribute of functions not yet filled


def _in_registries(rebuild: Any, node: Mapping[str, Any], cls: type[Any]) -> None:
    for form in node.get("registered", ()):
        rebuild.later(functools.partial(_register, rebuild, cls, form))
    for form in node.get("virtual", ()):
        rebuild.decode(form).register(cls)
    if "reducer" in node:
        rebuild.later(lambda: copyreg.pickle(cls, rebuild.decode(node["reducer"])))
    if "subclasses" in node:
        rebuild.later(functools.partial(_order_subclasses, rebuild, node["subclasses"]))


def _order_subclasses(rebuild: Any, forms: list[Any]) -> None:
    """Have ``__subclasses__()`` list them in the order in which they were defined."""
    for subclass in [rebuild.decode(form) for form in forms]:
        subclass.__bases__ = subclass.__bases__  # which puts it last


def _register(rebuild: Any, cls: Any, form: Any) -> None:
    cls.register(rebuild.decode(form))


def _plain(rebuild: Any, node: Mapping[str, Any], made: Made) -> type[Any]:
    cls = _skeleton(rebuild, node)
    made(cls)
    _fill(rebuild, node, cls)
    return cls


def _dataclass(rebuild: Any, node: Mapping[str, Any], made: Made) -> type[Any]:
    params = node["params"]
    with_slots = params.get("slots", False)
    cls = _skeleton(rebuild, node, slots=not with_slots)
    if not with_slots:
        made(cls)  # with slots, the decorator makes another class
    _fill(rebuild, node, cls)
    types_ = {"_FIELD_CLASSVAR": typing.ClassVar, "_FIELD_INITVAR": dataclasses.InitVar}
    shown = {name: rebuild.decode(form) for name, form in node["annotations"]}
    annotations: dict[str, Any] = {}  # fields alone: a KW_ONLY mark is in each field by now
    for field in node["fields"]:
        # Never a text: dataclass would look for what it names in a module that is being made.
        annotations[field["name"]] = types_.get(field["type"], object)
        _set_field(rebuild, node, cls, field)
    cls.__annotations__ = annotations
    result: type[Any] = dataclasses.dataclass(**params)(cls)
    _show_annotations(result, shown)
    for name, form in node.get("late", {}).items():
        type.__setattr__(result, name, rebuild.decode(form))
    made(result)
    return result


def _show_annotations(cls: Any, shown: Mapping[str, Any]) -> None:
    """What the fields and the generated ``__init__`` say of their types is what was written."""
    cls.__annotations__ = dict(shown)
    own = {name: field for name, field in cls.__dataclass_fields__.items() if name in shown}
    for name, field in own.items():
        field.type = shown[name]
    told = getattr(vars(cls).get("__init__"), "__annotations__", {})
    told.update({name: shown[name] for name in told if name in own})


def _set_field(rebuild: Any, node: Mapping[str, Any], cls: type[Any], field: Mapping[str, Any]) -> None:
    if field["type"] == "_FIELD_CLASSVAR":
        if "default" in field:
            type.__setattr__(cls, field["name"], rebuild.decode(field["default"]))
        return
    given = {name: field[name] for name in ("init", "repr", "hash", "compare", "kw_only") if field[name] is not None}
    if "default" in field:
        given["default"] = rebuild.decode(field["default"])
    if "factory" in field:
        given["default_factory"] = rebuild.decode(field["factory"])
    if "metadata" in field:
        given["metadata"] = rebuild.decode(field["metadata"])
    if "slots" in node and not node["params"]["slots"]:
        return  # slots written by hand leave no room for an attribute of that name
    type.__setattr__(cls, field["name"], dataclasses.field(**given))


def _namedtuple(rebuild: Any, node: Mapping[str, Any], made: Made) -> type[Any]:
    defaults = [rebuild.decode(form) for form in node["defaults"]]
    cls: type[Any] = _make_namedtuple(node["name"], node["fields"], defaults=defaults)
    made(cls)
    cls.__qualname__ = node["qualname"]
    cls.__module__ = rebuild.namespace_of(node).get("__name__", "__main__")
    if "new_defaults" in node:
        cls.__new__.__defaults__ = tuple(rebuild.decode(form) for form in node["new_defaults"])
    _fill(rebuild, node, cls)
    return cls


_make_namedtuple: Callable[..., type[Any]] = collections.namedtuple  # noqa: PYI024


def _enum(rebuild: Any, node: Mapping[str, Any], made: Made) -> type[Any]:
    bases = tuple(rebuild.decode(base) for base in node["bases"])
    metaclass = rebuild.decode(node["metaclass"])
    namespace = metaclass.__prepare__(node["name"], bases)
    namespace.update(_named(rebuild, node))
    # Methods come with the members: __init__ runs for each of them.
    early = {name: form for name, form in node["namespace"].items() if not name.startswith("_sunder")}
    for name, form in early.items():
        value = rebuild.decode(form)
        # A plain value is not a member: it was set on the class, or has a name that members cannot have.
        plain = not name.startswith("_") and not hasattr(value, "__get__")
        namespace[name] = enum.nonmember(value) if plain else value
    for name, form in node["members"]:
        namespace[name] = rebuild.decode(form)
    options: dict[str, Any] = {} if node["boundary"] is None else {"boundary": enum.FlagBoundary[node["boundary"]]}
    cls: type[Any] = enum.EnumMeta.__new__(metaclass, node["name"], bases, namespace, **options)
    made(cls)
    for name, held in node.get("attributes", {}).items():
        vars(cls[name]).update(entries(rebuild, held))
    _in_registries(rebuild, node, cls)
    return cls


def _typeddict(rebuild: Any, node: Mapping[str, Any], made: Made) -> type[Any]:
    required = set(node["required"])
    fields = {name: rebuild.decode(form) for name, form in node["annotations"]}
    fields = {name: form if name in required else typing.NotRequired[form] for name, form in fields.items()}
    cls: type[Any] = vars(typing)["TypedDict"](node["name"], fields)
    made(cls)
    cls.__qualname__ = node["qualname"]
    cls.__module__ = rebuild.namespace_of(node).get("__name__", "__main__")
    return cls


_HOW: dict[str, Callable[[Any, Mapping[str, Any], Made], type[Any]]] = {
    "plain": _plain,
    "dataclass": _dataclass,
    "namedtuple": _namedtuple,
    "enum": _enum,
    "typeddict": _typeddict,
}

"""The signature of a Python function as declared inputs and outputs.

Annotations say the types: ``float``, ``list[weft.File]``, ``X | None``, ``Literal["a", "b"]``,
``Annotated[float, weft.Range(0, 1), "what it is"]``, a ``TypedDict`` for a record; ``os.PathLike`` is a
file, in functions that need not know of weft. What has no annotation takes its type from the value. A
function that returns a dataclass, ``NamedTuple`` or ``TypedDict`` has its fields as outputs, any other
has one output, ``result``.
"""

from __future__ import annotations

import inspect
import os
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from weftwork.core.checksum import shorten
from weftwork.core.module import ABSENT, Input, Output
from weftwork.core.values import ANY, JSON, Directory, File, Type, convert, infer
from weftwork.errors import Invalid


@dataclass(frozen=True, slots=True)
class Range:
    """In ``Annotated``: the lowest and highest value that a number may have, both inclusive; ``None`` is open."""

    minimum: float | None = None
    maximum: float | None = None


_PLAIN: dict[Any, Type] = {
    type(None): Type("null"),
    None: Type("null"),
    bool: Type("bool"),
    int: Type("int"),
    float: Type("float"),
    str: Type("str"),
    bytes: Type("bytes"),
    dict: JSON,
    list: JSON,
    tuple: JSON,
    object: ANY,
    Any: ANY,
    File: Type("file"),
    Directory: Type("directory"),
    inspect.Parameter.empty: ANY,
}

_BY_NAME = {
    ("os", "PathLike"): Type("file"),
    ("numpy", "ndarray"): Type("array"),
    ("pyarrow.lib", "Table"): Type("table"),
    ("pyarrow", "Table"): Type("table"),
}


def signature(function: Callable[..., Any]) -> tuple[tuple[Input, ...], tuple[Output, ...], str]:
    """Inputs, outputs and how the returned value becomes them (``value`` or ``fields``).

    Raises :class:`~weftwork.errors.Invalid` for ``*args``, ``**kwargs`` and annotations that no type can stand for.
    """
    name = getattr(function, "__qualname__", repr(function))
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except Exception as error:
        raise Invalid(f"{name}: its annotations cannot be read: {error}; import what they name") from error
    inputs = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise Invalid(f"{name}: a module cannot take {parameter}; name each input")
        where = f"{name}: input {parameter.name!r}"
        inputs.append(_input(parameter, hints.get(parameter.name, inspect.Parameter.empty), where))
    outputs, returns = _outputs(hints.get("return", inspect.Parameter.empty), name)
    return tuple(inputs), outputs, returns


def workflow_inputs(function: Callable[..., Any]) -> tuple[Input, ...]:
    """The inputs of a function that describes a workflow.

    A module's program has its defaults in itself. A workflow is a document: each default is written there, a file as
    its absolute path. Raises :class:`~weftwork.errors.Invalid` for one that cannot be written.
    """
    parameters = inspect.signature(function).parameters
    name = getattr(function, "__qualname__", repr(function))
    return tuple(
        each if each.bound else _written_default(each, parameters[each.name].default, f"{name}: input {each.name!r}")
        for each in signature(function)[0]
    )


def _written_default(declared: Input, value: Any, where: str) -> Input:
    default = _written(convert(declared.type, value, where), where)
    holds_files = declared.type.name == "any" and isinstance(value, (File, list, tuple))
    kind = infer(value) if holds_files else declared.type
    return replace(declared, type=kind, default=default, bound=True)


def _written(value: Any, where: str) -> Any:
    """A value as JSON: a file as its path or address."""
    if isinstance(value, File):
        if value.checksum is not None:
            raise Invalid(f"{where}: a default file cannot say its checksum; give it when the workflow is run")
        return value.source if value.remote else os.path.abspath(value.source)
    if isinstance(value, (list, tuple)):
        return [_written(each, f"{where}[{index}]") for index, each in enumerate(value)]
    if isinstance(value, dict):
        return {name: _written(each, f"{where}[{name!r}]") for name, each in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise Invalid(
        f"{where}: a workflow is a document, and its default {shorten(value)} cannot be written in one; use None, or call "
        "a module that makes it"
    )


def _input(parameter: inspect.Parameter, annotation: Any, where: str) -> Input:
    declared, description = _described(annotation, where)
    default = parameter.default
    if default is inspect.Parameter.empty:
        return Input(parameter.name, declared, description=description)
    if default is None and not declared.optional and declared.name not in ("any", "json", "null"):
        declared = replace(declared, optional=True)
    try:
        value = convert(declared, default, where)
    except Invalid:
        if annotation is not inspect.Parameter.empty and default is not None and declared.inline:
            raise
        return Input(parameter.name, declared, ABSENT, bound=False, description=description)
    plain = (
        value is None
        or isinstance(value, (bool, int, float, str))
        or (declared.inline and isinstance(value, (list, dict)))
    )
    if not plain:
        return Input(parameter.name, declared, ABSENT, bound=False, description=description)
    return Input(parameter.name, declared, value, description=description)


def _described(annotation: Any, where: str) -> tuple[Type, str]:
    """The type of an annotation, and the text that an ``Annotated`` carries."""
    if typing.get_origin(annotation) is not typing.Annotated:
        return type_of(annotation, where), ""
    base, *extras = typing.get_args(annotation)
    declared = type_of(base, where)
    description = next((extra for extra in extras if isinstance(extra, str)), "")
    for extra in extras:
        if isinstance(extra, Range):
            declared = replace(declared, minimum=extra.minimum, maximum=extra.maximum)
    return declared, description


def type_of(annotation: Any, where: str) -> Type:
    """The value type that an annotation stands for."""
    try:
        if annotation in _PLAIN:
            return _PLAIN[annotation]
    except TypeError:
        pass
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _described(annotation, where)[0]
    if origin is Literal:
        return _literal(arguments, where)
    if origin in (typing.Union, types.UnionType):
        return _union(arguments, where)
    if origin is not None and (origin.__module__, origin.__qualname__) in _BY_NAME:
        return _BY_NAME[origin.__module__, origin.__qualname__]
    if origin is list or (
        origin is not None and origin.__module__ == "collections.abc" and origin.__name__ in ("Sequence", "Iterable")
    ):
        return Type("list", type_of(arguments[0], f"{where}[]"))
    if origin in (dict, tuple) or (origin is not None and origin.__name__ == "Mapping"):
        return JSON
    if isinstance(annotation, type):
        found = _BY_NAME.get((annotation.__module__, annotation.__qualname__))
        if found is not None:
            return found
        if typing.is_typeddict(annotation):
            return record_of(annotation, where)
    raise Invalid(
        f"{where}: {_shown(annotation)} is not the annotation of a value type; use bool, int, float, str, bytes, list[...], dict, "
        "Literal, X | None, numpy.ndarray, pyarrow.Table, a TypedDict, weft.File or weft.Directory"
    )


def _shown(annotation: Any) -> str:
    return annotation.__qualname__ if isinstance(annotation, type) else str(annotation)


def _literal(values: tuple[Any, ...], where: str) -> Type:
    optional = None in values
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) != 1 or (kind := kinds.pop()) not in (bool, int, str):
        raise Invalid(f"{where}: Literal{list(values)} mixes types; use choices of one of str, int and bool")
    return replace(_PLAIN[kind], choices=tuple(value for value in values if value is not None), optional=optional)


def _union(arguments: tuple[Any, ...], where: str) -> Type:
    rest = [each for each in arguments if each is not type(None)]
    if len(rest) == 1:
        return replace(type_of(rest[0], where), optional=True)
    kinds = {type_of(each, where) for each in rest}
    if kinds == {Type("int"), Type("float")}:
        return Type("float", optional=len(rest) < len(arguments))
    if all(kind.inline for kind in kinds):
        return JSON
    return Type("any", optional=len(rest) < len(arguments))


def record_of(kind: type, where: str) -> Type:
    """The record type of a class with annotated fields."""
    hints = typing.get_type_hints(kind, include_extras=True)
    required = getattr(kind, "__required_keys__", frozenset(hints))
    fields = []
    for name, annotation in hints.items():
        declared = _described(annotation, f"{where}.{name}")[0]
        fields.append((name, declared if name in required else replace(declared, optional=True)))
    return Type("record", fields=tuple(fields))


def _outputs(annotation: Any, name: str) -> tuple[tuple[Output, ...], str]:
    where = f"{name}: its result"
    if isinstance(annotation, type) and annotation not in _PLAIN and _has_fields(annotation):
        fields = record_of(annotation, where).fields
        return tuple(Output(field, declared) for field, declared in fields), "fields"
    declared, description = _described(annotation, where)
    return (Output("result", declared, description=description),), "value"


def _has_fields(kind: type) -> bool:
    return (
        typing.is_typeddict(kind)
        or hasattr(kind, "__dataclass_fields__")
        or (issubclass(kind, tuple) and hasattr(kind, "_fields"))
    )

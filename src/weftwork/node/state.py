"""What a program's captured state was before a call, and its restoring after: each call begins as the first one did.

A list that one call appended to must not be seen by the next: its result would depend on which calls a worker had
before. Compared is by identity and one level deep, object by object, so that a call that changed nothing costs next to
nothing.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any

_MISSING: Any = object()
_Check = Callable[[], bool]


class State:
    """The mutable objects of one loaded bundle as they were when it was loaded."""

    def __init__(self) -> None:
        self._checks: list[_Check] = []
        self._names: list[str] = []

    def restore(self) -> list[str]:
        """Put back what was changed since; returns what that was, for people (``tov.TABLE``, ``a list``)."""
        return [name for name, check in zip(self._names, self._checks, strict=True) if check()]

    def watch(self, name: str, value: Any) -> None:
        """Keep what a mutable object holds now."""
        check = _check_of(value)
        if check is not None:
            self._names.append(name)
            self._checks.append(check)

    def watch_names(self, name: str, names: dict[str, Any]) -> None:
        """Keep the names of a module or the attributes of an object."""
        self._names.append(name)
        self._checks.append(_check_dict(names))


def _check_of(value: Any) -> _Check | None:
    kind = type(value)
    if kind is dict:
        return _check_dict(value)
    if kind is list:
        return _check_list(value)
    if kind is set or kind is bytearray:
        return _check_equal(value)
    if kind is types.CellType:
        return _check_cell(value)
    if isinstance(value, type):
        return _check_class(value)
    if kind.__module__ == "numpy" and kind.__name__ == "ndarray":
        return _check_array(value) if value.flags.writeable else None
    names = getattr(value, "__dict__", None)
    return _check_dict(names) if type(names) is dict else None


def _same(one: Iterable[Any], other: Iterable[Any]) -> bool:
    return all(first is second for first, second in zip(one, other, strict=True))


def _check_list(value: list[Any]) -> _Check:
    kept = list(value)

    def check() -> bool:
        if len(value) == len(kept) and _same(value, kept):
            return False
        value[:] = kept
        return True

    return check


def _check_dict(value: dict[Any, Any]) -> _Check:
    kept = dict(value)

    def check() -> bool:
        if len(value) == len(kept) and _same(value, kept) and _same(value.values(), kept.values()):
            return False
        value.clear()
        value.update(kept)
        return True

    return check


def _check_equal(value: Any) -> _Check:
    kept = value.copy()

    def check() -> bool:
        if value == kept:
            return False
        value.clear()
        (value.update if isinstance(value, set) else value.extend)(kept)
        return True

    return check


def _check_cell(cell: types.CellType) -> _Check:
    def content() -> Any:
        try:
            return cell.cell_contents
        except ValueError:
            return _MISSING

    kept = content()

    def check() -> bool:
        if content() is kept:
            return False
        if kept is _MISSING:
            del cell.cell_contents
        else:
            cell.cell_contents = kept
        return True

    return check


def _check_class(cls: type[Any]) -> _Check:
    # What Python itself keeps in a class, such as annotations asked for or an abstract class's cache, is no state.
    def content() -> Mapping[str, Any]:
        return {name: item for name, item in vars(cls).items() if not name.startswith(("__", "_abc_"))}

    kept = content()

    def check() -> bool:
        found = content()
        if len(found) == len(kept) and _same(found, kept) and _same(found.values(), kept.values()):
            return False
        for name in found.keys() - kept.keys():
            type.__delattr__(cls, name)
        for name, item in kept.items():
            if found.get(name, _MISSING) is not item:
                type.__setattr__(cls, name, item)
        return True

    return check


def _check_array(value: Any) -> _Check:
    kept = value.copy()
    # Bytes, since a NaN equals nothing; objects by identity.
    by_identity = value.dtype.hasobject

    def check() -> bool:
        if by_identity:
            same = _same(value.flat, kept.flat)
        else:
            same = value.shape == kept.shape and value.data.tobytes() == kept.data.tobytes()
        if not same:
            value[...] = kept
        return not same

    return check

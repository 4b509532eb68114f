"""What a program's captured state was before a call, and its restoring after: each call begins as the first one did.

A list that one call appended to must not be seen by the next: its result would depend on which calls a worker had
before. Compared is by identity and one level deep, object by object, so that a call that changed nothing costs next to
nothing. What a library's object holds cannot be put back so: its pickle is compared (never read), and the program is
loaded again when it differs.
"""

from __future__ import annotations

import array
import collections
import copy
import copyreg
import enum
import functools
import io
import operator
import pickle
import types
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

_MISSING: Any = object()
_Check = Callable[[], bool]
_LRU: type = type(functools.lru_cache(maxsize=None)(lambda: None))
_PLAIN = (types.FunctionType, types.ModuleType, type, property, staticmethod, classmethod, functools.partial)


class State:
    """The mutable objects of one loaded bundle as they were when it was loaded."""

    def __init__(self) -> None:
        self._checks: list[_Check] = []
        self._names: list[str] = []
        self._opaque: list[Callable[[], bytes | None]] = []
        self._prints: list[bytes | None] = []

    @property
    def stale(self) -> bool:
        """Whether something was changed that cannot be put back: the program has to be loaded again."""
        if not self._opaque:
            return False
        return any(found is None or found != take() for found, take in zip(self._prints, self._opaque, strict=True))

    def restore(self) -> list[str]:
        """Put back what was changed since; returns what that was, for people (``tov.TABLE``, ``a list``)."""
        return [self._names[at] for at, check in enumerate(self._checks) if check()]

    def watch(self, name: str, value: Any) -> None:
        """Keep what a mutable object holds now."""
        for check in _checks_of(value):
            self.add(name, check)
        if isinstance(value, types.FunctionType) and hasattr(value, "registry"):
            self._opaque.append(functools.partial(_registry, value))
            self._prints.append(_registry(value))
        if not isinstance(value, (*_PLAIN, _LRU)) and not _is_transparent(value):
            self._opaque.append(functools.partial(_fingerprint, value))
            self._prints.append(_fingerprint(value))

    def add(self, name: str, check: Callable[[], bool]) -> None:
        """Have ``check`` put something back: it tells whether it had to."""
        self._names.append(name)
        self._checks.append(check)

    def watch_names(self, name: str, names: dict[str, Any]) -> None:
        """Keep the names of a module or the attributes of an object."""
        self._names.append(name)
        self._checks.append(_check_dict(names))


def _checks_of(value: Any) -> list[_Check]:
    kind = type(value)
    if isinstance(value, type):
        members = vars(value).get("_member_map_", {}).values() if isinstance(value, enum.EnumMeta) else ()
        return [_check_class(value), *(_check_dict(vars(member)) for member in members)]
    if kind is types.CellType:
        return [_check_cell(value)]
    if kind is _LRU:
        return [_check_cache(value)]
    found = []
    for kinds, check in _CONTENTS:
        if isinstance(value, kinds):
            found.append(check(value))
    if kind.__module__ == "numpy" and kind.__name__ == "ndarray" and value.flags.writeable:
        found.append(_check_array(value))
    names = getattr(value, "__dict__", None)
    if type(names) is dict:
        found.append(_check_dict(names))
    if not isinstance(value, _PLAIN):
        # Members of a type that C defines are no slots: what they give may be new each time.
        classes = [cls for cls in kind.__mro__ if "__slots__" in vars(cls)]
        slots = [item for cls in classes for item in vars(cls).values() if type(item) is types.MemberDescriptorType]
        if slots:
            found.append(_check_slots(value, slots))
    return found


_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: a class statement made it


def _is_transparent(value: Any) -> bool:
    """Whether the checks here see all that an object holds: no state is kept in C, or known only to its library."""
    kind: Any = type(value)
    if kind in _SEEN or kind.__module__ == "numpy":
        return kind in _SEEN or kind.__name__ == "ndarray"
    if not kind.__flags__ & _HEAP_TYPE or kind in copyreg.dispatch_table:
        return False
    plain = kind.__reduce_ex__ is object.__reduce_ex__ and kind.__reduce__ is object.__reduce__
    return plain or (isinstance(value, BaseException) and kind.__reduce__ is BaseException.__reduce__)


def _registry(function: Any) -> bytes:
    """What a generic function dispatches to."""
    return repr([(id(kind), id(item)) for kind, item in function.registry.items()]).encode()


class _Printer(pickle.Pickler):
    """Writes an object's content. Definitions are named by their address: whether they changed is seen elsewhere."""

    def persistent_id(self, value: Any) -> Any:
        return id(value) if isinstance(value, _PLAIN) else None


def _fingerprint(value: Any) -> bytes | None:
    """What an object holds, as bytes that are only compared; ``None`` when that cannot be told."""
    stream = io.BytesIO()
    try:
        _Printer(stream, protocol=5).dump(value)
    except Exception:
        return None
    return stream.getvalue()


def _same(one: Iterable[Any], other: Iterable[Any]) -> bool:
    """Whether these are the same objects in the same order; there are as many of them."""
    return all(map(operator.is_, one, other))


def _check_list(value: list[Any]) -> _Check:
    kept = list(list.__iter__(value))

    def check() -> bool:
        if list.__len__(value) == len(kept) and _same(list.__iter__(value), kept):
            return False
        list.__setitem__(value, slice(None), kept)
        return True

    return check


def _check_dict(value: dict[Any, Any]) -> _Check:
    kept = dict(dict.items(value))

    def check() -> bool:
        # For every module of the program after every call: as _same has it, without the calls.
        if (
            dict.__len__(value) == len(kept)
            and all(map(operator.is_, dict.__iter__(value), kept))
            and all(map(operator.is_, dict.values(value), kept.values()))
        ):
            return False
        if isinstance(value, collections.OrderedDict):
            value.clear()
            value.update(kept)
        else:
            dict.clear(value)
            dict.update(value, kept)
        return True

    return check


def _check_equal(value: Any) -> _Check:
    kept = copy.copy(value)

    def check() -> bool:
        if value == kept:
            return False
        if isinstance(value, array.array):
            del value[:]
        else:
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


def _check_cache(function: Any) -> _Check:
    """A cache begins each call empty: what it holds may have been changed, or have come by chance."""

    def check() -> bool:
        if not function.cache_info().misses:
            return False
        function.cache_clear()
        return True

    return check


def _check_slots(value: Any, slots: list[Any]) -> _Check:
    def content() -> list[Any]:
        found = []
        for slot in slots:
            try:
                found.append(slot.__get__(value))
            except AttributeError:
                found.append(_MISSING)
        return found

    kept = content()

    def check() -> bool:
        found = content()
        if _same(found, kept):
            return False
        for slot, now, before in zip(slots, found, kept, strict=True):
            if now is not before:
                slot.__delete__(value) if before is _MISSING else slot.__set__(value, before)
        return True

    return check


def _check_array(value: Any) -> _Check:
    kept = value.copy("K")
    if value.dtype.hasobject:
        return _put_back(value, kept, lambda: _same(value.flat, kept.flat))
    if not value.size or not (value.flags.c_contiguous or value.flags.f_contiguous):
        return _put_back(value, kept, lambda: value.tobytes() == kept.tobytes())
    # As bytes, since a NaN equals nothing.
    now, before = (each.ravel("K").view("u1") for each in (value, kept))
    parts = [slice(at, at + _PART) for at in range(0, before.size, _PART)]
    return _put_back(value, kept, lambda: all((now[part] == before[part]).all() for part in parts))


_PART = 1 << 16


def _put_back(value: Any, kept: Any, same: Callable[[], Any]) -> _Check:
    def check() -> bool:
        if same():
            return False
        value[...] = kept
        return True

    return check


def _check_empty(value: Any) -> _Check:
    """Weak collections are caches of live objects: they begin each call empty."""

    def check() -> bool:
        if not len(value):
            return False
        value.clear()
        return True

    return check


_WEAK = (weakref.WeakKeyDictionary, weakref.WeakValueDictionary, weakref.WeakSet)
_CONTENTS: tuple[tuple[Any, Callable[[Any], _Check]], ...] = (
    (list, _check_list),
    (dict, _check_dict),
    ((set, bytearray, array.array, collections.deque), _check_equal),
    (_WEAK, _check_empty),
)
_SEEN = frozenset(
    {list, dict, set, bytearray, array.array, collections.deque, collections.OrderedDict, collections.defaultdict}
    | {
        collections.Counter,
        types.SimpleNamespace,
        types.CellType,
        types.MappingProxyType,
        functools.cached_property,
        *_WEAK,
    }
)

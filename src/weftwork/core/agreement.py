"""Whether two results of one calculation agree: the same bytes, numbers within a tolerance, or different; and where.

Values of one type are walked together: numbers at any depth of JSON values, arrays and tables are held against the
tolerance, which is relative; shapes, types, names, texts and all else must be the same. Files are compared as
bytes, and told by the line where both are text. Nothing is read of what has the same checksum.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal, Protocol

from weftwork.core import arrays, nearness, tables
from weftwork.core.checksum import Checksum, from_canonical
from weftwork.core.nearness import Widest
from weftwork.core.values import Ref, Type

_CHUNK = 1 << 20
_LINE = 60

State = Literal["identical", "within", "different"]


class Source(Protocol):
    """Where the bytes of both results are. What raises for those that are gone is the source's."""

    def get(self, checksum: Checksum) -> bytes: ...

    def open(self, checksum: Checksum) -> BinaryIO: ...


@dataclass(frozen=True, slots=True)
class Agreement:
    """How two results agree.

    ``relative`` is the largest relative difference that was found between two numbers, and infinite where something
    differs that no tolerance can span. ``where`` is its place (``mass[3].low``, ``stars['radius'][17]``,
    ``report line 4``), ``one`` and ``other`` what stands there.
    """

    state: State
    relative: float = 0.0
    where: str = ""
    one: str = ""
    other: str = ""

    def __str__(self) -> str:
        if self.state == "identical":
            return "identical"
        found = f"{self.where}: {self.one} ↔ {self.other}"
        size = f", relative difference {self.relative:.2g}" if math.isfinite(self.relative) else ""
        return f"within tolerance{size} at {found}" if self.state == "within" else f"DIFFERENT at {found}{size}"

    def document(self) -> dict[str, Any]:
        """As JSON; ``relative`` is null where the difference is none of numbers."""
        if self.state == "identical":
            return {"state": self.state}
        relative = self.relative if math.isfinite(self.relative) else None
        return {"state": self.state, "relative": relative, "where": self.where, "one": self.one, "other": self.other}


def agreement(
    one: Mapping[str, Ref], other: Mapping[str, Ref], tolerance: Callable[[str], float], source: Source
) -> Agreement:
    """How two sets of outputs agree; ``tolerance`` gives what is declared for an output, 0 for the same bytes.

    Of several outputs that differ it tells of the one that differs the most, one beyond its tolerance first.
    """
    found = [_output(name, one.get(name), other.get(name), tolerance(name), source) for name in {**one, **other}]
    return max(found, key=lambda each: (_ORDER.index(each.state), each.relative), default=_IDENTICAL)


_ORDER = ("identical", "within", "different")
_IDENTICAL = Agreement("identical")


def _output(name: str, one: Ref | None, other: Ref | None, tolerance: float, source: Source) -> Agreement:
    if one is not None and other is not None and (one.type, one.checksum) == (other.type, other.checksum):
        return _IDENTICAL
    widest = Widest()
    if one is None or other is None:
        widest.told(name, ("nothing" if each is None else _named(each) for each in (one, other)))
    else:
        _Walk(widest, source).value(one, other, name)
        if widest.relative < 0:
            # Equal in all that was walked, in bytes that are not the same: a NaN with other bits in it, for one.
            widest.told(name, (_named(one), _named(other)))
    within = tolerance > 0 and widest.relative <= tolerance
    return Agreement("within" if within else "different", widest.relative, widest.where, widest.one, widest.other)


def _named(ref: Ref) -> str:
    return f"{ref.type} {ref.checksum.short}"


@dataclass(slots=True)
class _Walk:
    """Two values of a type, walked together."""

    widest: Widest
    source: Source

    def value(self, one: Ref, other: Ref, where: str) -> None:
        """Two stored values."""
        if one.type != other.type:
            self.widest.told(where, (_named(one), _named(other)))
        elif one.checksum != other.checksum:
            self._bytes(one.type, one.checksum, other.checksum, where)

    def _bytes(self, kind: Type, one: Checksum, other: Checksum, where: str) -> None:
        """Two stored values of one type, which are not the same."""
        get = self.source.get
        if kind.inline:
            self._json(from_canonical(get(one)), from_canonical(get(other)), where)
            return
        match kind.name:
            case "array":
                nearness.arrays(self.widest, arrays.decode(get(one)), arrays.decode(get(other)), where)
            case "table":
                nearness.tables(self.widest, tables.decode(get(one)), tables.decode(get(other)), where)
            case "directory" | "collection" | "list" | "record":
                self._holding(kind, from_canonical(get(one)), from_canonical(get(other)), where)
            case _:
                with self.source.open(one) as first, self.source.open(other) as second:
                    _streams(self.widest, first, second, where)

    def _json(self, one: Any, other: Any, where: str) -> None:
        """Two JSON values."""
        if type(one) is not type(other):
            self.widest.met(where, one, other)
        elif isinstance(one, dict):
            self._keys(one, other, where)
            for name in one.keys() & other.keys():
                self._json(one[name], other[name], f"{where}.{name}" if name.isidentifier() else f"{where}[{name!r}]")
        elif isinstance(one, list):
            if self._lengths(one, other, where):
                for index, (left, right) in enumerate(zip(one, other, strict=True)):
                    self._json(left, right, f"{where}[{index}]")
        elif type(one) in (int, float):
            if repr(one) != repr(other):
                self.widest.met(where, one, other, nearness.relative(one, other))
        elif one != other:
            self.widest.met(where, one, other)

    def _keys(self, one: Mapping[str, Any], other: Mapping[str, Any], where: str) -> None:
        if one.keys() != other.keys():
            told = [", ".join(sorted(each.keys() - rest.keys())) for each, rest in ((one, other), (other, one))]
            self.widest.told(f"the keys of {where}", (f"also {each}" if each else "no more" for each in told))

    def _lengths(self, one: list[Any], other: list[Any], where: str) -> bool:
        if len(one) != len(other):
            self.widest.met(f"the length of {where}", len(one), len(other))
        return len(one) == len(other)

    def _holding(self, kind: Type, one: Any, other: Any, where: str) -> None:
        """Two values whose items are stored by themselves."""
        if kind.name == "directory":
            self._directory(one, other, where)
        elif kind.name == "record":
            for name, item in kind.fields:
                self._item(item, one.get(name), other.get(name), f"{where}.{name}")
        elif kind.name == "list":
            if self._lengths(one, other, where):
                for index, (left, right) in enumerate(zip(one, other, strict=True)):
                    self._item(kind.item, left, right, f"{where}[{index}]")
        elif [name for name, _ in one] != [name for name, _ in other]:
            self.widest.told(f"the names in {where}", (", ".join(name for name, _ in each) for each in (one, other)))
        else:
            for (name, left), (_, right) in zip(one, other, strict=True):
                self._item(kind.item, left, right, f"{where}[{name!r}]")

    def _item(self, item: Type | None, one: Any, other: Any, where: str) -> None:
        assert item is not None
        if item.inline:
            self._json(one, other, where)
        elif one is None or other is None:
            if one != other:
                texts = ("null" if each is None else f"{item} {Checksum(each).short}" for each in (one, other))
                self.widest.told(where, texts)
        elif one != other:
            self._bytes(item, Checksum(one), Checksum(other), where)

    def _directory(self, one: list[Any], other: list[Any], where: str) -> None:
        entries = [{path: (executable, checksum) for path, executable, checksum in each} for each in (one, other)]
        for path in sorted({**entries[0], **entries[1]}):
            found = [each.get(path) for each in entries]
            place = f"{where}/{path}"
            if found[0] is None or found[1] is None:
                self.widest.told(place, ("no such file" if each is None else "a file" for each in found))
            elif found[0][1] != found[1][1]:
                self._bytes(Type("file"), Checksum(found[0][1]), Checksum(found[1][1]), place)
            elif found[0] != found[1]:
                self.widest.told(place, ("executable" if each[0] else "not executable" for each in found if each))


def _streams(widest: Widest, one: BinaryIO, other: BinaryIO, where: str) -> None:
    """The first place at which two streams of bytes differ: a line where both are text, else an offset."""
    before = lines = 0
    while True:
        left, right = _read(one), _read(other)
        if left != right:
            break
        if not left:
            return
        before, lines = before + len(left), lines + left.count(b"\n")
    same = next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))
    first, second = _line(left, same), _line(right, same)
    if first is not None and second is not None:
        number = lines + left.count(b"\n", 0, same) + 1
        widest.told(f"{where} line {number}", (first, second))
        return
    told = [each[same : same + 8].hex(" ") or "its end" for each in (left, right)]
    widest.told(f"{where} byte {before + same:,}", told)


def _read(stream: BinaryIO) -> bytes:
    """A whole chunk, or what is left."""
    parts, size = [], 0
    while size < _CHUNK and (part := stream.read(_CHUNK - size)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def _line(data: bytes, at: int) -> str | None:
    """What stands around a place on its line; ``None`` where these are no bytes of a text."""
    if b"\0" in data:
        return None
    if at >= len(data):
        return "its end"
    begin = data.rfind(b"\n", 0, at) + 1
    start = max(begin, at - _LINE // 2)
    while start > begin and data[start] & 0xC0 == 0x80:  # within a character
        start -= 1
    end = data.find(b"\n", at)
    line = data[start : min(end if end >= 0 else len(data), start + _LINE)]
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.reason != "unexpected end of data":
            return None
        text = line[: error.start].decode("utf-8")
    return repr(f"{'…' * (start > begin)}{text}{'…' * (len(line) == _LINE)}")

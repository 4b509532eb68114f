"""How near two numbers are, and the numbers of two arrays or table columns: the largest relative difference, and where.

Values of one type and shape are held against each other; NaN is near NaN, and what is no number is near its equal
alone. numpy and pyarrow are imported inside the functions, where a value needs them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from weftwork.core.checksum import shorten

Place = Callable[[int], str]
"""The name of the place of an item, by its index."""

_SHOWN = 60


@dataclass(slots=True)
class Widest:
    """The widest difference that was met, of equally wide ones the first. ``relative`` is below 0 where none was met,
    and infinite for what no tolerance can span."""

    relative: float = -1.0
    where: str = ""
    one: str = ""
    other: str = ""

    def met(self, where: str, one: Any, other: Any, relative: float = math.inf) -> None:
        """A difference between two values."""
        self.told(where, (shorten(one, _SHOWN), shorten(other, _SHOWN)), relative)

    def told(self, where: str, texts: Iterable[str], relative: float = math.inf) -> None:
        """A difference that two texts tell of."""
        if relative > self.relative:
            self.relative, self.where = relative, where
            self.one, self.other = texts


def relative(one: float, other: float) -> float:
    """``|one - other| / max(|one|, |other|)``, from 0 to 2; 0 for NaN and NaN, infinite where one alone is not finite."""
    if one == other or (one != one and other != other):
        return 0.0
    largest = max(abs(one), abs(other))
    if isinstance(one, int) and isinstance(other, int):
        return abs(one - other) / largest
    if not (math.isfinite(one) and math.isfinite(other)):
        return math.inf
    difference = abs(one - other)
    return difference / largest if math.isfinite(difference) else abs(one / largest - other / largest)


def arrays(widest: Widest, one: Any, other: Any, where: str) -> None:
    """Two numpy arrays, whose shapes and types must be the same."""
    import numpy

    if one.dtype != other.dtype or one.shape != other.shape:
        widest.told(where, (f"{each.dtype} {each.shape}" for each in (one, other)))
        return

    def place(index: int) -> str:
        return (
            f"{where}[{', '.join(str(each) for each in numpy.unravel_index(index, one.shape))}]" if one.ndim else where
        )

    _items(widest, one.reshape(-1), other.reshape(-1), place)


def _items(widest: Widest, one: Any, other: Any, place: Place) -> None:
    """The items of two flat arrays of one type and length."""
    import numpy

    # By their bytes: 0.0 and -0.0 are equal and are not the same, NaN is the same and not equal.
    raw = [numpy.ascontiguousarray(each).view("u1").reshape(len(each), -1) for each in (one, other)]
    differing = numpy.flatnonzero((raw[0] != raw[1]).any(axis=1))
    if not len(differing):
        return
    if one.dtype.kind not in "iufc":
        first = int(differing[0])
        widest.met(place(first), one[first].item(), other[first].item())
        return
    found = _relative(one[differing], other[differing])
    largest = int(numpy.argmax(found))
    index = int(differing[largest])
    widest.met(place(index), one[index].item(), other[index].item(), float(found[largest]))


def _relative(one: Any, other: Any) -> Any:
    """:func:`relative`, for each pair of two arrays."""
    import numpy

    if one.dtype.kind in "iu":
        # The difference of two integers of 64 bits has room in an unsigned one, whatever their signs are.
        high, low = numpy.maximum(one, other), numpy.minimum(one, other)
        difference = (high.astype("u8") - low.astype("u8")).astype("f8")
        return difference / numpy.maximum(numpy.abs(one.astype("f8")), numpy.abs(other.astype("f8")))
    wide = "c16" if one.dtype.kind == "c" else "f8"
    one, other = one.astype(wide), other.astype(wide)
    with numpy.errstate(all="ignore"):
        difference, largest = numpy.abs(one - other), numpy.maximum(numpy.abs(one), numpy.abs(other))
        found = difference / largest
        overflown = ~numpy.isfinite(found) & numpy.isfinite(one) & numpy.isfinite(other) & (one != other)
        if overflown.any():
            found[overflown] = _scaled(one[overflown], other[overflown])
    found[numpy.isnan(found)] = math.inf
    found[(one == other) | (numpy.isnan(one) & numpy.isnan(other))] = 0.0
    return found


def _scaled(one: Any, other: Any) -> Any:
    """The same for finite numbers so large that their difference or absolute value is not."""
    import numpy

    one, other = one / 2.0**600, other / 2.0**600
    return numpy.abs(one - other) / numpy.maximum(numpy.abs(one), numpy.abs(other))


def tables(widest: Widest, one: Any, other: Any, where: str) -> None:
    """Two canonical Arrow tables, whose columns must have the same names and types, in the same order."""
    for what, parts in (
        ("names", [table.schema.names for table in (one, other)]),
        ("types", [list(map(str, table.schema.types)) for table in (one, other)]),
        ("rows", [[f"{table.num_rows} rows"] for table in (one, other)]),
    ):
        if parts[0] != parts[1]:
            place = where if what == "rows" else f"the columns' {what} of {where}"
            widest.told(place, (", ".join(each) for each in parts))
            return
    for name, left, right in zip(one.schema.names, one.columns, other.columns, strict=True):
        _column(widest, _one(left), _one(right), partial("{}[{!r}][{}]".format, where, name))


def _field(place: Place, name: str, index: int) -> str:
    return f"{place(index)}.{name}"


def _one(column: Any) -> Any:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _column(widest: Widest, one: Any, other: Any, place: Place) -> None:
    """Two columns of one type and length."""
    import numpy
    from pyarrow import types

    kind = one.type
    if not len(one):
        return
    valid = one.is_valid().to_numpy(zero_copy_only=False)
    unlike = numpy.flatnonzero(valid != other.is_valid().to_numpy(zero_copy_only=False))
    if len(unlike):
        first = int(unlike[0])
        widest.told(place(first), (_shown(one, first), _shown(other, first)))
    elif types.is_floating(kind) or types.is_integer(kind):
        one, other = (each.fill_null(0).to_numpy(zero_copy_only=False) for each in (one, other))
        _items(widest, one, other, place)
    elif types.is_decimal(kind):
        _decimals(widest, one, other, place)
    elif types.is_struct(kind):
        for field, left, right in zip(kind, one.flatten(), other.flatten(), strict=True):
            _column(widest, left, right, partial(_field, place, field.name))
    elif types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        _lists(widest, one, other, place)
    elif not one.equals(other):
        first = _first_unequal(one, other)
        widest.told(place(first), (_shown(one, first), _shown(other, first)))


def _lists(widest: Widest, one: Any, other: Any, place: Place) -> None:
    """Two columns of lists: their lengths, then all of their items as one column."""
    import numpy
    from pyarrow import compute

    lengths = [compute.fill_null(compute.list_value_length(each), 0).to_numpy() for each in (one, other)]
    unlike = numpy.flatnonzero(lengths[0] != lengths[1])
    if len(unlike):
        first = int(unlike[0])
        widest.met(f"the length of {place(first)}", int(lengths[0][first]), int(lengths[1][first]))
        return
    ends = numpy.cumsum(lengths[0])

    def inner(index: int) -> str:
        row = int(numpy.searchsorted(ends, index, side="right"))
        return f"{place(row)}[{index - int(ends[row]) + int(lengths[0][row])}]"

    _column(widest, one.flatten(), other.flatten(), inner)


def _decimals(widest: Widest, one: Any, other: Any, place: Place) -> None:
    from fractions import Fraction

    from pyarrow import compute

    for index in compute.indices_nonzero(compute.not_equal(one, other)).to_pylist():
        left, right = one[index].as_py(), other[index].as_py()
        exact = [Fraction(each) for each in (left, right)]
        found = float(abs(exact[0] - exact[1]) / max(map(abs, exact)))
        widest.told(place(index), (str(left), str(right)), found)


def _first_unequal(one: Any, other: Any) -> int:
    """The first index at which two unequal columns differ, found by halving."""
    low, high = 0, len(one)
    while high - low > 1:
        middle = (low + high) // 2
        if one.slice(low, middle - low).equals(other.slice(low, middle - low)):
            low = middle
        else:
            high = middle
    return low


def _shown(column: Any, index: int) -> str:
    try:
        return shorten(column[index].as_py(), _SHOWN)
    except ValueError:  # a time to the nanosecond, which Python's own type has no room for
        return str(column[index].cast("string"))

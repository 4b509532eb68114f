"""How things are written for people: tables, times, sizes, values. Nothing here knows a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from weftwork.core.checksum import canonical
from weftwork.core.values import Ref


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as they need to be, the last one as it is."""
    lines = [tuple(head), *(tuple(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head) - 1)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[-1]]).rstrip()
        for line in lines
    )


def when(time: float | None) -> str:
    """A local time, to the second."""
    return "" if time is None else datetime.fromtimestamp(time).strftime("%Y-%m-%d %H:%M:%S")


def duration(seconds: float | None) -> str:
    """``12 ms``, ``1.2 s``, ``3m05s``, ``2h04m``."""
    if seconds is None:
        return ""
    if seconds < 0.1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"


def size(count: int) -> str:
    """``12 bytes``, ``3.4 MB``."""
    if count < 1000:
        return f"{count} bytes"
    power = min((len(str(count)) - 1) // 3, 4)
    return f"{count / 1000**power:.1f} {('', 'kB', 'MB', 'GB', 'TB')[power]}"


def ref_line(ref: Ref) -> str:
    """A reference for people: type, checksum and size."""
    return f"{ref.type} {ref.checksum.short} ({size(ref.size)})"


def headline(text: str) -> str:
    """The first line of a message; where it only announces the lines that follow, without the announcement."""
    first = text.partition("\n")[0]
    return first.rpartition("; ")[0] or first.rstrip(":") if first.endswith(":") else first


def written(value: Any) -> str:
    """A plain value on one line."""
    if isinstance(value, str):
        return value
    return canonical(value).decode("utf-8")


def as_json(document: Any) -> str:
    """A JSON document for programs: two spaces of indentation, text as it is."""
    return json.dumps(document, indent=2, ensure_ascii=False)


def out(text: str) -> None:
    """One text on standard output."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def error_document(error: BaseException) -> dict[str, Any]:
    """An error as JSON, in the one shape that it has everywhere."""
    from weftwork.errors import WeftError

    if isinstance(error, WeftError):
        return error.document()
    return {"type": type(error).__name__, "message": str(error), "details": {}}

"""Where and how a calculation runs: never part of a key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from weftwork.core.checksum import shorten
from weftwork.errors import Invalid


@dataclass(frozen=True, slots=True)
class Resources:
    """What a job needs. ``cpus`` and ``gpus`` in pieces, ``memory`` and ``disk`` in bytes, ``time`` in seconds; ``None`` is no limit."""

    cpus: int = 1
    memory: int | None = None
    disk: int | None = None
    gpus: int = 0
    time: float | None = None

    def __post_init__(self) -> None:
        for name, least in (("cpus", 1), ("gpus", 0), ("memory", 1), ("disk", 1), ("time", 0)):
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise Invalid(f"resources: {name} is {value!r}; at least {least} is expected")

    @staticmethod
    def of(document: Mapping[str, Any]) -> Resources:
        """From a document a person wrote: ``{cpus: 4, memory: 2 GB, time: 1h30m}``."""
        return Resources().updated(document)

    def updated(self, document: Mapping[str, Any]) -> Resources:
        """These resources with what a document says instead."""
        known = {each.name for each in fields(Resources)}
        changes: dict[str, Any] = {}
        for name, value in document.items():
            if name not in known:
                raise Invalid(f"resources: {name!r} is not known; the resources are {', '.join(sorted(known))}")
            changes[name] = _READ[name](value)
        return replace(self, **changes)

    def document(self) -> dict[str, Any]:
        return {
            each.name: getattr(self, each.name)
            for each in fields(Resources)
            if getattr(self, each.name) != each.default
        }


@dataclass(frozen=True, slots=True)
class Placement:
    """The choice of a place: ``site`` by name (``None``: the rules choose), resources, retries for failures of the site, priority.

    ``cache=False`` runs the calculation although a result is known, and keeps the new one for its own run. ``chosen`` says
    why the rules chose the site; empty where it was named.
    """

    site: str | None = None
    resources: Resources = Resources()
    retries: int = 3
    priority: int = 0
    cache: bool = True
    strict: bool = False
    chosen: str = ""

    def document(self) -> dict[str, Any]:
        out = {
            each.name: getattr(self, each.name)
            for each in fields(Placement)
            if getattr(self, each.name) != each.default
        }
        if "resources" in out:
            out["resources"] = self.resources.document()
        return out

    @staticmethod
    def of(document: Mapping[str, Any]) -> Placement:
        return Placement(**{**document, "resources": Resources.of(document.get("resources") or {})})


_UNITS = {
    "": 1,
    "k": 1000,
    "m": 1000**2,
    "g": 1000**3,
    "t": 1000**4,
    "ki": 1024,
    "mi": 1024**2,
    "gi": 1024**3,
    "ti": 1024**4,
}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?\Z", re.IGNORECASE | re.ASCII)
_TIME = re.compile(
    r"(?:(\d+(?:\.\d+)?)\s*d)?\s*(?:(\d+(?:\.\d+)?)\s*h)?\s*(?:(\d+(?:\.\d+)?)\s*m(?:in)?)?\s*(?:(\d+(?:\.\d+)?)\s*s)?\Z"
)


def parse_size(value: Any) -> int | None:
    """Bytes from ``2 GB`` (10⁹), ``512 MiB`` (2²⁰) or a number of bytes; ``None`` stays."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    match = _SIZE.match(str(value).strip())
    if match is None:
        raise Invalid(f"{shorten(value)} is not a size; write it as 2 GB, 512 MiB, or a number of bytes")
    number, unit = match.groups()
    # Imported here: few sizes are texts, and every command reads this file.
    from fractions import Fraction

    # Exact: a float has no room for all bytes of a petabyte.
    return int(Fraction(number) * _UNITS[(unit or "").lower()])


def size_text(count: float) -> str:
    """A number of bytes for people, in the units in which limits are mostly given: a limit reads as it was written."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} bytes" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def parse_time(value: Any) -> float | None:
    """Seconds from ``1h30m``, ``45 s``, ``2d``, ``01:30:00`` or a number of seconds; ``None`` stays."""
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise Invalid(f"{shorten(value)} seconds are too many") from None
    text = str(value).strip().lower()
    parts = text.split(":")
    try:
        if len(parts) > 1:
            return float(sum(float(part) * 60**place for place, part in enumerate(reversed(parts))))
        return float(text)
    except ValueError:
        match = _TIME.match(text)
    if match is None or not any(match.groups()):
        raise Invalid(f"{shorten(value)} is not a duration; write it as 1h30m, 45 s, 01:30:00, or a number of seconds")
    return sum(float(part) * unit for part, unit in zip(match.groups(), (86400, 3600, 60, 1), strict=True) if part)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Invalid(f"{shorten(value)} is not a whole number")
    return value


_READ = {"cpus": _count, "gpus": _count, "memory": parse_size, "disk": parse_size, "time": parse_time}

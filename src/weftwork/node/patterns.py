"""Finds the paths that an output's pattern names, below the directory where the command ran.

``*``, ``?`` and ``[...]`` match within one name and, as in a shell, no leading dot; ``**`` matches any number of
directories, hidden ones and links apart. **What exists under the very name wins**: where ``a[1]`` is there, the
pattern ``a[1]`` means it, not ``a1``. Only a name that its own reading as a pattern matches too (``*``) stays a
pattern, unless a single path is wanted: then it wins as well.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Final

_MAGIC: Final = re.compile(r"[*?\[]")


def find(root: str, pattern: str, *, single: bool, enter: Callable[[str], None]) -> list[str]:
    """The paths below ``root`` that the pattern names, sorted; they are relative to ``root`` and may be links.

    ``single`` says that one path is wanted. ``enter`` is called with each directory before it is read
    through the pattern, and raises when it must not be.
    """
    if single and os.path.lexists(os.path.join(root, pattern)):
        return [pattern]
    return sorted(set(_walk(root, "", pattern.split("/"), enter)))


def _walk(root: str, at: str, parts: list[str], enter: Callable[[str], None]) -> Iterator[str]:
    if not parts:
        yield at
        return
    part, rest = parts[0], parts[1:]
    here = os.path.join(root, at)
    if part == "**":
        yield from _walk(root, at, rest or ["*"], enter)
        for name in _names(here, enter):
            below = os.path.join(here, name)
            if not name.startswith(".") and os.path.isdir(below) and not os.path.islink(below):
                yield from _walk(root, os.path.join(at, name), parts, enter)
        return
    for name in _candidates(here, part, enter):
        below = os.path.join(here, name)
        if not rest or os.path.isdir(below):
            yield from _walk(root, os.path.join(at, name), rest, enter)


def _candidates(here: str, part: str, enter: Callable[[str], None]) -> list[str]:
    literal = os.path.lexists(os.path.join(here, part))
    if not _MAGIC.search(part) or (literal and not fnmatchcase(part, part)):
        return [part] if literal else []
    return [
        name
        for name in _names(here, enter)
        if fnmatchcase(name, part) and (not name.startswith(".") or part.startswith("."))
    ]


def _names(here: str, enter: Callable[[str], None]) -> list[str]:
    enter(here)
    return sorted(os.listdir(here))

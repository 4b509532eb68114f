"""What ``uses=`` declares beside the source: files by content, modules taken whole, functions and other values.

A declared file keeps its place beside the modules of the project, relative to the folder that holds them all: on the
node, a module's ``__file__`` points into a folder that has these files, so that ``Path(__file__).with_name("x.csv")``
finds the one that was declared.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weftwork.errors import Invalid
from weftwork.python.values import encode_bytes

if TYPE_CHECKING:
    from weftwork.python.walk import Walker


@dataclass(frozen=True, eq=False)
class DeclaredFile:
    """A file that the program reads, known by its content."""

    path: Path


def declare(walker: Walker, value: Any) -> Any:
    """The form of one declared thing."""
    if isinstance(value, DeclaredFile):
        return _file(walker, value)
    return walker.encode_at("what uses= declares", value)


def _file(walker: Walker, declared: DeclaredFile) -> Any:
    path = declared.path
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Invalid(f"uses= names the file {str(path)!r}, which cannot be read: {error.strerror}") from None
    node = walker.node(declared, "file")
    node["path"] = _relative(path.absolute())
    node["bytes"] = encode_bytes(walker, data)
    return walker.ref(declared)


def _relative(path: Path) -> str:
    """The path below the import folder that holds it, or its name alone."""
    roots = [root for root in sys.path if root and path.is_relative_to(os.path.abspath(root))]
    if not roots:
        return path.name
    return path.relative_to(os.path.abspath(max(roots, key=len))).as_posix()

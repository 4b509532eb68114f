"""Outputs as a person gets them: a line each, a JSON document, or files."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from weftwork.cli.text import ref_line, written
from weftwork.config import Home
from weftwork.core import codecs
from weftwork.core.expression import Literal
from weftwork.core.messages import Binding
from weftwork.core.values import FILE, JSON, Ref
from weftwork.errors import Corrupt, Invalid, MissingInputs, NotFound

if TYPE_CHECKING:
    from weftwork.embedded import Embedded

__all__ = ["FILE", "document", "is_many", "line", "reading", "refs_of", "save"]

T = TypeVar("T")

_SHOWN = 4096
"""Bytes up to which a value is printed rather than named."""

_IN_JSON = 1 << 20


def line(home: Home, binding: Binding) -> str:
    """An output on one line: its value where that is short, else what it is and its checksum."""
    if isinstance(binding, Literal):
        return written(binding.value)
    if isinstance(binding, tuple):
        if len(binding) > 10:
            return f"{len(binding):,} values: {line(home, binding[0])}, …"
        return "[" + ", ".join(line(home, each) for each in binding) + "]"
    if binding.type.inline and binding.size <= _SHOWN:
        return written(codecs.decode_bytes(binding.type, home.store.get(binding.checksum)))
    if binding.type.name == "text" and binding.size <= _SHOWN:
        return home.store.get(binding.checksum).decode("utf-8").rstrip("\n")
    return ref_line(binding)


def document(home: Home, binding: Binding) -> dict[str, Any]:
    """An output as JSON: ``value`` for plain values, type, checksum and size for all that is stored, ``items`` for a list."""
    if isinstance(binding, Literal):
        return {"value": binding.value}
    if isinstance(binding, tuple):
        items = [document(home, each) for each in binding]
        return (
            {"value": [each["value"] for each in items]} if all("value" in each for each in items) else {"items": items}
        )
    out = binding.document()
    if binding.size <= _IN_JSON and (binding.type.inline or binding.type.name == "text"):
        out["value"] = codecs.decode_bytes(binding.type, home.store.get(binding.checksum))
    return out


def reading(home: Home, binding: Binding, read: Callable[[], T], session: Embedded | None = None) -> T:
    """What ``read`` gives of an output; where its bytes are gone or damaged, they are made again first."""
    try:
        return read()
    except (MissingInputs, NotFound, Corrupt):
        if session is not None:
            return session.reading(refs_of(binding), read)
        from weftwork.embedded import Embedded

        with Embedded(str(home.folder)) as own:
            return own.reading(refs_of(binding), read)


def refs_of(binding: Binding) -> list[Ref]:
    """The stored values in an output."""
    if isinstance(binding, tuple):
        return [ref for each in binding for ref in refs_of(each)]
    return [binding] if isinstance(binding, Ref) else []


def is_many(ref: Ref) -> bool:
    """Whether a value consists of several buffers."""
    return codecs.has_links(ref.type)


def save(home: Home, binding: Binding, target: Path) -> None:
    """Write an output to a path: a file, or a folder for what consists of several; whole or not at all."""
    if isinstance(binding, Literal):
        binding = home.binder.put(JSON, binding.value)
    if isinstance(binding, tuple):
        if all(isinstance(each, Literal) or each.type.inline for each in binding if not isinstance(each, tuple)):
            values = [document(home, each).get("value") for each in binding]
            home.binder.export(home.binder.put(JSON, values), target)
            return
        _save_folder(home, {str(index): each for index, each in enumerate(binding)}, target)
        return
    if is_many(binding) and binding.type.name != "directory":
        items = codecs.items(binding.type, home.store.get(binding.checksum))
        _save_folder(
            home, {name: Ref(ref.type, ref.checksum, home.store.size(ref.checksum)) for name, ref in items}, target
        )
        return
    if target.is_dir() and binding.type.name != "directory":
        raise Invalid(f"{target} is a folder; give the name of a file in it, as in {target / 'result'}")
    home.binder.export(binding, target)


def _save_folder(home: Home, items: dict[str, Any], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        for name, binding in items.items():
            place = making / name
            if not place.resolve().is_relative_to(making.resolve()):
                raise Invalid(f"the item {name!r} has a name that leads out of {target}")
            save(home, binding, place)
        making.chmod(0o755)
        if target.is_dir():
            shutil.rmtree(target)
        os.replace(making, target)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise

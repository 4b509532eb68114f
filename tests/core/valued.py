"""Types with values of them, and a store in memory: what the tests of values and codecs draw from."""

from __future__ import annotations

import hashlib
from typing import Any

from hypothesis import strategies as st

from weftwork.core import codecs
from weftwork.core.checksum import Checksum
from weftwork.core.values import File, Ref, Type

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
identifiers = st.from_regex(r"[a-z]{1,4}", fullmatch=True)
file_refs = st.binary(max_size=4).map(lambda data: Ref(Type("file"), Checksum.of(data), len(data)))

PLAIN: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "int": st.integers(),
    "float": st.floats(allow_nan=False),
    "str": texts,
    "json": json_values,
    "bytes": st.binary(max_size=8),
    "text": texts,
    "image": st.binary(max_size=8).map(lambda data: b"\x89PNG\r\n\x1a\n" + data),
    "file": file_refs,
}


def _list(inner: st.SearchStrategy[tuple[Type, Any]]) -> st.SearchStrategy[tuple[Type, Any]]:
    # One item type a list: a value is drawn for it several times by drawing one and repeating the draw's type.
    return inner.map(lambda pair: (Type("list", pair[0]), [pair[1], pair[1]])) | inner.map(
        lambda pair: (Type("list", pair[0]), [])
    )


def _collection(inner: st.SearchStrategy[tuple[Type, Any]]) -> st.SearchStrategy[tuple[Type, Any]]:
    return st.builds(
        lambda pair, names: (Type("collection", pair[0]), dict.fromkeys(names, pair[1])),
        inner,
        st.lists(texts, max_size=3, unique=True),
    )


def _record(inner: st.SearchStrategy[tuple[Type, Any]]) -> st.SearchStrategy[tuple[Type, Any]]:
    return st.dictionaries(identifiers, inner, min_size=1, max_size=3).map(
        lambda fields: (
            Type("record", fields=tuple((name, kind) for name, (kind, _) in fields.items())),
            {name: value for name, (_, value) in fields.items()},
        )
    )


plain = st.sampled_from(sorted(PLAIN)).flatmap(lambda name: st.tuples(st.just(Type(name)), PLAIN[name]))
typed = st.recursive(plain, lambda inner: _list(inner) | _collection(inner) | _record(inner), max_leaves=4)
"""Pairs of a type and a converted value of it."""


class Memory:
    """Buffers by name."""

    def __init__(self) -> None:
        self.buffers: dict[Checksum, bytes] = {}

    def put(self, data: bytes) -> Checksum:
        name = Checksum(hashlib.sha256(data).hexdigest())
        self.buffers[name] = data
        return name

    def get(self, checksum: Checksum) -> bytes:
        return self.buffers[checksum]

    def local(self, kind: Type, checksum: Checksum) -> File:
        return File(f"/store/{checksum}", checksum)

    def encode(self, declared: Type, value: Any) -> Ref:
        kind, data = codecs.encode(declared, value, self.put)
        return Ref(kind, self.put(data), len(data))

    def decode(self, ref: Ref) -> Any:
        return codecs.read(ref.type, ref.checksum, self.get, self.local)


def landed(value: Any) -> Any:
    """The value as it comes back: references to files as local files, tuples of its parts untouched."""
    if isinstance(value, Ref):
        return File(f"/store/{value.checksum}")
    if isinstance(value, list):
        return [landed(each) for each in value]
    if isinstance(value, dict):
        return {name: landed(each) for name, each in value.items()}
    return value

"""Facts as texts in rows, and back: calculations, records, events.

Each text is JSON that the database never looks into, so that numbers and strings come back exactly as they were.
The encoders are written out by hand, with what repeats kept ready: a general one costs more than the row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from weftwork.core.calculation import Calculation, Frame
from weftwork.core.checksum import Checksum, canonical, from_canonical
from weftwork.core.job import Event, Record
from weftwork.core.values import Ref, Type
from weftwork.errors import Invalid

_HALF = 1 << 63


def prefix(key: str) -> int:
    """The first 8 bytes of a key as a signed integer: what it is found by."""
    number = int(key[:16], 16)
    return number - (_HALF << 1) if number >= _HALF else number


class Types:
    """Texts of types, kept ready. By identity: hashing a type costs more than encoding it."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Type, str]] = {}

    def __call__(self, kind: Type) -> str:
        known = self._known.get(id(kind))
        if known is not None:
            return known[1]
        if len(self._known) > 10_000:
            self._known.clear()
        text = canonical(kind.document()).decode("utf-8")
        # The type is kept with its text, so that its identity is not given to another.
        self._known[id(kind)] = (kind, text)
        return text


_text_of_type = Types()


@lru_cache(maxsize=10_000)
def _quoted(text: str) -> str:
    return canonical(text).decode("utf-8")


def inputs_text(inputs: Iterable[tuple[str, Ref]]) -> str:
    """The ``inputs`` of a calculation's document, as canonical JSON."""
    return (
        "{"
        + ",".join(
            [
                f'{_quoted(name)}:{{"checksum":"{ref.checksum}","size":{ref.size},"type":{_text_of_type(ref.type)}}}'
                for name, ref in inputs
            ]
        )
        + "}"
    )


def frame_text(frame: Frame) -> str:
    """What calculations of one frame share of their document, as canonical JSON."""
    document = Calculation(frame, (), Checksum("0" * 64)).document()
    del document["inputs"]
    return canonical(document).decode("utf-8")


def calculation_bytes(frame: str, inputs: str) -> bytes:
    """The whole document of a calculation, as canonical JSON."""
    return canonical({**from_canonical(frame.encode()), "inputs": from_canonical(inputs.encode())})


def record_text(record: Record) -> str:
    outputs = ",".join(
        [f'[{_quoted(name)},{_text_of_type(ref.type)},"{ref.checksum}",{ref.size}]' for name, ref in record.outputs]
    )
    observed = json.dumps(dict(record.observed)) if record.observed else "{}"
    return f"[{float(record.created)!r},{'true' if record.reusable else 'false'},[{outputs}],{observed}]"


def record_of(key: Checksum, body: Sequence[Any]) -> Record:
    """The record of a parsed text."""
    created, reusable, outputs, observed = body
    return Record(
        key,
        tuple(
            [
                (name, Ref(_type(kind) if type(kind) is str else Type.of(kind), _checksum(checksum), size))
                for name, kind, checksum, size in outputs
            ]
        ),
        created,
        reusable,
        observed,
    )


@lru_cache(maxsize=10_000)
def _type(text: str) -> Type:
    return Type.of(text)


def _checksum(text: str) -> Checksum:
    # Written by this module from a Checksum: not asked again whether it is one.
    return str.__new__(Checksum, text)


def same_outputs(one: Record, other: Record) -> bool:
    """Whether two records say the same of a calculation: names, types and checksums of the outputs."""
    return sorted((name, ref.checksum, _text_of_type(ref.type)) for name, ref in one.outputs) == sorted(
        (name, ref.checksum, _text_of_type(ref.type)) for name, ref in other.outputs
    )


# An error's details may hold what JSON cannot say: its text is better than losing the event.
_encode = json.JSONEncoder(default=str).encode


def event_text(event: Event) -> str:
    data = _encode(dict(event.data)) if event.data else "{}"
    return f'["{event.kind}",{float(event.time)!r},{data}]'


def events_of(texts: str) -> list[Event]:
    """The events of a job's row."""
    return [Event(kind, time, data) for kind, time, data in json.loads(f"[{texts}]")]


def document_text(document: Mapping[str, Any]) -> str:
    """A document of a run, a step or a choice."""
    try:
        return json.dumps(dict(document), sort_keys=True)
    except (TypeError, ValueError) as error:
        raise Invalid(f"the ledger takes JSON documents, and cannot write {document!r}: {error}") from None


def parsed(text: str) -> Any:
    """What a text of this module says."""
    return json.loads(text)

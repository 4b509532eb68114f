"""Facts as texts in rows, and back: calculations, records, events.

Each text is JSON that the database never looks into, so that numbers and strings come back exactly as they were.
The encoders are written out by hand, with what repeats kept ready: a general one costs more than the row.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from json.encoder import encode_basestring_ascii
from math import isfinite
from typing import Any

from weftwork.core.calculation import Calculation, Frame
from weftwork.core.checksum import Checksum, canonical, from_canonical
from weftwork.core.job import Event, Record
from weftwork.core.values import Ref, Type
from weftwork.errors import Invalid


def prefix(key: str) -> int:
    """The first 31 bits of a key as an integer: what it is found by, the whole key being compared after.

    No more, since each byte of it is in an index that is written to all over: keys are random.
    """
    return int(key[:8], 16) >> 1


def prefixes(keys: Sequence[str]) -> list[int]:
    """:func:`prefix` of each."""
    return [
        number >> 1 for number in struct.unpack(f">{len(keys)}I", bytes.fromhex("".join([key[:8] for key in keys])))
    ]


_known: dict[tuple[str, int], tuple[Type, str, str]] = {}


def _texts(name: str, kind: Type) -> tuple[Type, str, str]:
    """A name and a type as JSON, kept ready. By identity: hashing a type costs more than encoding it."""
    known = _known.get((name, id(kind)))
    if known is None:
        if len(_known) > 10_000:
            _known.clear()
        # The type is kept with its text, so that its identity is not given to another.
        known = kind, canonical(name).decode("utf-8"), canonical(kind.document()).decode("utf-8")
        _known[name, id(kind)] = known
    return known


def inputs_text(inputs: Iterable[tuple[str, Ref]]) -> str:
    """The ``inputs`` of a calculation's document, as canonical JSON."""
    parts = []
    for name, ref in inputs:
        _, quoted, kind = _texts(name, ref.type)
        # Put together with +, since formatting a Checksum, which is not quite a str, costs more than all the rest.
        parts.append(quoted + ':{"checksum":"' + ref.checksum + f'","size":{ref.size},"type":{kind}}}')
    return "{" + ",".join(parts) + "}"


def frame_text(frame: Frame) -> str:
    """What calculations of one frame share of their document, as canonical JSON."""
    document = Calculation(frame, (), Checksum("0" * 64)).document()
    del document["inputs"]
    return canonical(document).decode("utf-8")


def calculation_bytes(frame: str, inputs: str) -> bytes:
    """The whole document of a calculation, as canonical JSON."""
    return canonical({**from_canonical(frame.encode()), "inputs": from_canonical(inputs.encode())})


def record_text(record: Record) -> str:
    parts = []
    for name, ref in record.outputs:
        _, quoted, kind = _texts(name, ref.type)
        parts.append(f'[{quoted},{kind},"' + ref.checksum + f'",{ref.size}]')
    reusable = "true" if record.reusable else "false"
    return f"[{_time_text(record.created)},{reusable},[{','.join(parts)}],{_object(record.observed)}]"


_last: tuple[float, str] = (0.0, "0.0")


def _time_text(time: float) -> str:
    """A time as JSON. What was made together shares the number itself, and writing one costs as much as the rest of the row."""
    global _last
    known, text = _last
    if known is not time:
        text = repr(float(time))
        _last = time, text
    return text


def record_of(key: Checksum, body: Sequence[Any]) -> Record:
    """The record of a parsed text."""
    created, reusable, outputs, observed = body
    refs = [(name, Ref(_type(kind), _checksum(Checksum, checksum), size)) for name, kind, checksum, size in outputs]
    return Record(key, tuple(refs), created, reusable, observed)


_types: dict[str, Type] = {}

# Written by this module from a Checksum: not asked again whether it is one.
_checksum = str.__new__


def _type(document: Any) -> Type:
    if type(document) is not str:
        return Type.of(document)
    known = _types.get(document)
    if known is None:
        if len(_types) > 10_000:
            _types.clear()
        known = _types[document] = Type.of(document)
    return known


def same_outputs(one: Record, other: Record) -> bool:
    """Whether two records say the same of a calculation: names, types and checksums of the outputs."""
    return sorted((name, ref.checksum, _texts(name, ref.type)[2]) for name, ref in one.outputs) == sorted(
        (name, ref.checksum, _texts(name, ref.type)[2]) for name, ref in other.outputs
    )


# An error's details may hold what JSON cannot say: its text is better than losing the event.
_encode = json.JSONEncoder(default=str).encode


def _object(data: Mapping[str, Any]) -> str:
    """A JSON object. One of plain numbers and texts, as most are, is written out here: the general encoder costs thrice."""
    parts = []
    for name, value in data.items():
        kind = type(value)
        if type(name) is not str:
            return _encode(dict(data))
        if kind is str:
            text = encode_basestring_ascii(value)
        elif kind is int or (kind is float and isfinite(value)):
            text = repr(value)
        else:
            return _encode(dict(data))
        parts.append(f"{encode_basestring_ascii(name)}:{text}")
    return "{" + ",".join(parts) + "}"


def event_text(event: Event) -> str:
    return f'["{event.kind}",{float(event.time)!r},{_object(event.data) if event.data else "{}"}]'


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

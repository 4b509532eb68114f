"""A calculation: a program with its inputs bound, in a resolved environment; its key, and what the key is made of.

``key = sha256(canonical(["weft.calculation.v1", program, environment, inputs, outputs]))``. Equal
calculations have equal keys. Names, texts for people and placement are not in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import repeat
from typing import Any

from weftwork.core.checksum import Checksum, canonical
from weftwork.core.direct import direct
from weftwork.core.values import Ref, Type

TAG = "weft.calculation.v1"

Inputs = Sequence[tuple[str, Ref]]
"""Names and references, sorted by name."""

Parts = dict[str, Any]
"""``{"program": …, "environment": …, "inputs": {name: [type, checksum]}, "outputs": {name: …}}``"""


@dataclass(frozen=True, slots=True)
class Frame:
    """What many calculations of one module share: all of a key but the inputs' checksums.

    ``program`` is the identity of what runs (see :mod:`weftwork.core.module`), ``environment`` the resolved one,
    ``outputs`` the declared outputs as they count; ``module`` is the checksum of the module's document, which says
    how to run it and does not count. ``name`` is for people.
    """

    module: Checksum
    name: str
    program: dict[str, Any]
    environment: dict[str, Any]
    outputs: dict[str, Any]
    _templates: dict[tuple[Any, ...], _Template] = field(default_factory=dict, compare=False, repr=False)

    def key(self, inputs: Inputs) -> Checksum:
        """The key with these inputs, which are sorted by name. Made from a template: equal to :func:`key_of` of the parts."""
        return self.keys([name for name, _ in inputs], [[ref] for _, ref in inputs], 1)[0]

    def keys(self, names: Sequence[str], columns: Sequence[Sequence[Ref]], count: int) -> list[Checksum]:
        """The keys of ``count`` calls, whose inputs are given by columns, sorted by name."""
        kinds = [column[0].type for column in columns]
        # By identity: types of one map are the same objects, and comparing what they say costs more than the key.
        if not all(ref.type is kind for column, kind in zip(columns, kinds, strict=True) for ref in column):
            return [self.keys(names, [[ref] for ref in row], 1)[0] for row in zip(*columns, strict=True)]
        template = self._template_of(tuple(zip(names, kinds, strict=True)))
        pieces: list[Iterable[str]] = []
        for column, after in zip(columns, template.after, strict=True):
            pieces += [ref.checksum for ref in column], repeat(after)
        texts = map("".join, zip(*pieces, strict=False)) if pieces else repeat("", count)
        new, begun, keys = str.__new__, template.begun.copy, []
        for text in texts:
            hasher = begun()
            hasher.update(text.encode("utf-8"))
            keys.append(new(Checksum, hasher.hexdigest()))
        return keys

    def _template_of(self, inputs: Sequence[tuple[str, Type]]) -> _Template:
        shape = tuple([(name, _shape(kind)) for name, kind in inputs])
        known = self._templates.get(shape)
        if known is None:
            known = self._templates[shape] = self._template(inputs)
        return known

    def _template(self, inputs: Sequence[tuple[str, Type]]) -> _Template:
        """Put together, never searched for checksums: any text may look like one."""
        pieces = [canonical([TAG, self.program, self.environment])[:-1] + b",{"]
        for index, (name, kind) in enumerate(inputs):
            pieces[-1] += b"," * (index > 0) + canonical(name) + b":[" + canonical(kind.document()) + b',"'
            pieces.append(b'"]')
        pieces[-1] += b"}," + canonical(self.outputs) + b"]"
        return _Template(hashlib.sha256(pieces[0]), tuple(piece.decode("utf-8") for piece in pieces[1:]))


@dataclass(frozen=True, slots=True)
class _Template:
    """The document of a key but for its inputs' checksums: a hash that was begun with what comes before the first, and
    the texts after each."""

    begun: Any
    after: tuple[str, ...]


def _shape(kind: Type) -> Any:
    """What tells two types apart in a key: their text, or for what a text cannot say their document."""
    document = kind.document()
    return document if isinstance(document, str) else canonical(document)


@direct
@dataclass(frozen=True, slots=True)
class Calculation:
    """One calculation: a frame and its inputs, sorted by name; ``key`` is worked out once."""

    frame: Frame
    inputs: tuple[tuple[str, Ref], ...]
    key: Checksum

    @staticmethod
    def of(frame: Frame, inputs: Mapping[str, Ref]) -> Calculation:
        ordered = tuple(sorted(inputs.items()))
        return Calculation(frame, ordered, frame.key(ordered))

    @staticmethod
    def of_columns(frame: Frame, columns: Mapping[str, Sequence[Ref]], count: int) -> list[Calculation]:
        """``count`` calculations, whose inputs are given input by input."""
        names = sorted(columns)
        ordered = [columns[name] for name in names]
        rows = zip(*[zip(repeat(name), column) for name, column in zip(names, ordered, strict=True)], strict=True)
        inputs: Iterable[Any] = rows if names else repeat((), count)
        return list(map(Calculation, repeat(frame), inputs, frame.keys(names, ordered, count)))

    @property
    def parts(self) -> Parts:
        """What the key is made of, as a JSON document."""
        return {
            "program": self.frame.program,
            "environment": self.frame.environment,
            "inputs": {name: [ref.type.document(), str(ref.checksum)] for name, ref in self.inputs},
            "outputs": self.frame.outputs,
        }

    def document(self) -> dict[str, Any]:
        """All that is needed to run it again or explain it."""
        return {
            "module": str(self.frame.module),
            "name": self.frame.name,
            "program": self.frame.program,
            "environment": self.frame.environment,
            "outputs": self.frame.outputs,
            "inputs": {name: ref.document() for name, ref in self.inputs},
        }

    @staticmethod
    def from_document(document: Mapping[str, Any]) -> Calculation:
        frame = _frame(
            document["module"],
            document["name"],
            *(canonical(document[part]) for part in ("program", "environment", "outputs")),
        )
        return Calculation.of(frame, {name: Ref.of(each) for name, each in document["inputs"].items()})


@lru_cache(maxsize=256)
def _frame(module: str, name: str, program: bytes, environment: bytes, outputs: bytes) -> Frame:
    from weftwork.core.checksum import from_canonical

    return Frame(Checksum(module), name, from_canonical(program), from_canonical(environment), from_canonical(outputs))


def key_of(parts: Parts) -> Checksum:
    """The key of the parts: the definition that :meth:`Frame.key` must equal."""
    return Checksum.of(canonical([TAG, parts["program"], parts["environment"], parts["inputs"], parts["outputs"]]))


@dataclass(frozen=True, slots=True)
class Explanation:
    """A key with what it is made of, and what was noticed on the way (``warnings``: clock, random, environment, open)."""

    key: str
    parts: Parts
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"key {self.key}"]
        for part in ("program", "environment", "inputs", "outputs"):
            lines.append(f"  {part}")
            lines.extend(f"    {name}: {_plain(value)}" for name, value in sorted(self.parts[part].items()))
        lines.extend(f"  warning: {warning}" for warning in self.warnings)
        return "\n".join(lines)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else canonical(value).decode("utf-8")

"""A calculation: a program with its inputs bound, in a resolved environment; its key, and what the key is made of.

``key = sha256(canonical(["weft.calculation.v1", program, environment, inputs, outputs]))``. Equal
calculations have equal keys. Names, texts for people and placement are not in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import repeat
from operator import is_
from typing import Any

from weftwork.core.checksum import Checksum, canonical
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
        return self.keys([inputs])[0]

    def keys(self, many: Iterable[Inputs]) -> list[Checksum]:
        """The keys of many calls."""
        keys: list[Checksum] = []
        new, template = str.__new__, None
        for inputs in many:
            if template is None or not template.fits(inputs):
                template = self._template_of(inputs)
            hasher = template.begun.copy()
            texts = [ref.checksum + after for (_, ref), after in zip(inputs, template.after, strict=True)]
            hasher.update("".join(texts).encode("utf-8"))
            keys.append(new(Checksum, hasher.hexdigest()))
        return keys

    def _template_of(self, inputs: Inputs) -> _Template:
        shape = tuple([(name, _shape(ref.type)) for name, ref in inputs])
        known = self._templates.get(shape)
        if known is None:
            known = self._templates[shape] = self._template(inputs)
        # With these very types, by which the next inputs are compared.
        return replace(known, names=[name for name, _ in inputs], types=[ref.type for _, ref in inputs])

    def _template(self, inputs: Inputs) -> _Template:
        """Put together, never searched for checksums: any text may look like one."""
        pieces = [canonical([TAG, self.program, self.environment])[:-1] + b",{"]
        for index, (name, ref) in enumerate(inputs):
            pieces[-1] += b"," * (index > 0) + canonical(name) + b":[" + canonical(ref.type.document()) + b',"'
            pieces.append(b'"]')
        pieces[-1] += b"}," + canonical(self.outputs) + b"]"
        return _Template(hashlib.sha256(pieces[0]), tuple(piece.decode("utf-8") for piece in pieces[1:]))


@dataclass(frozen=True, slots=True)
class _Template:
    """The document of a key but for its inputs' checksums: a hash that was begun with what comes before the first, and
    the texts after each. It is that of inputs with these names and types."""

    begun: Any
    after: tuple[str, ...]
    names: list[str] = field(default_factory=list)
    types: list[Type] = field(default_factory=list)

    def fits(self, inputs: Inputs) -> bool:
        """Whether it is known to be that of these inputs. Types are compared by identity: in one map they mostly are the
        same objects, and comparing what they say costs more than the key."""
        return self.names == [name for name, _ in inputs] and all(map(is_, self.types, [ref.type for _, ref in inputs]))


def _shape(kind: Type) -> Any:
    """What tells two types apart in a key: their text, or for what a text cannot say their document."""
    document = kind.document()
    return document if isinstance(document, str) else canonical(document)


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
        rows = zip(*[columns[name] for name in names], strict=True) if names else repeat((), count)
        inputs = [tuple(zip(names, row, strict=True)) for row in rows]
        return list(map(Calculation, repeat(frame), inputs, frame.keys(inputs)))

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

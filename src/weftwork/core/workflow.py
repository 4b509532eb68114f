"""The workflow: a document of inputs, steps and outputs, named by its checksum, so that a share is a checksum.

It says what is calculated from what; :mod:`weftwork.core.flow` says in which order. Modules are in it by checksum.
Names and descriptions of steps belong to the document and not to the key of any calculation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from weftwork.core import expression as expressions
from weftwork.core.checksum import Checksum, canonical, shorten
from weftwork.core.expression import ITEM, KEY, Constant, Expression, InputOf, Item, Key, ListOf, Literal, OutputOf
from weftwork.core.module import Input, _input, _input_document
from weftwork.core.step import Candidate, ForEach, Overrides, Race, Step
from weftwork.errors import Invalid

__all__ = [
    "ITEM",
    "KEY",
    "Candidate",
    "Constant",
    "Expression",
    "ForEach",
    "InputOf",
    "Item",
    "Key",
    "ListOf",
    "Literal",
    "OutputOf",
    "Overrides",
    "Race",
    "Step",
    "Workflow",
]

VERSION = "workflow.v1"

_TOGETHER = 256
"""Steps that are encoded in one go."""


@dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow. Steps may stand in any order; ``outputs`` says where each of its results comes from."""

    name: str
    inputs: tuple[Input, ...] = ()
    steps: tuple[Step, ...] = ()
    outputs: Mapping[str, Expression] = field(default_factory=dict)
    version: str = ""
    description: str = ""

    def step(self, name: str) -> Step:
        """The step of that name."""
        for each in self.steps:
            if each.name == name:
                return each
        raise Invalid(f"workflow {self.name} has no step {name!r}")

    def modules(self) -> frozenset[Checksum]:
        """The modules that its steps use."""
        plain = {step.module for step in self.steps if step.module is not None}
        races = [step.race for step in self.steps if step.race is not None]
        return frozenset(plain.union(each.module for race in races for each in race.candidates))

    def document(self) -> dict[str, Any]:
        """The workflow as a JSON document; :attr:`checksum` names it."""
        steps = [each.document() for each in self.steps]
        return {"weft": VERSION, "version": self.version, **self._without_steps(), "steps": steps}

    def encoded(self) -> bytes:
        """The canonical encoding of :meth:`document`, put together some steps at a time: the whole of a large one is never
        there as objects. The workflow is one that :func:`weftwork.core.checks.validate` found right."""
        parts = [canonical(self._without_steps())[:-1], b',"steps":[']
        for start in range(0, len(self.steps), _TOGETHER):
            text = ",".join([each.encoded() for each in self.steps[start : start + _TOGETHER]])
            parts += [b"," if start else b"", text.encode("utf-8")]
        tail = canonical({"version": self.version, "weft": VERSION})
        return b"".join([*parts, b"],", tail[1:]])

    def _without_steps(self) -> dict[str, Any]:
        """What comes before the steps, in the order of the keys."""
        return {
            "name": self.name,
            "description": self.description,
            "inputs": [_input_document(each) for each in self.inputs],
            "outputs": {name: expressions.document(each) for name, each in self.outputs.items()},
        }

    @property
    def checksum(self) -> Checksum:
        return Checksum.of(self.encoded())

    @staticmethod
    def of(document: Mapping[str, Any]) -> Workflow:
        """The workflow that :meth:`document` wrote. Raises :class:`~weftwork.errors.Invalid` for another kind of document."""
        if document.get("weft") != VERSION:
            raise Invalid(f"not a workflow's document: `weft` is {shorten(document.get('weft'))}, not {VERSION!r}")
        return Workflow(
            name=document["name"],
            version=document.get("version", ""),
            description=document.get("description", ""),
            inputs=tuple(_input(each) for each in document["inputs"]),
            steps=tuple(Step.of(each) for each in document["steps"]),
            outputs={name: expressions.of(each) for name, each in document["outputs"].items()},
        )

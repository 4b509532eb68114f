"""What a workflow file consists of, once read: expressions and conditions of the core, modules by reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from weftwork.core.condition import Condition
from weftwork.core.expression import Expression
from weftwork.core.module import Input
from weftwork.core.step import NOTHING, Overrides
from weftwork.formats.document import Document
from weftwork.formats.nodes import Where
from weftwork.formats.references import ModuleReference


class CandidateFile(NamedTuple):
    """What a step runs. ``untyped`` are the inputs of an inline command whose type is that of what they refer to."""

    name: str
    module: ModuleReference
    inputs: Mapping[str, Expression]
    path: Where
    placement: Overrides = NOTHING
    untyped: frozenset[str] = frozenset()


class StepFile(NamedTuple):
    """A step as its document says it; a step without a race has one candidate, whose name is empty."""

    name: str
    candidates: tuple[CandidateFile, ...]
    race: bool
    path: Where
    inputs: Mapping[str, Expression] = MappingProxyType({})
    when: Condition | None = None
    accept: Condition | None = None
    for_each: tuple[str, Expression] | None = None
    placement: Overrides = NOTHING
    description: str = ""


@dataclass(frozen=True, slots=True)
class WorkflowParts:
    """A workflow as its document says it."""

    document: Document
    name: str
    inputs: tuple[Input, ...]
    steps: tuple[StepFile, ...]
    outputs: Mapping[str, Expression]
    version: str = ""
    description: str = ""

"""What a flow is told (events) and what it tells its driver to do (instructions). Plain values, no behaviour.

A task is named by a text: ``fit``, ``fit[3]`` (item 3 of a map), ``fit{lm}`` (a candidate of a race), ``fit[3]{lm}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from typing import Literal as OneOf

from weftwork.core.checksum import Checksum
from weftwork.core.expression import Literal
from weftwork.core.step import Overrides
from weftwork.core.values import Ref

TaskId: TypeAlias = str
Binding: TypeAlias = "Ref | Literal | tuple[Binding, ...]"
"""A value for an input: by name, a plain JSON value, or a list of such that nobody has encoded yet."""

Ending = OneOf["succeeded", "failed", "skipped", "cancelled"]
ENDINGS: frozenset[str] = frozenset({"succeeded", "failed", "skipped", "cancelled"})


@dataclass(frozen=True, slots=True)
class Ended:
    """A submitted task has ended. ``scalars`` are the values of the outputs that :meth:`Flow.needs_scalars` names.

    With the name of a step that is being expanded, ``failed`` says that its items cannot be had.
    """

    task: TaskId
    state: OneOf["succeeded", "failed", "cancelled"]
    outputs: Mapping[str, Binding] = field(default_factory=dict)
    scalars: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True, slots=True)
class Items:
    """The answer to :class:`Expand`: (name or index, value) of each item, in the collection's order."""

    step: str
    items: tuple[tuple[str | int, Binding], ...]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The answer to :class:`LookUp` (``None``: no choice is recorded) and :class:`Choose` (the choice that stands)."""

    task: TaskId
    candidate: str | None


@dataclass(frozen=True, slots=True)
class CancelAll:
    """Somebody withdrew the run."""

    by: str


Event = Ended | Items | Chosen | CancelAll


@dataclass(frozen=True, slots=True)
class Submit:
    """Get the result of a module with these inputs; answered by :class:`Ended`. An input that is not there has its default."""

    task: TaskId
    step: str
    module: Checksum
    inputs: Mapping[str, Binding]
    placement: Overrides


@dataclass(frozen=True, slots=True)
class Expand:
    """Tell the items of a list, collection or directory; answered by :class:`Items`."""

    step: str
    binding: Binding


@dataclass(frozen=True, slots=True)
class LookUp:
    """Look for a recorded choice before a race; answered by :class:`Chosen`. Nothing is to be submitted yet.

    The choice is named by the keys of the ``candidates`` and by ``accept``, in which the values of inputs stand and
    the step is called ``candidate``: the names of step and inputs do not count.
    """

    task: TaskId
    step: str
    candidates: Mapping[str, Submit]
    accept: str | None


@dataclass(frozen=True, slots=True)
class Choose:
    """Record the choice of a race; answered by :class:`Chosen`. The flow acts on it only then."""

    task: TaskId
    step: str
    candidate: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """Withdraw a submitted task; it is answered by :class:`Ended` as ever."""

    task: TaskId
    by: str


@dataclass(frozen=True, slots=True)
class Settle:
    """A step has ended in a way that is not just the end of its one task: skipped, cancelled before it began, a map, a race."""

    step: str
    state: Ending
    reason: str


@dataclass(frozen=True, slots=True)
class StepResult:
    """How a step ended. ``why`` is empty when it succeeded; ``outputs`` of a mapped step are tuples."""

    state: Ending
    why: str = ""
    outputs: Mapping[str, Binding] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    ``failed`` when an output of the workflow cannot be had because of a failure, or when a step failed and no step that
    succeeded has a condition that asks how it ended. ``outputs`` are those that there are.
    """

    state: OneOf["succeeded", "failed", "cancelled"]
    why: str
    steps: Mapping[str, StepResult]
    outputs: Mapping[str, Binding]


@dataclass(frozen=True, slots=True)
class Finish:
    """Everything has ended. The last instruction, told once."""

    outcome: Outcome


Instruction = Submit | Expand | LookUp | Choose | Cancel | Settle | Finish

"""What an owner writes into the ledger in one go, and what each part of it is answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Self

from weftwork.core.job import Event, Record
from weftwork.core.placement import Resources
from weftwork.errors import WeftError
from weftwork.ports.ledger import Claim, Claimed, Ending, StepRow


@dataclass(frozen=True, slots=True)
class Wants:
    """Slots of a host that holders ask for: ``wants`` are their names, each with what it takes of ``capacity``.

    ``running`` says of a holder whether it goes on although its owner is dead."""

    host: str
    capacity: Resources
    wants: Sequence[tuple[str, Resources]]
    running: Callable[[str], bool] = lambda holder: False


@dataclass(frozen=True, slots=True)
class Batch:
    """Parts of one transaction, in the order of cause and effect: ``events``, ``endings``, slots that are ``freed`` and those
    that are wanted, ``claims``, ``steps``; and last claims of what records ``answered``, for which nobody waits."""

    events: Sequence[tuple[str, int, Event]] = ()
    endings: Sequence[Ending] = ()
    freed: Sequence[str] = ()
    slots: Wants | None = None
    claims: Sequence[Claim] = ()
    steps: Sequence[StepRow] = ()
    answered: Sequence[Claim] = ()

    def __bool__(self) -> bool:
        return any(getattr(self, each.name) for each in fields(self))


@dataclass(slots=True)
class Answers:
    """What became of a :class:`Batch`, part by part: as the ledger's method for that part alone answers. A part that is
    in ``errors``, by its name in the batch, has written nothing; of ``steps`` those of the runs that the owner has are written."""

    events: set[str] = field(default_factory=set)
    endings: dict[str, Record | None] = field(default_factory=dict)
    slots: set[str] = field(default_factory=set)
    claims: list[Claimed] = field(default_factory=list)
    answered: list[Claimed] = field(default_factory=list)
    errors: dict[str, WeftError] = field(default_factory=dict)

    def good(self) -> Self:
        """Itself; raises what a part failed with."""
        for error in self.errors.values():
            raise error
        return self

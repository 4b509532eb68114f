"""Which calculations to run again, and in which order, so that lost bytes are there again. Reads facts, runs nothing.

A buffer may have been given by several calculations, a calculation may need what is lost itself, and one that hands its
input through gives what it needs. So all that could help is looked at first, and then taken from the bottom: a calculation is
of use when all that it needs is there, or is made by others that are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from weftwork.core.calculation import Calculation
from weftwork.core.checksum import Checksum
from weftwork.core.module import Module
from weftwork.core.placement import Placement
from weftwork.engine import again
from weftwork.engine.losses import Loss, losses
from weftwork.errors import Conflict, MissingInputs, WeftError

if TYPE_CHECKING:
    from weftwork.engine.engine import Engine


@dataclass(slots=True, eq=False)
class Maker:
    """A calculation that gave what is lost. ``needs`` is what is lost of its inputs; ``wanted`` what it is run for."""

    calculation: Calculation
    module: Module
    placement: Placement
    needs: tuple[Loss, ...]
    wanted: set[Checksum] = field(default_factory=set)

    def __str__(self) -> str:
        return f"{self.calculation.frame.name} (key {self.calculation.key.short})"


def plan(engine: Engine, lost: Sequence[Loss]) -> list[list[Maker]]:
    """What to run for it: the members of each list need nothing but what is there, or what those before them made.

    On a thread. Raises :class:`~weftwork.errors.MissingInputs` for what nothing could make again, and why;
    :class:`~weftwork.errors.Conflict` where that was tried before and gave something else.
    """
    search = _Search(engine)
    search.look(lost)
    search.settle()
    return search.levels(lost)


def remakable(engine: Engine, checksums: AbstractSet[Checksum]) -> set[Checksum]:
    """Those of some buffers that could be made again if all of them were gone. On a thread."""
    search = _Search(engine, checksums)
    search.look(Loss(each) for each in checksums)
    search.settle()
    return search.made & checksums


class _Search:
    def __init__(self, engine: Engine, without: AbstractSet[Checksum] = frozenset()) -> None:
        self._engine = engine
        self._without = without
        self._ready = again.Ready(engine.store, engine.frame, engine.placed)
        self._sources: dict[Checksum, list[tuple[Checksum, Checksum]]] = {}
        self._makers: dict[Checksum, Maker | WeftError] = {}
        self._chosen: dict[Checksum, tuple[Maker, Checksum]] = {}
        self._level: dict[Checksum, int] = {}

    def look(self, lost: Iterable[Loss]) -> None:
        """All calculations that could help, with what they need themselves, at any depth."""
        left = list(lost)
        while left:
            fresh = {each.checksum: each for each in left if each.checksum not in self._sources}
            left = []
            # Itself first: of what holds it, the nearest.
            ways = {each: (each, *reversed(loss.holders)) for each, loss in fresh.items()}
            made = self._engine.ledger.makers(list(dict.fromkeys(one for way in ways.values() for one in way)))
            for checksum, way in ways.items():
                pairs = [(key, source) for source in way for key in made.get(source, ())]
                self._sources[checksum] = pairs
                for key, _ in pairs:
                    if key not in self._makers:
                        found = self._makers[key] = self._maker(key)
                        if isinstance(found, Maker):
                            left += found.needs

    def _maker(self, key: Checksum) -> Maker | WeftError:
        """The calculation of a key, or why it cannot be run again."""
        engine = self._engine
        try:
            found = again.recorded(engine.ledger, engine.store, key)
            placement = self._ready.placement(found)
        except WeftError as error:
            return error
        inputs = [ref for _, ref in found.calculation.inputs]
        return Maker(
            found.calculation,
            found.module,
            placement,
            tuple(losses(engine.store, inputs, read=False, without=self._without)),
        )

    @property
    def made(self) -> set[Checksum]:
        """What something chosen makes."""
        return set(self._chosen)

    def settle(self) -> None:
        """Choose for each lost buffer the calculation that can make it with the fewest others before it."""
        gives: dict[Checksum, list[tuple[Checksum, Checksum]]] = {}
        for checksum, pairs in self._sources.items():
            for key, source in pairs:
                gives.setdefault(key, []).append((checksum, source))
        users: dict[Checksum, list[Maker]] = {}
        waits: dict[Checksum, set[Checksum]] = {}
        ready: deque[Maker] = deque()
        standing = self._engine.ledger.records(list(gives))
        for key in gives:
            maker = self._makers[key]
            if not isinstance(maker, Maker):
                continue
            waits[key] = {each.checksum for each in maker.needs}
            for checksum in waits[key]:
                users.setdefault(checksum, []).append(maker)
            if not waits[key]:
                ready.append(maker)
        while ready:
            maker = ready.popleft()
            key = maker.calculation.key
            self._level[key] = 1 + max((self._level_of(each.checksum) for each in maker.needs), default=-1)
            record = standing.get(key)
            answers = None if record is None else {ref.checksum for _, ref in record.outputs}
            for checksum, source in gives[key]:
                if checksum in self._chosen:
                    continue
                if answers is not None and source not in answers:
                    # It was made again before, and gave something else.
                    continue
                self._chosen[checksum] = maker, source
                for user in users.get(checksum, ()):
                    left = waits[user.calculation.key]
                    left.discard(checksum)
                    if not left:
                        ready.append(user)

    def _level_of(self, checksum: Checksum) -> int:
        return self._level[self._chosen[checksum][0].calculation.key]

    def levels(self, lost: Iterable[Loss]) -> list[list[Maker]]:
        """The chosen ones that are needed, from the bottom."""
        needed: dict[Checksum, Maker] = {}
        left = [each.checksum for each in lost]
        while left:
            checksum = left.pop()
            if checksum not in self._chosen:
                raise self._impossible(checksum)
            maker, source = self._chosen[checksum]
            maker.wanted.add(source)
            if maker.calculation.key not in needed:
                needed[maker.calculation.key] = maker
                left += [each.checksum for each in maker.needs]
        levels: dict[int, list[Maker]] = {}
        for key, maker in needed.items():
            levels.setdefault(self._level[key], []).append(maker)
        return [levels[number] for number in sorted(levels)]

    def _impossible(self, checksum: Checksum) -> WeftError:
        """Why a buffer cannot be made again: followed down to the one that nothing gives."""
        way, seen = f"{checksum.short} cannot be made again", {checksum}
        while True:
            makers = [self._makers[key] for key, _ in self._sources[checksum]]
            below = [
                (maker, loss.checksum)
                for maker in makers
                if isinstance(maker, Maker)
                for loss in maker.needs
                if loss.checksum not in self._chosen and loss.checksum not in seen
            ]
            if not below:
                break
            maker, checksum = below[0]
            seen.add(checksum)
            way += f": {maker} needs {checksum.short}"
        told = {"checksums": [str(checksum)]}
        if not makers:
            return MissingInputs(
                f"{way}: no reusable result in this home gave it; where it was an input, give it once more: submit with "
                "the same file or value",
                **told,
            )
        errors = [each for each in makers if isinstance(each, WeftError)]
        if errors:
            return MissingInputs(f"{way}: {errors[0]}", **told)
        first = next(each for each in makers if isinstance(each, Maker))
        return Conflict(
            f"{way}: {first}, which gave it, is not deterministic, and gave something else when it was made again. What "
            "follows from the new result is calculated when it is asked for: run again",
            again=str(first.calculation.key),
            **told,
        )

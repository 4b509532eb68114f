"""A calculation that was recorded, made ready to be run again from its key alone: its module from the store, its
environment as the site resolves it now.

Owns what must still be there for that, and the words for what is not. Who runs it again, and why, is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from weftwork.core import codecs
from weftwork.core.bundle import blobs
from weftwork.core.calculation import Calculation, Frame
from weftwork.core.checksum import Checksum, from_canonical
from weftwork.core.module import Function, Module
from weftwork.core.placement import Placement
from weftwork.core.step import Overrides
from weftwork.core.values import Ref
from weftwork.engine.jobs import Request
from weftwork.engine.why import entries_changed
from weftwork.errors import Corrupt, EnvironmentDiffers, MissingInputs, NotFound, Refused, WeftError
from weftwork.ports import Ledger, Store

if TYPE_CHECKING:
    from weftwork.engine.engine import Engine


FrameOf = Callable[[Module, Placement], Frame]
"""The frame of a module where a placement puts it, in the environment that is there now."""

PlacedOf = Callable[[Module, Placement], Placement]
"""A placement of a module with its site."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A calculation with the module that runs it."""

    calculation: Calculation
    module: Module

    def __str__(self) -> str:
        return f"{self.calculation.frame.name} (key {self.calculation.key.short})"


def recorded(ledger: Ledger, store: Store, key: Checksum) -> Recorded:
    """The calculation of a key, with its module.

    Raises :class:`~weftwork.errors.NotFound` for a key that was never asked for here, and
    :class:`~weftwork.errors.MissingInputs` where its module's document is gone from the store.
    """
    document = ledger.calculation(key)
    if document is None:
        raise NotFound(f"no calculation with the key {key.short} is known in this home")
    calculation = Calculation.from_document(from_canonical(document))
    try:
        module = Module.of(from_canonical(store.get(calculation.frame.module)))
    except (NotFound, Corrupt) as error:
        frame = calculation.frame
        raise MissingInputs(
            f"{frame.name} (key {key.short}) cannot be run again: the document of its module, {frame.module.short}, is "
            f"{'damaged' if isinstance(error, Corrupt) else 'gone from the store'}; submit the module once more with its inputs",
            checksums=[str(frame.module)],
        ) from error
    return Recorded(calculation, module)


def missing_inputs(store: Store, found: Recorded) -> dict[str, list[Checksum]]:
    """The bytes that are gone, by input: what made them could be run again first. Inputs that are whole are left out."""
    held = {name: list(_absent(store, ref)) for name, ref in found.calculation.inputs}
    return {name: gone for name, gone in held.items() if gone}


def missing_program(store: Store, found: Recorded) -> list[Checksum]:
    """The parts of the program that are gone: a function's bundle and what it captured, a command's helper files."""
    program = found.module.program
    if not isinstance(program, Function):
        return sorted(store.missing([checksum for _, _, checksum in program.files]))
    try:
        bundle = from_canonical(store.get(program.bundle))
    except (NotFound, Corrupt):
        return [program.bundle]
    return sorted(store.missing(blobs(bundle)))


def request(engine: Engine, found: Recorded, said: Overrides) -> Request:
    """What runs the calculation again, whether or not a result is known; ``said`` may name a site and resources.

    Raises :class:`~weftwork.errors.MissingInputs` where bytes that it needs are gone, naming them;
    :class:`~weftwork.errors.EnvironmentDiffers` where the site would give it another environment than its key has, with
    what it was then and is now; :class:`~weftwork.errors.Refused` where the site does not take it.
    """
    _check_there(engine.store, found)
    placement = engine.placed(found.module, said.placement(found.module.resources, Placement(cache=False)))
    now = _frame_now(engine.frame, found, placement)
    _check_frame(found, now)
    # With the frame of now: it names the module as it is declared now.
    return Request(Calculation.of(now, dict(found.calculation.inputs)), found.module, placement)


def _absent(store: Store, ref: Ref) -> Iterator[Checksum]:
    """What of a value is gone, at any depth."""
    if store.missing([ref.checksum]):
        yield ref.checksum
    elif codecs.has_links(ref.type):
        for _, held in codecs.items(ref.type, store.get(ref.checksum)):
            yield from _absent(store, held)


def _check_there(store: Store, found: Recorded) -> None:
    program = missing_program(store, found)
    if program:
        raise _program_gone(found, program)
    inputs = missing_inputs(store, found)
    if inputs:
        told = "; ".join(f"input {name!r} ({_named(gone)})" for name, gone in inputs.items())
        raise MissingInputs(
            f"{found} cannot be run again: bytes of its inputs are gone from the store: {told}; run again what made "
            "them, or give them again",
            checksums=[str(each) for gone in inputs.values() for each in gone],
        )


def _program_gone(found: Recorded, program: list[Checksum]) -> MissingInputs:
    return MissingInputs(
        f"{found} cannot be run again: {_named(program)} of its program are gone from the store; "
        "submit the module once more with its inputs",
        checksums=list(map(str, program)),
    )


def _named(checksums: list[Checksum]) -> str:
    shown = ", ".join(each.short for each in checksums[:3])
    return f"{shown} and {len(checksums) - 3} more" if len(checksums) > 3 else shown


def _frame_now(frame: FrameOf, found: Recorded, placement: Placement) -> Frame:
    try:
        return frame(found.module, placement)
    except (NotFound, Refused) as error:
        # A package or program that is gone is an environment that differs; a job too large for the site is not.
        for part, name in (("packages", error.details.get("package")), ("tools", error.details.get("tool"))):
            if name is not None:
                then = found.calculation.frame.environment.get(part, {}).get(name, "there")
                raise EnvironmentDiffers(
                    f"{found} cannot be run again as it was: {name} was {then} when its key was made, and is not there "
                    f"now: {error}"
                ) from error
        raise


def _check_frame(found: Recorded, now: Frame) -> None:
    then = found.calculation.frame
    if now.key(found.calculation.inputs) == found.calculation.key:
        return
    changes = [
        *entries_changed("environment", then.environment, now.environment),
        *entries_changed("program", then.program, now.program),
        *entries_changed("output", then.outputs, now.outputs),
    ]
    raise EnvironmentDiffers(
        f"{found} cannot be run again as it was; then → now: {'; '.join(each.strip() for each in changes)}: "
        "go back to what it was, or submit the module anew, which makes another key"
    )


class Ready:
    """Whether calculations could be run again now, as far as their programs and environments go. Asks once a module.

    ``placed`` chooses the site of those whose ``frame`` depends on it.
    """

    def __init__(self, store: Store, frame: FrameOf, placed: PlacedOf = lambda module, placement: placement) -> None:
        self._store = store
        self._frame = frame
        self._placed = placed
        self._known: dict[int, tuple[Frame, Placement | WeftError]] = {}

    def placement(self, found: Recorded) -> Placement:
        """Where it would run, with the resources of its module. Raises as :func:`request` does, inputs apart."""
        frame = found.calculation.frame
        known = self._known.get(id(frame))
        if known is None:
            try:
                answer: Placement | WeftError = self._placement(found)
            except WeftError as error:
                answer = error
            # The frame is kept with its answer, so that its identity is not given to another.
            known = self._known[id(frame)] = frame, answer
        if isinstance(known[1], WeftError):
            raise known[1]
        return known[1]

    def _placement(self, found: Recorded) -> Placement:
        if not found.module.deterministic:
            raise Refused(f"{found} says of itself that it is not deterministic")
        program = missing_program(self._store, found)
        if program:
            raise _program_gone(found, program)
        placement = self._placed(found.module, Overrides().placement(found.module.resources, Placement()))
        _check_frame(found, _frame_now(self._frame, found, placement))
        return placement

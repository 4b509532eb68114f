"""A race: candidates run at once, the first acceptable one is chosen, and the choice is recorded before it is acted on.

Sans-IO, one object for each race (of a step, or of an item of a map); :mod:`weftwork.core.flow` gives it its events.
Phases: *looking* for a recorded choice; *following* a choice, its one candidate running; *racing*; *choosing*, until
the record of the choice is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from weftwork.core.condition import Condition, evaluate, replaced, why
from weftwork.core.expression import InputOf, Literal, OutputOf
from weftwork.core.messages import Cancel, Choose, Ended, Instruction, LookUp, StepResult, Submit


@dataclass(slots=True)
class RaceOf:
    """The race of one task. ``result`` is there once it is over; candidates that lost may still be ``live`` then."""

    task: str
    candidates: Mapping[str, Submit]
    accept: Condition | None
    inputs: Mapping[str, Any]
    result: StepResult | None = None
    scalars: Mapping[str, Any] = field(default_factory=dict)
    phase: str = "looking"
    live: dict[str, None] = field(default_factory=dict)
    _submitted: set[str] = field(default_factory=set)
    _out: dict[str, str] = field(default_factory=dict)
    _good: dict[str, Ended] = field(default_factory=dict)
    _withdrawn: set[str] = field(default_factory=set)
    _followed: str = ""
    _own: str = ""
    _stopped: str = ""

    @property
    def waiting(self) -> bool:
        """Whether an answer about the record of the choice is due."""
        return self.result is None and self.phase in ("looking", "choosing")

    def start(self) -> Iterator[Instruction]:
        yield LookUp(self.task, self._step, self.candidates, self._accept_text())

    def chosen(self, candidate: str | None) -> Iterator[Instruction]:
        """The recorded choice is known, or ours is recorded."""
        if self.result is not None:
            return
        if self.phase == "looking":
            if candidate in self.candidates:
                yield from self._follow(str(candidate))
            else:
                yield from self._race()
        elif self.phase == "choosing":
            # Another process may have chosen first: its choice stands, unless it did not prove good here.
            stands = candidate if candidate in self.live or candidate in self._good else self._own
            if stands in self._good:
                yield from self._win(str(stands))
            else:
                yield from self._cancel(except_for=str(stands))
                yield from self._follow(str(stands))

    def ended(self, candidate: str, event: Ended) -> Iterator[Instruction]:
        """A candidate has ended."""
        self.live.pop(candidate, None)
        if self.result is not None:
            return
        reason = self._objection(event)
        if reason is None:
            self._good[candidate] = event
        else:
            self._out[candidate] = reason
        if event.state == "cancelled":
            self._withdrawn.add(candidate)
        yield from self._next(candidate)

    def stop(self, by: str) -> Iterator[Instruction]:
        """The run is withdrawn: no new candidate and no new choice; a choice that is being recorded still counts."""
        self._stopped = by
        if self.result is None:
            yield from self._cancel()
            if self.phase == "looking" or (self.phase != "choosing" and not self.live):
                self._lose()

    @property
    def _step(self) -> str:
        return next(iter(self.candidates.values())).step

    def _next(self, candidate: str) -> Iterator[Instruction]:
        """What follows from the end of a candidate that is now either good or out."""
        if self.phase == "following" and candidate == self._followed:
            if candidate in self._good:
                yield from self._win(candidate)
            elif self._own:
                yield from self._win(self._own)
            else:
                yield from self._race()
        elif self.phase == "racing":
            if self._stopped:
                if not self.live:
                    self._lose()
            elif candidate in self._good:
                self.phase, self._own = "choosing", candidate
                yield Choose(self.task, self._step, candidate)
            elif len(self._out) == len(self.candidates):
                self._lose()

    def _follow(self, candidate: str) -> Iterator[Instruction]:
        self.phase, self._followed = "following", candidate
        yield from self._submit(candidate)

    def _race(self) -> Iterator[Instruction]:
        self.phase = "racing"
        if not self._stopped:
            for each in self.candidates:
                yield from self._submit(each)
        if not self.live:
            self._lose()

    def _submit(self, candidate: str) -> Iterator[Instruction]:
        if candidate not in self._submitted:
            self._submitted.add(candidate)
            self.live[candidate] = None
            yield self.candidates[candidate]

    def _cancel(self, except_for: str = "") -> Iterator[Instruction]:
        for each in self.live:
            if each != except_for and each not in self._withdrawn:
                self._withdrawn.add(each)
                yield Cancel(self.candidates[each].task, self._stopped or "race")

    def _win(self, candidate: str) -> Iterator[Instruction]:
        event = self._good[candidate]
        self.result = StepResult("succeeded", "", event.outputs)
        self.scalars = event.scalars
        yield from self._cancel()

    def _lose(self) -> None:
        if self._stopped:
            self.result = StepResult("cancelled", f"cancelled by {self._stopped}")
            return
        text = "; ".join(f"{name}: {self._out[name]}" for name in self.candidates if name in self._out)
        state = "cancelled" if self._withdrawn >= self._out.keys() else "failed"
        self.result = StepResult(
            "cancelled" if state == "cancelled" else "failed", f"no candidate was accepted: {text}"
        )

    def _objection(self, event: Ended) -> str | None:
        """Why the candidate is out, or ``None``."""
        if event.state != "succeeded":
            return (
                f"{'failed' if event.state == 'failed' else 'was cancelled'}{': ' if event.error else ''}{event.error}"
            )
        if self.accept is None:
            return None
        facts = _Candidate(event.scalars, self.inputs)
        if evaluate(self.accept, facts):
            return None
        return "; ".join(each.text for each in why(self.accept, facts))

    def _accept_text(self) -> str | None:
        if self.accept is None:
            return None

        def general(operand: OutputOf | InputOf | Literal) -> OutputOf | InputOf | Literal:
            match operand:
                case OutputOf():
                    return OutputOf("candidate", operand.output)
                case InputOf():
                    return Literal(self.inputs[operand.name])
                case Literal():
                    return operand

        return str(replaced(self.accept, general))


@dataclass(frozen=True, slots=True)
class _Candidate:
    """The facts of ``accept``: a candidate that ended well, under the step's name."""

    scalars: Mapping[str, Any]
    inputs: Mapping[str, Any]

    def state(self, step: str) -> str:
        return "succeeded"

    def value(self, step: str, output: str) -> Any:
        return self.scalars[output]

    def input(self, name: str) -> Any:
        return self.inputs[name]

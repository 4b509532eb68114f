"""A step of a workflow: a module with its inputs, once, over the items of a collection, or as a race of candidates.

Owns the document of a step. Whether it fits the rest of the workflow is the business of :mod:`weftwork.core.checks`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from json.encoder import encode_basestring as _quoted
from typing import Any

from weftwork.core import expression as expressions
from weftwork.core.checksum import Checksum, canonical
from weftwork.core.condition import Condition, steps_of
from weftwork.core.expression import Expression, ListOf, OutputOf
from weftwork.core.grammar import parse
from weftwork.core.module import nearest
from weftwork.core.placement import Placement, Resources
from weftwork.errors import Invalid

_SAID = ("site", "cache", "retries", "priority", "strict")


@dataclass(frozen=True, slots=True)
class Overrides:
    """What a step says about its placement; ``None`` and absent resources leave it as the run and the module have it.

    ``resources`` are (name, value) as :meth:`Resources.updated` takes them.
    """

    site: str | None = None
    resources: tuple[tuple[str, Any], ...] = ()
    cache: bool | None = None
    retries: int | None = None
    priority: int | None = None
    strict: bool | None = None

    def placement(self, module: Resources, default: Placement) -> Placement:
        """The placement of the step: what it says itself, else its module's resources and the run's other choices."""
        said = {name: getattr(self, name) for name in _SAID if getattr(self, name) is not None}
        return replace(default, resources=module.updated(dict(self.resources)), **said)

    def document(self) -> dict[str, Any]:
        out = {name: getattr(self, name) for name in _SAID if getattr(self, name) is not None}
        return out | ({"resources": dict(self.resources)} if self.resources else {})

    @staticmethod
    def of(document: Mapping[str, Any]) -> Overrides:
        """From a document. Raises :class:`~weftwork.errors.Invalid` for resources that are not known or not readable."""
        if not document:
            return NOTHING
        known = [each.name for each in fields(Overrides)]
        for name in document:
            if name not in known:
                raise Invalid(
                    f"placement: {name!r} is not known{nearest(name, known)}; the keys are {', '.join(known)}"
                )
        resources = document.get("resources") or {}
        Resources().updated(resources)
        return Overrides(**{**document, "resources": tuple(sorted(resources.items()))})


NOTHING = Overrides()
"""What is said by who says nothing: one object for all, which costs nothing to tell from others."""


@dataclass(frozen=True, slots=True)
class ForEach:
    """The step runs once for each item of ``over``; ``variable`` is the item's name for people (``$variable``)."""

    variable: str
    over: Expression


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to do a step. ``inputs`` add to those of the step, or stand instead of them."""

    name: str
    module: Checksum
    inputs: Mapping[str, Expression] = field(default_factory=dict)
    placement: Overrides = Overrides()


@dataclass(frozen=True, slots=True)
class Race:
    """Candidates that run at once; the first that ended well and that ``accept`` holds for is the step's result.

    Within ``accept`` the step's own name stands for the candidate: ``$fit.chi2 < 1.2`` in the step ``fit``.
    """

    candidates: tuple[Candidate, ...]
    accept: Condition | None = None

    def __post_init__(self) -> None:
        if not self.candidates:
            raise Invalid("a race needs candidates: at least one, each with a name and a module")


@dataclass(frozen=True, slots=True)
class Step:
    """A step: ``module`` with ``inputs``, or the candidates of ``race`` (``module`` is ``None`` then).

    ``when``: it runs only if the condition holds. ``for_each``: it runs for each item; its outputs are lists then.
    The mappings are never changed.
    """

    name: str
    module: Checksum | None
    inputs: Mapping[str, Expression] = field(default_factory=dict)
    when: Condition | None = None
    for_each: ForEach | None = None
    race: Race | None = None
    placement: Overrides = Overrides()
    description: str = ""

    def __post_init__(self) -> None:
        if (self.module is None) == (self.race is None):
            raise Invalid(
                f"step {self.name}: either a module or a race of candidates is expected, not both and not none"
            )

    def programs(self) -> tuple[Candidate, ...]:
        """The candidates with all of their inputs and overrides; a plain step is one candidate without a name."""
        if self.race is None:
            assert self.module is not None
            return (Candidate("", self.module, self.inputs, self.placement),)
        return tuple(
            replace(each, inputs={**self.inputs, **each.inputs}, placement=_over(self.placement, each.placement))
            for each in self.race.candidates
        )

    def reads(self) -> dict[str, None]:
        """The steps whose outputs it needs, each once, in order of appearance."""
        found: dict[str, None] = {}
        for each in self._expressions():
            if type(each) is OutputOf:
                found[each.step] = None
            elif type(each) is ListOf:
                for leaf in expressions.leaves(each):
                    if type(leaf) is OutputOf:
                        found[leaf.step] = None
        return found

    def waits_for(self) -> dict[str, None]:
        """The steps that its condition looks at."""
        return {} if self.when is None else steps_of(self.when)

    def conditions(self) -> tuple[Condition, ...]:
        """Its ``when`` and the ``accept`` of its race, as far as it has them."""
        accept = None if self.race is None else self.race.accept
        return tuple(each for each in (self.when, accept) if each is not None)

    def _expressions(self) -> Iterable[Expression]:
        if self.for_each is None and self.race is None:
            return self.inputs.values()
        over = [] if self.for_each is None else [self.for_each.over]
        candidates = () if self.race is None else self.race.candidates
        return [*over, *self.inputs.values(), *(value for each in candidates for value in each.inputs.values())]

    def document(self) -> dict[str, Any]:
        out: dict[str, Any] = {"name": self.name, "inputs": _inputs(self.inputs)}
        if self.module is not None:
            out["module"] = str(self.module)
        if self.when is not None:
            out["when"] = str(self.when)
        if self.for_each is not None:
            out["for_each"] = {
                "variable": self.for_each.variable,
                "over": expressions.document(self.for_each.over),
            }
        if self.race is not None:
            out["race"] = _race_document(self.race)
        if self.placement is not NOTHING and self.placement != NOTHING:
            out["placement"] = self.placement.document()
        return out | ({"description": self.description} if self.description else {})

    def encoded(self) -> str:
        """The canonical encoding of :meth:`document`."""
        placed = self.placement is not NOTHING and self.placement != NOTHING
        if self.module is None or self.when is not None or self.for_each is not None or self.description or placed:
            return canonical(self.document()).decode("utf-8")
        inputs = [_quoted(name) + ":" + expressions.encoded(self.inputs[name]) for name in sorted(self.inputs)]
        module, name = _quoted(self.module[:]), _quoted(self.name)
        return '{"inputs":{' + ",".join(inputs) + '},"module":' + module + ',"name":' + name + "}"

    @staticmethod
    def of(document: Mapping[str, Any]) -> Step:
        """The step that :meth:`document` wrote."""
        when, each, race = document.get("when"), document.get("for_each"), document.get("race")
        return Step(
            name=document["name"],
            module=None if document.get("module") is None else Checksum(document["module"]),
            inputs=_read_inputs(document["inputs"]),
            when=None if when is None else parse(when),
            for_each=None if each is None else ForEach(each["variable"], expressions.of(each["over"])),
            race=None if race is None else _race(race),
            placement=Overrides.of(document.get("placement") or {}),
            description=document.get("description", ""),
        )


def _over(base: Overrides, own: Overrides) -> Overrides:
    return Overrides.of({**base.document(), **own.document(), "resources": dict(base.resources) | dict(own.resources)})


def _inputs(inputs: Mapping[str, Expression]) -> dict[str, Any]:
    return {name: expressions.document(each) for name, each in inputs.items()}


def _read_inputs(document: Mapping[str, Any]) -> dict[str, Expression]:
    return {name: expressions.of(each) for name, each in document.items()}


def _race_document(race: Race) -> dict[str, Any]:
    out: dict[str, Any] = {
        "candidates": [
            {"name": each.name, "module": str(each.module), "inputs": _inputs(each.inputs)}
            | ({"placement": each.placement.document()} if each.placement != NOTHING else {})
            for each in race.candidates
        ]
    }
    return out | ({"accept": str(race.accept)} if race.accept is not None else {})


def _race(document: Mapping[str, Any]) -> Race:
    accept = document.get("accept")
    return Race(
        tuple(
            Candidate(
                each["name"],
                Checksum(each["module"]),
                _read_inputs(each.get("inputs") or {}),
                Overrides.of(each.get("placement") or {}),
            )
            for each in document["candidates"]
        ),
        None if accept is None else parse(accept),
    )

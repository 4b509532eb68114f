"""Which sites may take a job: sites as a person described them, and the rules that choose among them. Pure.

A site is *scheduler × runtime × staging*, reached by a shell. A rule is a row of ``sites.yaml``: what it accepts, and
the sites that then may take the job. All rows that accept are candidates, in the order of the rows; which candidate is
taken (the one that lacks the fewest input bytes, then the least busy) is the engine's to find out.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final, Literal

from weftwork.core.module import Function, Module, nearest
from weftwork.core.placement import Resources
from weftwork.errors import Refused

Lane = Literal["function", "command"]
LANES: Final = ("function", "command")
ENVIRONMENTS: Final = ("none", "image", "conda", "venv", "packages")
"""What a module's environment may be, by what it names first."""

AMOUNTS: Final = ("cpus", "memory", "disk", "gpus", "time")
COMPARISONS: Final = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
}


@dataclass(frozen=True, slots=True)
class Part:
    """One of a site's choices: an adapter by name, and its options as they were written."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class SiteDescription:
    """A named place to compute, as it was described. ``resources`` are the limits of memory, disk and time for jobs that
    say none themselves."""

    name: str
    scheduler: Part
    runtime: Part = Part("none")
    staging: Part = Part("shared")
    shell: Part = Part("here")
    resources: Resources = Resources()
    description: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the rules are asked about."""

    module: str
    lane: Lane
    environment: str
    user: str
    resources: Resources

    @staticmethod
    def of(module: Module, resources: Resources, user: str) -> Asked:
        """The question that a module with its resources is."""
        lane: Lane = "function" if isinstance(module.program, Function) else "command"
        return Asked(module.name, lane, environment_kind(module), user, resources)


def environment_kind(module: Module) -> str:
    """One of :data:`ENVIRONMENTS`: what the module's environment names."""
    declared = module.environment
    for kind in ("image", "conda", "venv", "packages"):
        if getattr(declared, kind):
            return kind
    return "none"


@dataclass(frozen=True, slots=True)
class Bound:
    """A comparison of an amount: ``gpus >= 1``. ``written`` is the text that a person wrote for the limit."""

    amount: str
    comparison: str
    limit: float
    written: str

    def __str__(self) -> str:
        return f"{self.amount} {self.comparison} {self.written}"

    def refusal(self, resources: Resources) -> str | None:
        value = getattr(resources, self.amount)
        if value is None:
            return f"it takes {self}, and the job says no {self.amount}"
        if COMPARISONS[self.comparison](value, self.limit):
            return None
        return f"it takes {self}, and the job has {value:g}"


@dataclass(frozen=True, slots=True)
class Rule:
    """A row: what it accepts, and the sites for that. An empty part accepts all; modules and users are patterns
    (``fit*``), of which one must match."""

    at: tuple[str, ...]
    lanes: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    bounds: tuple[Bound, ...] = ()

    def refusal(self, asked: Asked) -> str | None:
        """Why the row does not accept; ``None`` when it does."""
        for what, given, accepted in (
            ("lane", asked.lane, self.lanes),
            ("environment", asked.environment, self.environments),
            ("module", asked.module, self.modules),
            ("user", asked.user, self.users),
        ):
            if accepted and not any(fnmatchcase(given, each) for each in accepted):
                return f"it takes {what} {' or '.join(accepted)}, and the job's is {given}"
        return next((why for bound in self.bounds if (why := bound.refusal(asked.resources)) is not None), None)


@dataclass(frozen=True, slots=True)
class Sites:
    """All sites that are described, and the rules."""

    described: Mapping[str, SiteDescription]
    rules: tuple[Rule, ...]

    def site(self, name: str) -> SiteDescription:
        """The site of a name. Raises :class:`~weftwork.errors.Refused` with the names that there are."""
        try:
            return self.described[name]
        except KeyError:
            known = ", ".join(sorted(self.described))
            raise Refused(
                f"there is no site {name!r}{nearest(name, self.described) or ';'} the sites are {known}"
            ) from None

    def candidates(self, asked: Asked, refusal: Callable[[str], str | None] = lambda name: None) -> list[str]:
        """The sites that may take it, in the order of the rows that accept.

        ``refusal`` says why a site cannot take it, whatever the rows say. Raises
        :class:`~weftwork.errors.Refused` where none is left, with each row and why.
        """
        found: dict[str, None] = {}
        told: list[str] = []
        for number, rule in enumerate(self.rules, 1):
            row = f"row {number} ({', '.join(rule.at)})"
            why = rule.refusal(asked)
            if why is not None:
                told.append(f"{row}: {why}")
                continue
            for name in rule.at:
                if name not in found and (why := refusal(name)) is None:
                    found[name] = None
                elif why is not None:
                    told.append(f"{row}: {name}: {why}")
        if not found:
            raise Refused(f"no site takes {asked.module}:\n  " + "\n  ".join(told), module=asked.module)
        return list(found)


def least(candidates: Sequence[str], lacking: Mapping[str, int], busy: Mapping[str, float]) -> tuple[str, str]:
    """The candidate that lacks the fewest input bytes, then the least busy, then the first; and why it was taken.

    ``lacking`` gives bytes by site, ``busy`` the part of a site's capacity that is taken (above 1 where jobs wait).
    """
    if len(candidates) == 1:
        return candidates[0], "it is the only site that takes the job"
    fewest = min(lacking.get(name, 0) for name in candidates)
    near = [name for name in candidates if lacking.get(name, 0) == fewest]
    if len(near) == 1:
        amounts = ", ".join(f"{name} {lacking.get(name, 0)}" for name in candidates)
        return near[0], f"it lacks the fewest bytes of the inputs ({amounts})"
    calmest = min(busy.get(name, 0.0) for name in near)
    calm = [name for name in near if busy.get(name, 0.0) == calmest]
    if len(calm) == 1:
        shares = ", ".join(f"{name} {busy.get(name, 0.0):.0%}" for name in near)
        return calm[
            0
        ], f"it is the least busy of {', '.join(near)}, which lack equally few bytes of the inputs ({shares})"
    return calm[
        0
    ], f"it comes first of {', '.join(calm)}, which lack equally few bytes of the inputs and are equally busy"

"""``sites.yaml``: named sites and rules, read from one or several files into core values.

Of several files (the home's, the project's, the one of ``--sites``) the later ones win, site by site; the rules (a default is the
last of them) are those of the last file that has some. Nothing is built or reached here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from weftwork.core.module import nearest
from weftwork.core.placement import parse_size, parse_time
from weftwork.core.siting import AMOUNTS, Bound, Part, Rule, SiteDescription, Sites
from weftwork.errors import Invalid
from weftwork.formats.adapters import CHOICES, Adapters, Choice
from weftwork.formats.document import Document, Problems, read
from weftwork.formats.module_file import read_resources
from weftwork.formats.nodes import Where
from weftwork.formats.sites_keys import sites_section

_COMPARISON = re.compile(r"(>=|<=|==|>|<)?\s*(.+)\Z", re.DOTALL)
_DEFAULTS: Final[Mapping[Choice, str]] = {"runtime": "none", "staging": "shared", "shell": "here"}


def read_sites(paths: Iterable[str | os.PathLike[str]], adapters: Adapters, builtin: Sites) -> Sites:
    """The sites of some files, of which later ones win, beside those that are there without a file.

    The rules are those of the last file that has rules or a default, else those that hold without a file.

    Raises :class:`~weftwork.errors.Invalid` with all problems of a file, each with its line.
    """
    return sites_of([read(path) for path in paths], adapters, builtin)


def sites_of(documents: Sequence[Document], adapters: Adapters, builtin: Sites) -> Sites:
    """The sites that documents describe."""
    table = sites_section(adapters)
    written: dict[str, _Written] = {}
    for document in documents:
        problems = Problems(document)
        for path, what in table.faults(document.value, ()):
            problems.add(path, what)
        problems.raise_all()
        defaults = document.value.get("defaults", {})
        for name, value in document.value.get("sites", {}).items():
            written[name] = _Written(value, defaults, document, problems)
    described = dict(builtin.described)
    for name in written:
        site = _Reading(written, described, adapters).site(name)
        if site is not None:
            described[name] = site
    for each in written.values():
        each.problems.raise_all()
    return Sites(described, _rules(described, documents) or builtin.rules)


@dataclass(frozen=True, slots=True)
class _Written:
    """A site as its document has it."""

    value: dict[str, Any]
    defaults: dict[str, Any]
    document: Document
    problems: Problems


@dataclass(frozen=True, slots=True)
class _Reading:
    """Makes sites of what was written. ``described`` are those that need no document."""

    written: Mapping[str, _Written]
    described: Mapping[str, SiteDescription]
    adapters: Adapters

    def site(self, name: str) -> SiteDescription | None:
        """The site, or ``None`` and at least one problem."""
        each = self.written[name]
        problems, path = each.problems, ("sites", name)
        before = len(problems)
        settings = self._settings(name, ())
        parts = {choice: _part(settings[choice]) for choice in CHOICES if choice in settings}
        if "scheduler" not in parts:
            names = ", ".join(adapter.name for adapter in self.adapters.of("scheduler"))
            problems.add(path, f"the key 'scheduler' is missing: how a process starts there; one of {names}")
            return None
        beside = {**_DEFAULTS, **self._beside(parts)}
        for choice, adapter in beside.items():
            parts.setdefault(choice, Part(adapter))
        self._check(parts, settings, (*path,), problems)
        resources = read_resources(settings.get("resources", {}), (*path, "resources"), problems)
        if len(problems) > before:
            return None
        return SiteDescription(
            name,
            **parts,
            resources=resources,
            description=settings.get("description", ""),
        )

    def _settings(self, name: str, through: tuple[str, ...]) -> dict[str, Any]:
        """What holds for a site: its own settings over those of the site that it is like, over its file's defaults."""
        each = self.written.get(name)
        if each is None:
            return _settings_of(self.described[name])
        like = each.value.get("like")
        base = each.defaults
        if like is not None:
            where = ("sites", name, "like")
            known = {*self.written, *self.described} - {name}
            if like in (name, *through):
                each.problems.add(
                    where, f"the sites {' → '.join([*through, name, like])} are like each other in a circle"
                )
            elif like not in known:
                each.problems.add(
                    where,
                    f"there is no site {like!r}{nearest(like, known) or ';'} the sites are {', '.join(sorted(known))}",
                )
            else:
                base = _over(base, self._settings(like, (*through, name)))
        return _over(base, {key: value for key, value in each.value.items() if key != "like"})

    def _beside(self, parts: Mapping[Choice, Part]) -> dict[Choice, str]:
        adapter = self.adapters.get("scheduler", parts["scheduler"].name)
        return {} if adapter is None else dict(adapter.beside)

    def _check(
        self, parts: Mapping[Choice, Part], settings: Mapping[str, Any], path: Where, problems: Problems
    ) -> None:
        unknown = [(choice, part) for choice, part in parts.items() if self.adapters.get(choice, part.name) is None]
        for choice, part in unknown:
            problems.add((*path, choice), self.adapters.unknown(choice, part.name))
        if not unknown:
            for choice, why in self.adapters.clashes({choice: part.name for choice, part in parts.items()}):
                problems.add((*path, choice) if choice in settings else path, why)


def _part(written: Any) -> Part:
    if isinstance(written, str):
        return Part(written)
    ((name, options),) = written.items()
    return Part(name, options)


def _settings_of(site: SiteDescription) -> dict[str, Any]:
    """A described site as it would be written."""
    out: dict[str, Any] = {
        choice: {getattr(site, choice).name: dict(getattr(site, choice).options)} for choice in CHOICES
    }
    return out | {"resources": site.resources.document()}


def _over(base: Mapping[str, Any], value: Mapping[str, Any]) -> dict[str, Any]:
    """Settings over others: mappings key by key, an adapter's options only over those of the same adapter."""
    out = dict(base)
    for key, each in value.items():
        below = out.get(key)
        if key in CHOICES and below is not None:
            upper, lower = _part(each), _part(below)
            options = {**lower.options, **upper.options} if upper.name == lower.name else upper.options
            out[key] = {upper.name: dict(options)}
        elif key == "resources" and below is not None:
            out[key] = {**below, **each}
        else:
            out[key] = each
    return out


def _rules(described: Mapping[str, SiteDescription], documents: Sequence[Document]) -> tuple[Rule, ...]:
    rules: tuple[Rule, ...] = ()
    for document in documents:
        problems = Problems(document)
        rows = [_rule(row, ("rules", index), problems) for index, row in enumerate(document.value.get("rules", ()))]
        for index, row in enumerate(rows):
            for name in row.at:
                _known(name, described, ("rules", index, "at"), problems)
        default = document.value.get("default")
        if default is not None:
            _known(default, described, ("default",), problems)
            rows.append(Rule((default,)))
        problems.raise_all()
        rules = tuple(rows) or rules
    return rules


def _known(name: str, described: Mapping[str, SiteDescription], path: Where, problems: Problems) -> None:
    if name not in described:
        known = ", ".join(sorted(described)) or "none"
        problems.add(path, f"there is no site {name!r}{nearest(name, described) or ';'} the sites are {known}")


def _rule(value: Mapping[str, Any], path: Where, problems: Problems) -> Rule:
    bounds = []
    for amount in AMOUNTS:
        if amount in value:
            try:
                bounds.append(_bound(amount, value[amount]))
            except Invalid as error:
                problems.add((*path, amount), str(error))
    return Rule(
        _listed(value["at"]),
        _listed(value.get("lane", ())),
        _listed(value.get("environment", ())),
        _listed(value.get("module", ())),
        _listed(value.get("user", ())),
        tuple(bounds),
    )


def _listed(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _bound(amount: str, value: Any) -> Bound:
    """A comparison as it was written. Raises Invalid with what would be right."""
    match = _COMPARISON.match(str(value).strip())
    if match is None:
        raise Invalid(f'{value!r} is no comparison; write it as ">= 1"')
    comparison, written = match[1] or "==", match[2].strip()
    if amount in ("memory", "disk"):
        limit: float | None = parse_size(int(written) if written.isdigit() else written)
    elif amount == "time":
        limit = parse_time(written)
    elif written.isdigit():
        limit = int(written)
    else:
        raise Invalid(f'{value!r} is no comparison with a whole number; write it as ">= 1"')
    assert limit is not None
    return Bound(amount, comparison, limit, written)

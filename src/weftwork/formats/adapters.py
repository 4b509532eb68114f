"""What a reader of ``sites.yaml`` has to know of the adapters that there are: their names, their options, and what goes together.

The adapters themselves are built two floors up; each says this much of itself, so that a pairing that cannot be is
refused where it is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from weftwork.core.module import nearest
from weftwork.formats.kinds import Section

Choice = Literal["scheduler", "runtime", "staging", "shell"]
CHOICES: Final[tuple[Choice, ...]] = ("scheduler", "runtime", "staging", "shell")


@dataclass(frozen=True, slots=True)
class Only:
    """The adapters of another choice that one goes with, and why no other."""

    names: frozenset[str]
    why: str


@dataclass(frozen=True, slots=True)
class Adapter:
    """One adapter: which of a site's choices it is, its name, its options, and what it goes with.

    ``only`` limits another choice (``{"runtime": Only({"none"}, "a pod's image is its container")}``); a choice that is
    not named goes with all. ``beside`` gives what a choice is where nothing is said of it.
    """

    choice: Choice
    name: str
    options: Section
    only: Mapping[Choice, Only] = field(default_factory=dict)
    beside: Mapping[Choice, str] = field(default_factory=dict)


class Adapters:
    """All adapters by choice and name."""

    def __init__(self, adapters: Iterable[Adapter]) -> None:
        self._by_choice: dict[str, dict[str, Adapter]] = {choice: {} for choice in CHOICES}
        for adapter in adapters:
            self._by_choice[adapter.choice][adapter.name] = adapter

    def __iter__(self) -> Iterator[Adapter]:
        return (adapter for choice in CHOICES for adapter in self.of(choice))

    def of(self, choice: Choice) -> list[Adapter]:
        """Those of one choice, by name."""
        return [self._by_choice[choice][name] for name in sorted(self._by_choice[choice])]

    def get(self, choice: Choice, name: str) -> Adapter | None:
        return self._by_choice[choice].get(name)

    def unknown(self, choice: Choice, name: str) -> str:
        """What to say of a name that no adapter has."""
        names = [adapter.name for adapter in self.of(choice)]
        return f"there is no {choice} {name!r}{nearest(name, names) or ';'} there are {', '.join(names)}"

    def clashes(self, chosen: Mapping[Choice, str]) -> Iterator[tuple[Choice, str]]:
        """What cannot go together: the choice that is wrong, and why."""
        for choice, name in chosen.items():
            adapter = self.get(choice, name)
            for other, only in ({} if adapter is None else adapter.only).items():
                if chosen[other] not in only.names:
                    allowed = " or ".join(sorted(only.names))
                    yield (
                        other,
                        f"the {other} {chosen[other]} cannot be with the {choice} {name}: {only.why}; write {other}: {allowed}",
                    )

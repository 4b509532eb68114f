"""The sites that somebody described, beside those that this machine has by itself. Each is made when it is first named."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from weftwork.core.module import Module, nearest
from weftwork.errors import Refused
from weftwork.ports import Scheduler, Site
from weftwork.sites.builtin import NAMES, MachineSites


class NamedSites:
    """See :class:`weftwork.ports.Sites`. ``described`` makes each site; a name of this machine's own means the described one."""

    def __init__(self, machine: MachineSites, described: Mapping[str, Callable[[], Site]]) -> None:
        self._machine = machine
        self._described = dict(described)
        self._made: dict[str, Site] = {}

    def site(self, name: str | None, module: Module) -> Site:
        return self._machine.site(None, module) if name is None else self.named(name)

    def named(self, name: str) -> Site:
        if name in self._described:
            if name not in self._made:
                self._made[name] = self._described[name]()
            return self._made[name]
        if name in NAMES:
            return self._machine.named(name)
        names = [*self._described, *(each for each in NAMES if each not in self._described)]
        raise Refused(f"there is no site {name!r}{nearest(name, names)}; the sites are {', '.join(names)}")

    def schedulers(self) -> list[Scheduler]:
        return [*self._machine.schedulers(), *(site.scheduler for site in self._made.values())]

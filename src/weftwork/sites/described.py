"""The sites that there are: those of ``sites.yaml``, and those that this machine has by itself.

One is made when it is named or considered by a rule; nothing of an adapter is imported before.
"""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from weftwork.core import siting
from weftwork.core.module import Module
from weftwork.core.placement import Placement, Resources
from weftwork.core.siting import Asked, Part, Rule, SiteDescription
from weftwork.ports import Scheduler, Shell, Site, Store
from weftwork.sites.adapters import Load, Making
from weftwork.sites.machine import HashFile, Machine
from weftwork.sites.site import PlacedSite

if TYPE_CHECKING:
    from weftwork.formats.adapters import Choice
    from weftwork.sites.images.stock import Stock

LOCAL: Final = "local"
FOR_IMAGES: Final = ("docker", "podman", "apptainer", "charliecloud")
"""In this order, the first that is there runs a module that needs an image and names no site."""

BUILTIN: Final = siting.Sites(
    {LOCAL: SiteDescription(LOCAL, Part("local"), description="this machine, as it is")}
    | {
        name: SiteDescription(name, Part("local"), Part(name), description=f"this machine, in containers of {name}")
        for name in (*FOR_IMAGES, "bubblewrap")
    },
    (Rule(FOR_IMAGES, environments=("image",)), Rule((LOCAL,))),
)
"""The sites and rules that hold without a file."""


class DescribedSites:
    """See :class:`weftwork.ports.Sites`. ``here`` is this machine's scheduler, which all sites of it share."""

    def __init__(
        self, sites: siting.Sites, load: Load, here: Scheduler, home: Path, store: Store, hash_file: HashFile
    ) -> None:
        self.described = sites
        self._load = load
        self._here = here
        self._home = home
        self._store = store
        self._hash_file = hash_file
        self._machine = Machine(hash_file)
        self._made: dict[str, PlacedSite] = {}
        self._shells: list[Shell] = []

    def named(self, name: str) -> Site:
        site = self._made.get(name)
        if site is None:
            site = self._made[name] = self._make(self.described.site(name))
        return site

    def schedulers(self) -> list[Scheduler]:
        made = [site.scheduler for site in self._made.values()]
        return list({id(each): each for each in [self._here, *made]}.values())

    def placed(self, module: Module, placement: Placement, busy: Mapping[str, float]) -> Placement:
        name, why = placement.site, ""
        if name is None:
            asked = Asked.of(module, placement.resources, self._user)
            found = self.described.candidates(asked, lambda name: self.named(name).refusal(module, placement.resources))
            name, why = siting.least(found, {}, self._shares(found, busy))
        resources = _filled(placement.resources, self.described.site(name).resources)
        return replace(placement, site=name, resources=resources, chosen=why)

    @cached_property
    def _user(self) -> str:
        return getpass.getuser()

    def _shares(self, names: list[str], busy: Mapping[str, float]) -> dict[str, float]:
        """How much of each site's scheduler is taken, by all sites that share it."""
        taken: dict[int, float] = {}
        for name, cpus in busy.items():
            scheduler = id(self.named(name).scheduler)
            taken[scheduler] = taken.get(scheduler, 0.0) + cpus
        schedulers = {name: self.named(name).scheduler for name in names}
        return {name: taken.get(id(each), 0.0) / each.capacity().cpus for name, each in schedulers.items()}

    def _make(self, site: SiteDescription) -> PlacedSite:
        def shell() -> Shell:
            made: Shell = self._part(site, "shell", site.shell, shell)
            self._shells.append(made)
            return made

        scheduler: Scheduler = self._part(site, "scheduler", site.scheduler, shell)
        return PlacedSite(site.name, scheduler, self._part(site, "runtime", site.runtime, shell), self._machine)

    def _part(self, site: SiteDescription, choice: Choice, part: Part, shell: Any) -> Any:
        making = Making(
            part.options, site, self._home, self._store, self._hash_file, self._here, lambda: self._images, shell
        )
        return self._load(choice, part.name).make(making)

    @cached_property
    def _images(self) -> Stock:
        """The images of the home; all runtimes share them."""
        from weftwork.sites.images.stock import Stock

        return Stock(self._home, self._hash_file)

    async def close(self) -> None:
        """End the schedulers, then the shells that they used."""
        for scheduler in self.schedulers():
            await scheduler.close()
        for shell in self._shells:
            await shell.close()


def _filled(resources: Resources, site: Resources) -> Resources:
    """The limits of a site where a job says none."""
    missing = {
        each.name: getattr(site, each.name) for each in fields(Resources) if getattr(resources, each.name) is None
    }
    changes = {name: value for name, value in missing.items() if value is not None}
    return replace(resources, **changes) if changes else resources

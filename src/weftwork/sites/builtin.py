"""The sites that this machine has by itself: ``local`` without containers, and one for each container runtime.

One is made when it is named or chosen; nothing of a runtime is imported or looked at before.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from weftwork.core.checksum import Checksum
from weftwork.core.module import Module, nearest
from weftwork.errors import Refused
from weftwork.ports import Runtime, Scheduler, Site
from weftwork.sites.machine import Machine
from weftwork.sites.site import PlacedSite

if TYPE_CHECKING:
    from weftwork.sites.images.stock import Stock

LOCAL: Final = "local"
FOR_IMAGES: Final = ("docker", "podman", "apptainer", "charliecloud")
"""In this order, the first that is there runs a module that needs an image and names no site."""

NAMES: Final = (LOCAL, *FOR_IMAGES, "bubblewrap")


class MachineSites:
    """See :class:`weftwork.ports.Sites`. All share one scheduler: this machine's."""

    def __init__(self, scheduler: Scheduler, home: Path, hash_file: Callable[[Path], tuple[Checksum, int]]) -> None:
        self._scheduler = scheduler
        self._machine = Machine(hash_file)
        self._home = home
        self._hash_file = hash_file
        self._images: Stock | None = None
        self._made: dict[str, PlacedSite] = {}
        self._chosen: str | None = None

    def site(self, name: str | None, module: Module) -> Site:
        if name is not None:
            return self.named(name)
        return self.named(LOCAL if module.environment.image is None else self._for_image(module))

    def named(self, name: str) -> Site:
        return self._site(name)

    def schedulers(self) -> list[Scheduler]:
        return [self._scheduler]

    def _site(self, name: str) -> PlacedSite:
        site = self._made.get(name)
        if site is None:
            if name not in NAMES:
                raise Refused(f"there is no site {name!r}{nearest(name, NAMES)}; the sites are {', '.join(NAMES)}")
            site = self._made[name] = PlacedSite(name, self._scheduler, self._runtime(name), self._machine)
        return site

    def _for_image(self, module: Module) -> str:
        """Raises Refused where no runtime is there, with what each lacks."""
        if self._chosen is None:
            lacks = {name: self._site(name).runtime.missing() for name in FOR_IMAGES}
            found = next((name for name, missing in lacks.items() if missing is None), None)
            if found is None:
                told = "; ".join(f"{name} lacks {missing}" for name, missing in lacks.items())
                raise Refused(
                    f"{module.name} needs the image {module.environment.image}, and no site of this machine runs images: {told}; "
                    "install one of them"
                )
            self._chosen = found
        return self._chosen

    def _stock(self) -> Stock:
        """The images of the home; all runtimes share them."""
        if self._images is None:
            from weftwork.sites.images.stock import Stock

            self._images = Stock(self._home, self._hash_file)
        return self._images

    def _runtime(self, name: str) -> Runtime:
        # Imported one by one: who uses one runtime pays for no other.
        if name == "docker":
            from weftwork.sites.runtimes.docker import Docker

            return Docker(self._stock())
        if name == "podman":
            from weftwork.sites.runtimes.podman import Podman

            return Podman(self._stock())
        if name == "apptainer":
            from weftwork.sites.runtimes.apptainer import Apptainer

            return Apptainer(self._stock())
        if name == "charliecloud":
            from weftwork.sites.runtimes.charliecloud import Charliecloud

            return Charliecloud(self._stock())
        if name == "bubblewrap":
            from weftwork.sites.runtimes.bubblewrap import Bubblewrap

            return Bubblewrap(self._stock())
        from weftwork.sites.runtimes.none import Bare

        return Bare()

"""No container: a command runs on the machine as it is. It sees the machine's programs, files and network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from weftwork.core.checksum import Checksum
from weftwork.errors import Refused
from weftwork.node.container import Container
from weftwork.ports import Image, Wrapping
from weftwork.sites.adapters import Making, without_options

if TYPE_CHECKING:
    from weftwork.formats.adapters import Adapter


class Bare:
    """The runtime ``none``. See :class:`weftwork.ports.Runtime`."""

    name = "none"
    takes: frozenset[Literal["machine", "image"]] = frozenset({"machine"})
    enforces: frozenset[str] = frozenset()

    def missing(self) -> str | None:
        return None

    def resolve(self, reference: str) -> Image:
        raise Refused(f"the image {reference} cannot be used here: this site runs commands without containers")

    def ready(self, identity: Checksum) -> tuple[Image, str]:
        raise Refused(f"the image {identity.short} cannot be used here: this site runs commands without containers")

    def wrap(self, wrapping: Wrapping) -> tuple[Container | None, dict[str, str]]:
        return None, dict(wrapping.environment)


def adapter() -> Adapter:
    return without_options("runtime", "none", "No container: commands run on the machine as it is.")


def make(making: Making) -> Bare:
    return Bare()

"""What the runtimes share that start an image as a folder or file of our own making, with the command as a child of the node program.

The node program measures memory and processes of such a command; no engine does it for them.
"""

from __future__ import annotations

import shutil
from typing import ClassVar, Literal

from weftwork.core.checksum import Checksum
from weftwork.errors import Refused
from weftwork.node.container import ROOT
from weftwork.ports import Image, Wrapping
from weftwork.sites.images.stock import Stock

WRITABLE = (
    (f"{ROOT}/work", "work"),
    (f"{ROOT}/tmp", "tmp"),
    (f"{ROOT}/home", "home"),
    ("/tmp", "tmp"),
    ("/var/tmp", "tmp"),
)
"""Where the job's folders are seen that it may write to: (path inside, name of the folder)."""


class Converted:
    """The part of :class:`weftwork.ports.Runtime` that is the same for all of these."""

    name: str
    programs: ClassVar[tuple[str, ...]]
    takes: frozenset[Literal["machine", "image"]] = frozenset({"image"})
    enforces = frozenset({"network"})

    def __init__(self, stock: Stock) -> None:
        self.stock = stock

    def missing(self) -> str | None:
        absent = [each for each in self.programs if shutil.which(each) is None]
        return f"the program {' and '.join(absent)}" if absent else None

    def resolve(self, reference: str) -> Image:
        return self.stock.resolve(reference)

    def ready(self, identity: Checksum) -> tuple[Image, str]:
        image = self.stock.known(identity)
        return image, str(self.stock.root(image))

    def refuse_gpus(self, wrapping: Wrapping) -> None:
        """For a runtime that has no way of its own to give a program GPUs."""
        if wrapping.gpus:
            raise Refused(
                f"{wrapping.task} needs {wrapping.gpus} GPUs, and {self.name} gives a program none; choose docker, podman or apptainer"
            )

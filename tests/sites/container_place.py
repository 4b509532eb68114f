"""Places for the contract of runtimes: a home, the made images, and a look at what the system has left of a task."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import made_images

from weftwork.ports import Runtime
from weftwork.sites.images.stock import Stock
from weftwork.testing.runtime_place import RuntimePlace, hashed


class ArchivePlace(RuntimePlace):
    """Images as docker-archives, the form that every runtime takes."""

    def __init__(self, folder: Path, make: Callable[[Stock], Runtime]) -> None:
        self.folder = folder
        self.stock = Stock(folder / "home", hashed)
        self.runtime = make(self.stock)
        self.archives = folder / "archives"
        self.archives.mkdir()
        for each in made_images.images():
            each.write(self.archives)

    def image(self, role: str) -> str:
        return f"docker-archive:{self.archives}/weft_{role}_1.tar"

    def left(self, task: str) -> list[str]:
        return []


class EnginePlace(ArchivePlace):
    """An engine that holds the containers, and is asked for them."""

    def left(self, task: str) -> list[str]:
        words = [self.runtime.name, "ps", "--all", "--filter", f"name=weft-{task}", "--format", "{{.Names}}"]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()

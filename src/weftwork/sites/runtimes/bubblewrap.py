"""bubblewrap: an image as a folder, in namespaces of its own. It needs no daemon and no rights, and starts in milliseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from weftwork.node.container import ROOT, Container, plain
from weftwork.ports import Wrapping
from weftwork.sites.adapters import Making, without_options
from weftwork.sites.images.engines import environment
from weftwork.sites.runtimes.converted import WRITABLE, Converted

if TYPE_CHECKING:
    from weftwork.formats.adapters import Adapter

_NAMES: Final = ("/etc/resolv.conf", "/etc/hosts")


class Bubblewrap(Converted):
    """The runtime ``bubblewrap``. See :class:`weftwork.ports.Runtime`."""

    name = "bubblewrap"
    programs = ("bwrap",)

    def wrap(self, wrapping: Wrapping) -> tuple[Container, dict[str, str]]:
        self.refuse_gpus(wrapping)
        words = ["bwrap", "--unshare-all", "--die-with-parent", "--cap-drop", "ALL", "--hostname", "weft"]
        words += ["--ro-bind", plain(wrapping.image), "/", "--proc", "/proc", "--dev", "/dev"]
        words += ["--ro-bind", "{folder}/inputs", f"{ROOT}/inputs"]
        for target, name in WRITABLE:
            words += ["--bind", f"{{folder}}/{name}", target]
        if wrapping.network:
            words += ["--share-net", *(word for path in _NAMES for word in ("--ro-bind-try", path, path))]
        words.append("--clearenv")
        for name, value in wrapping.environment.items():
            words += ["--setenv", plain(name), plain(value)]
        return Container(
            runtime=self.name,
            start=(*words, "--chdir", f"{ROOT}/work", "--", "{command}"),
            absent=r"^bwrap: execvp ",
            fault=r"^bwrap: ",
            spared=True,
        ), environment()


def adapter() -> Adapter:
    return without_options("runtime", "bubblewrap", "bubblewrap, over folders that the home keeps.")


def make(making: Making) -> Bubblewrap:
    return Bubblewrap(making.images())

"""Charliecloud: an image as a folder, in a user and a mount namespace. For clusters: it hides little of the machine.

``ch-run`` (0.31) knows no network and no read-only binds: both are made around it, by ``unshare`` and ``mount`` of util-linux. The processes,
users and devices of the machine stay visible.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from weftwork.node.container import ROOT, Container, plain
from weftwork.ports import Wrapping
from weftwork.sites.adapters import Making, without_options
from weftwork.sites.images.engines import environment
from weftwork.sites.runtimes.converted import WRITABLE, Converted

if TYPE_CHECKING:
    from weftwork.formats.adapters import Adapter

_AROUND: Final = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'


class Charliecloud(Converted):
    """The runtime ``charliecloud``. See :class:`weftwork.ports.Runtime`."""

    name = "charliecloud"
    programs = ("ch-run", "unshare")

    def wrap(self, wrapping: Wrapping) -> tuple[Container, dict[str, str]]:
        self.refuse_gpus(wrapping)
        words = ["unshare", "--mount", "--propagation", "private", *([] if wrapping.network else ["--net"])]
        if os.getuid() != 0:
            # Without root's rights mounts belong to a user namespace; inside, the program has the user's own ids again.
            words += ["--user", "--map-root-user"]
        words += [
            "sh",
            "-c",
            _AROUND,
            "{folder}/inputs",
            "ch-run",
            "--no-passwd",
            "--private-tmp",
            "--unset-env=*",
            "--env-no-expand",
        ]
        words += [f"--uid={os.getuid()}", f"--gid={os.getgid()}", f"--cd={ROOT}/work"]
        words.append(f"--bind={{folder}}/inputs:{ROOT}/inputs")
        words += [f"--bind={{folder}}/{name}:{target}" for target, name in WRITABLE]
        # What was started in the machine's own namespace of processes is found again by this variable.
        inside = {name: plain(value) for name, value in wrapping.environment.items()} | {"WEFT_JOB": "{folder}"}
        words += [f"--set-env={plain(name)}={value}" for name, value in inside.items()]
        return Container(
            runtime=self.name,
            start=(*words, plain(wrapping.image), "--", "{command}"),
            absent=r"^ch-run\[\d+\]: error: can't execve",
            fault=r"^(ch-run\[\d+\]: error: |unshare: |mount: )",
            shell_codes=False,
        ), environment() | {"USER": os.environ.get("USER") or str(os.getuid())}


def adapter() -> Adapter:
    return without_options("runtime", "charliecloud", "Containers of Charliecloud, from folders that the home keeps.")


def make(making: Making) -> Charliecloud:
    return Charliecloud(making.images())

"""Podman: as Docker, without a daemon, and where the user is not root with the user's own ids inside."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weftwork.errors import Refused
from weftwork.ports import Wrapping
from weftwork.sites.adapters import Making, without_options
from weftwork.sites.images.stock import Stock
from weftwork.sites.runtimes.docker import Docker

if TYPE_CHECKING:
    from weftwork.formats.adapters import Adapter


class Podman(Docker):
    """The runtime ``podman``. See :class:`weftwork.ports.Runtime`."""

    name = "podman"
    absent = (
        r"^ERROR \(catatonit:\d+\): failed to exec pid1|^\[FATAL tini \(\d+\)\] exec .* failed: |"
        r"(executable file .* not found|no such file or directory|permission denied|is a directory)"
    )

    def __init__(self, stock: Stock) -> None:
        super().__init__(stock)
        self._controllers: frozenset[str] | None = None

    def user(self) -> list[str]:
        words = ["--user", f"{os.getuid()}:{os.getgid()}"]
        if os.getuid() == 0:
            return words
        # Only whoever has further ids to give may keep his own inside; to the others root inside is who they are.
        return ["--userns", "keep-id", *words] if _has_more_ids() else ["--user", "0:0"]

    def limits(self, wrapping: Wrapping) -> list[str]:
        there = self._held()
        for limit, controller in (("memory", "memory"), ("processes", "pids")):
            if getattr(wrapping.limits, limit) is not None and controller not in there:
                raise Refused(
                    f"podman cannot hold a program to its limit of {limit} here: the system gives this user no {controller} "
                    "controller (cgroup delegation); take the limit away, or choose another site"
                )
        words = super().limits(wrapping)
        return words if "cpu" in there else words[2:]

    def gpus(self, count: int) -> list[str]:
        # The names of the Container Device Interface: podman has no number of them.
        return [word for number in range(count) for word in ("--device", f"nvidia.com/gpu={number}")]

    def _held(self) -> frozenset[str]:
        """The controllers of cgroups that podman may use; those of the first version belong to root alone."""
        if self._controllers is None:
            done = self._engine.call(["info", "--format", "json"], 60)
            try:
                host: dict[str, Any] = json.loads(done.stdout)["host"]
            except (ValueError, KeyError):
                raise self._engine.unavailable(done.stderr.decode("utf-8", "replace")) from None
            there = frozenset(host.get("cgroupControllers") or ())
            old = host.get("cgroupVersion") == "v1"
            self._controllers = there | {"memory", "cpu", "pids"} if old and os.getuid() == 0 else there
        return self._controllers


def _has_more_ids() -> bool:
    """Whether the system gives this user ids beside his own (subuid(5))."""
    names = {str(os.getuid()), pwd.getpwuid(os.getuid()).pw_name}
    try:
        lines = Path("/etc/subuid").read_text().splitlines()
    except OSError:
        return False
    return any(line.partition(":")[0] in names for line in lines)


def adapter() -> Adapter:
    return without_options("runtime", "podman", "Containers of Podman.")


def make(making: Making) -> Podman:
    return Podman(making.images())

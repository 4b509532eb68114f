"""Podman: as Docker, without a daemon, and where the user is not root with the user's own ids inside."""

from __future__ import annotations

import json
import os
from typing import Any

from weftwork.errors import Refused
from weftwork.ports import Wrapping
from weftwork.sites.images.stock import Stock
from weftwork.sites.runtimes.docker import Docker


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
        return words if os.getuid() == 0 else ["--userns", "keep-id", *words]

    def limits(self, wrapping: Wrapping) -> list[str]:
        there = self._held()
        if wrapping.limits.memory is not None and "memory" not in there:
            raise Refused(
                "podman cannot hold a program to a memory limit here: the system gives this user no memory controller "
                "(cgroup delegation); take the limit away, or choose another site"
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

"""A site: where processes start (its scheduler) and what wraps them (its runtime). What a module will find there; what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from weftwork.core.checksum import Checksum
from weftwork.core.module import Command, Function, Module
from weftwork.core.placement import Resources, size_text
from weftwork.node.container import ROOT
from weftwork.node.job import Job
from weftwork.ports import Runtime, Scheduler, Wrapping
from weftwork.sites.machine import Machine

_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are in an image that says nothing of it."""


class PlacedSite:
    """See :class:`weftwork.ports.Site`. ``machine`` says what is there outside of containers."""

    def __init__(self, name: str, scheduler: Scheduler, runtime: Runtime, machine: Machine) -> None:
        self.name = name
        self.scheduler = scheduler
        self.runtime = runtime
        self._machine = machine

    def resolve(self, module: Module) -> dict[str, Any]:
        """The environment that a module will find here. Raises Refused for a program or runtime that is not there,
        :class:`~weftwork.errors.ImageFailed` for an image that cannot be had."""
        image = module.environment.image
        if image is None:
            return self._machine.resolve(module)
        out: dict[str, Any] = {"image": str(self.runtime.resolve(image).identity)}
        if module.environment.variables:
            out["variables"] = dict(module.environment.variables)
        return out

    def tools(self, environment: Mapping[str, Any]) -> dict[str, tuple[str, Checksum]]:
        """Where the counted programs lie; those of an image are a part of it."""
        return {} if "image" in environment else self._machine.tools(environment)

    def placed(self, job: Job, module: Module, environment: Mapping[str, Any], resources: Resources) -> Job:
        """The job in a container of its image, which is got here first where it is not; without an image as it is."""
        if "image" not in environment:
            return job
        image, name = self.runtime.ready(Checksum(environment["image"]))
        inside = {"PATH": _PATH, **image.environment, "HOME": f"{ROOT}/home", "TMPDIR": f"{ROOT}/tmp", "WEFT_JOB": ROOT}
        wrapping = Wrapping(
            task=job.id,
            image=name,
            environment={**inside, **job.environment},
            limits=job.limits,
            cpus=resources.cpus,
            gpus=resources.gpus,
            network=module.network,
            stdin=job.stdin is not None,
        )
        container, outside = self.runtime.wrap(wrapping)
        return replace(job, container=container, environment=outside)

    def refusal(self, module: Module, resources: Resources) -> str | None:
        return self._wrong_kind(module) or self._lacks(module) or self._too_large(resources)

    def _lacks(self, module: Module) -> str | None:
        missing = self.runtime.missing() if module.environment.image is not None else None
        return None if missing is None else f"{missing} is not on this machine: install it, or name another site"

    def _wrong_kind(self, module: Module) -> str | None:
        takes, image = self.runtime.takes, module.environment.image
        if isinstance(module.program, Function) and "call" not in self.scheduler.takes:
            return "it is a Python function, and this site takes commands and scripts alone; run it at local"
        if image is not None and "image" not in takes:
            return f"it needs the image {image}, and this site runs without containers; name another, such as docker"
        if isinstance(module.program, Function) and (image is not None or "machine" not in takes):
            return (
                "it is a Python function, and functions run on the machine's own Python for now, at the site local; only commands "
                "and scripts run in images"
            )
        if image is None and isinstance(module.program, Command) and "machine" not in takes:
            return "it declares no image, and this site runs nothing else; add `environment: {image: ...}`, or run it at local"
        return None

    def _too_large(self, resources: Resources) -> str | None:
        capacity = self.scheduler.capacity()
        for what in ("cpus", "memory", "gpus"):
            wanted, there = getattr(resources, what), getattr(capacity, what)
            if wanted is not None and there is not None and wanted > there:
                shown = size_text if what == "memory" else str
                return f"it needs {what}: {shown(wanted)}, and this machine has {shown(there)}"
        return None

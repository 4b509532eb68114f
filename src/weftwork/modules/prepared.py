"""What is to be run, once all that it names is resolved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from weftwork.core.checksum import Checksum
from weftwork.core.module import Carried, Input, Module
from weftwork.core.values import Ref, Type
from weftwork.core.workflow import Workflow

Keep = Callable[[Type, Any, str], Ref]
"""Stores a value of a declared type; the text says where it stands."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is to be run, resolved: a module, or a workflow with its modules; and what must be in the store for it."""

    name: str
    inputs: tuple[Input, ...]
    module: Module | None
    workflow: Workflow | None
    modules: Mapping[Checksum, Module]
    carried: tuple[Carried, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(each for carried in self.carried for each in carried.warnings))

    @classmethod
    def of(cls, module: Module, carried: Carried) -> Prepared:
        """A module by itself."""
        return cls(module.name, module.inputs, module, None, {module.checksum: module}, (carried,))

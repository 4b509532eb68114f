"""The part of a key that all calculations of a module at a site share: made here and nowhere else."""

from __future__ import annotations

from typing import Any

from weftwork.core.calculation import Frame
from weftwork.core.module import Module


def frame_of(module: Module, environment: dict[str, Any]) -> Frame:
    """The frame of a module in an environment that a site has resolved for it."""
    return Frame(module.checksum, module.name, module.counted_program(), environment, module.counted_outputs())

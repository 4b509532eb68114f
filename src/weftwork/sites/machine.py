"""This machine, as it is: what a module finds on it outside of containers, and how large it is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from weftwork.core.checksum import Checksum, canonical
from weftwork.core.module import Command, Function, Module
from weftwork.core.placement import Resources
from weftwork.errors import EnvironmentDiffers, Refused

HashFile = Callable[[Path], tuple[Checksum, int]]


class Machine:
    """What is installed on this machine: enough to make a key, with nothing that could run."""

    def __init__(self, hash_file: HashFile) -> None:
        self._hash = hash_file

    def resolve(self, module: Module) -> dict[str, Any]:
        """The environment that a module will find here. Raises Refused for a program that is not on this machine."""
        declared = module.environment
        out: dict[str, Any] = {}
        if isinstance(module.program, Function):
            # Imported here: commands need nothing of Python's packages.
            from weftwork.python.environment import python_environment

            out = dict(python_environment(declared.packages))
        else:
            here = os.uname()
            out = {"system": here.sysname.lower(), "machine": here.machine.lower()}
        tools = sorted({*declared.tools, *_programs(module)})
        if tools:
            out["tools"] = {tool: self._counted(module.name, tool) for tool in tools}
        files = _named_files(module)
        if files:
            out["files"] = {path: str(self._hash(Path(path))[0]) for path in files}
        if declared.variables:
            out["variables"] = dict(declared.variables)
        return out

    def _counted(self, module: str, tool: str) -> str:
        path = find_program(tool)
        if path is None:
            raise Refused(
                f"{module}: the program {tool!r} is not on this machine: it is not on the PATH; install it, or give its path",
                tool=tool,
            )
        return str(self._identity(path)[0])

    def _identity(self, path: str) -> tuple[Checksum, Checksum]:
        """What a program counts as: its content, and for an interpreter of a virtual environment what is installed there.

        The content alone is beside it.
        """
        content = self._hash(Path(os.path.realpath(path)))[0]
        installed = installed_in(path)
        return content if installed is None else Checksum.of(canonical([str(content), installed])), content

    def tools(self, environment: Mapping[str, Any]) -> dict[str, tuple[str, Checksum]]:
        """Where the counted programs lie. Raises EnvironmentDiffers for one that is no longer what was counted."""
        out = {}
        for tool, counted in (environment.get("tools") or {}).items():
            path = find_program(tool)
            if path is None:
                raise EnvironmentDiffers(
                    f"the program {tool!r} was {counted[:12]} when the key was made, and is gone now"
                )
            identity, content = self._identity(path)
            if identity != counted:
                raise EnvironmentDiffers(
                    f"the program {path} was {counted[:12]} when the key was made, and is {identity.short} now"
                )
            out[tool] = (path, content)
        return out


def _named_files(module: Module) -> list[str]:
    """Files that the words of a command name by their full path: read where they lie, so that their content counts."""
    program = module.program
    if not isinstance(program, Command):
        return []
    words = (*program.words[1:], *program.interpreter[1:])
    return sorted({word for word in words if os.path.isabs(word) and "{" not in word and os.path.isfile(word)})


def _programs(module: Module) -> list[str]:
    """The program that a command names first, unless it is a helper file of its own or a placeholder."""
    program = module.program
    if not isinstance(program, Command):
        return []
    word = program.interpreter[0] if program.script is not None else program.words[0]
    helpers = {path for path, _, _ in program.files}
    own = word.removeprefix("./") in helpers or "{" in word
    return [] if own else [word]


def find_program(name: str) -> str | None:
    """The absolute path of a program, by the PATH; its links are kept: an environment's interpreter is found by its own."""
    found = shutil.which(name)
    return None if found is None else os.path.abspath(found)


def installed_in(path: str) -> list[str] | None:
    """Names and versions in the virtual or conda environment that a program belongs to; ``None`` where it has none."""
    prefix = Path(path).parent.parent
    if (prefix / "pyvenv.cfg").exists():
        return sorted(each.name for each in prefix.glob("lib/python*/site-packages/*.dist-info"))
    if (prefix / "conda-meta").is_dir():
        return sorted(each.name for each in prefix.glob("conda-meta/*.json"))
    return None


def machine_resources() -> Resources:
    """CPUs that this process may use, memory in bytes, GPUs that the NVIDIA driver shows."""
    try:
        cpus = len(os.sched_getaffinity(0))
    except AttributeError:
        cpus = os.cpu_count() or 1
    gpus = len(list(Path("/proc/driver/nvidia/gpus").glob("*"))) if os.path.isdir("/proc/driver/nvidia/gpus") else 0
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Resources(cpus=cpus, memory=memory, gpus=gpus)

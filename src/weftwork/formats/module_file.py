"""A module file: a YAML or JSON document read into core values, with its references unresolved.

Nothing is imported and no helper file is opened here. A command becomes a :class:`~weftwork.core.module.Module` by
:meth:`ModuleFile.to_module` once its helper files are in a store; a function stays a :class:`FunctionReference`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from weftwork.core.checksum import Checksum, shorten
from weftwork.core.environment import Environment
from weftwork.core.module import Command, Input, Module, Output, nearest
from weftwork.core.placement import Resources
from weftwork.errors import Invalid
from weftwork.formats.document import Document, Problems, read
from weftwork.formats.module_keys import MODULE
from weftwork.formats.nodes import Where
from weftwork.formats.program import ProgramPart, read_program
from weftwork.formats.signature import declared_inputs, declared_outputs, read_value

_LONGEST_AMOUNT = 40


@dataclass(frozen=True, slots=True)
class FunctionReference:
    """A Python function by name: ``package.module:name``, or ``file.py:name`` relative to the document. Not imported here."""

    where: str
    name: str

    @property
    def is_file(self) -> bool:
        """Whether ``where`` is a path rather than a dotted module."""
        return self.where.endswith(".py")

    def __str__(self) -> str:
        return f"{self.where}:{self.name}"

    @staticmethod
    def of(text: str) -> FunctionReference:
        """Raises :class:`~weftwork.errors.Invalid` with what would be right."""
        where, colon, name = text.rpartition(":")
        dotted = all(part.isidentifier() for part in where.split("."))
        if (
            not colon
            or not (dotted or where.endswith(".py"))
            or not all(part.isidentifier() for part in name.split("."))
        ):
            raise Invalid(f"{text!r} does not name a function; write package.module:name, or file.py:name")
        return FunctionReference(where, name)


@dataclass(frozen=True, slots=True)
class Test:
    """Inputs and the outputs expected of them. Files are paths relative to the document; ``tolerance`` is relative."""

    __test__ = False

    outputs: Mapping[str, Any]
    inputs: Mapping[str, Any]
    tolerance: float = 0.0
    name: str = ""


@dataclass(frozen=True, slots=True)
class ModuleFile:
    """A module as its document says it, whose relative paths begin in ``folder``. ``declared`` are the keys that the document has: what a function's own
    declaration is not to be asked for. ``files`` are helper files, (path in the job, path as written)."""

    source: str
    name: str
    program: Command | FunctionReference
    inputs: tuple[Input, ...] = ()
    outputs: tuple[Output, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    environment: Environment = Environment()
    resources: Resources = Resources()
    network: bool = False
    deterministic: bool = True
    tolerance: float = 0.0
    version: str = ""
    description: str = ""
    uses: tuple[str, ...] = ()
    tests: tuple[Test, ...] = ()
    declared: frozenset[str] = frozenset()
    folder: Path = Path()

    def helper_files(self) -> dict[str, Path]:
        """Path in the job to the local path, for each helper file (or folder of them)."""
        return {target: self.folder / written for target, written in self.files}

    def to_module(self, files: Mapping[str, tuple[bool, Checksum]] | None = None) -> Module:
        """The module of a command, its helper files given as ``{path in the job: (executable, checksum)}``.

        A folder among the helper files stands for the files below it. Raises :class:`~weftwork.errors.Invalid` for a
        function, which must be resolved instead, and for a helper file that is not given.
        """
        if isinstance(self.program, FunctionReference):
            raise Invalid(f"{self.source}: {self.program} is a Python function; it is resolved, not converted")
        stored = dict(files or {})
        for target, _ in self.files:
            if not any(path == target or path.startswith(target + "/") for path in stored):
                raise Invalid(f"{self.source}: the helper file {target} is not among the stored ones")
        found = tuple((path, executable, checksum) for path, (executable, checksum) in sorted(stored.items()))
        return self._module(replace(self.program, files=found))

    def _module(self, program: Command) -> Module:
        return Module(
            self.name,
            self.inputs,
            self.outputs,
            program,
            self.environment,
            self.resources,
            self.network,
            self.deterministic,
            self.version,
            self.description,
            self.tolerance,
        )


def read_module(path: str | os.PathLike[str]) -> ModuleFile:
    """The module in a file. Raises :class:`~weftwork.errors.Invalid` with all problems, each with its line."""
    return module_of(read(path))


def module_of(document: Document) -> ModuleFile:
    """The module that a document describes."""
    problems = Problems(document)
    for path, what in MODULE.faults(document.value, ()):
        problems.add(path, what)
    problems.raise_all()
    module = build_module(document.value, (), document, problems)
    problems.raise_all()
    assert module is not None
    return module


def build_module(value: dict[str, Any], path: Where, document: Document, problems: Problems) -> ModuleFile | None:
    """The module in a mapping whose structure is sound; ``None`` and at least one problem where it cannot be."""
    before = len(problems)
    inputs = declared_inputs(value.get("inputs", {}), (*path, "inputs"), problems)
    outputs = declared_outputs(value.get("outputs", {}), (*path, "outputs"), problems)
    environment = _environment(value, path, problems)
    resources = read_resources(value.get("resources", {}), (*path, "resources"), problems)
    part: ProgramPart[Command | FunctionReference] | None
    if "function" in value:
        part = _function(value["function"], (*path, "function"), problems)
        for each in outputs:
            if each.path is not None or each.source != "path":
                problems.add((*path, "outputs", each.name, "from"), "a function returns its outputs; remove `from`")
    else:
        if "outputs" not in value:
            problems.add(path, "the key 'outputs' is missing: nothing of the command could be used or kept")
        part = read_program(value, path, inputs, outputs, problems)
    tests = _tests(value, path, inputs, outputs, problems)
    if part is None or len(problems) > before:
        return None
    module = ModuleFile(
        document.name,
        value["name"],
        part.program,
        inputs,
        outputs,
        part.files,
        environment,
        resources,
        value.get("network", False),
        value.get("deterministic", True),
        float(value.get("tolerance", 0)),
        value.get("version", ""),
        value.get("description", ""),
        tuple(value.get("uses", ())),
        tests,
        frozenset(value),
        document.folder,
    )
    return _checked(module, path, problems)


def _checked(module: ModuleFile, path: Where, problems: Problems) -> ModuleFile | None:
    """What the core itself refuses is told with the document's place, and not when the module is used."""
    if isinstance(module.program, Command):
        try:
            module._module(module.program)
        except Invalid as error:
            problems.add(path, str(error))
            return None
    return module


def _function(text: str, path: Where, problems: Problems) -> ProgramPart[FunctionReference] | None:
    try:
        return ProgramPart(FunctionReference.of(text))
    except Invalid as error:
        problems.add(path, str(error))
        return None


def _environment(value: dict[str, Any], path: Where, problems: Problems) -> Environment:
    declared = dict(value.get("environment", {}))
    variables = dict(declared.get("variables", {}))
    for name, text in value.get("env", {}).items():
        if name in variables:
            problems.add((*path, "env", name), f"{name} is in environment.variables too; say it once")
        variables[name] = text
    for name, text in variables.items():
        if "\0" in text:
            problems.add((*path, "env", name), "a variable cannot hold a NUL character")
    return Environment.of({**declared, "variables": variables})


def read_resources(value: dict[str, Any], path: Where, problems: Problems) -> Resources:
    """The resources in a mapping; each that is wrong is a problem of its own."""
    resources = Resources()
    for name, each in value.items():
        try:
            if isinstance(each, str) and len(each) > _LONGEST_AMOUNT:
                raise Invalid(f"{shorten(each)} is not an amount; write it as 2 GB or 1h30m")
            resources = resources.updated({name: each})
        except Invalid as error:
            problems.add((*path, name), str(error).removeprefix("resources: "))
        except (ValueError, OverflowError):
            problems.add((*path, name), f"{str(each)[:40]} is too large")
    return resources


def _tests(
    value: dict[str, Any],
    path: Where,
    inputs: tuple[Input, ...],
    outputs: tuple[Output, ...],
    problems: Problems,
) -> tuple[Test, ...]:
    tests = []
    open_signature = "function" in value
    known: dict[str, dict[str, Any]] = {
        "inputs": {each.name: each for each in inputs},
        "outputs": {each.name: each for each in outputs},
    }
    for index, each in enumerate(value.get("tests", ())):
        where = (*path, "tests", index)
        for part in ("inputs", "outputs"):
            for name, item in each.get(part, {}).items():
                declared = known[part].get(name)
                if declared is not None:
                    read_value(declared.type, item, (*where, part, name), problems, Path())
                elif not (open_signature and part not in value):
                    problems.add(
                        (*where, part, name), f"the module has no {part[:-1]} {name!r}{nearest(name, known[part])}"
                    )
        missing = [
            name
            for name, declared in known["inputs"].items()
            if declared.required and name not in each.get("inputs", {})
        ]
        if missing:
            problems.add(where, f"the test gives no value for {', '.join(missing)}; an input without default needs one")
        tests.append(
            Test(each["outputs"], each.get("inputs", {}), float(each.get("tolerance", 0)), each.get("name", ""))
        )
    return tuple(tests)

"""A module: a program with a typed signature. Validation of inputs against it.

A module is itself a document, named by its checksum. Three kinds of program: a Python
``function`` (its bundle), a ``command`` (words with typed placeholders, one word each) and a
``script`` (a text that gets its inputs as variables and files, never as text pasted in).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from weftwork.core.checksum import Checksum, canonical, shorten
from weftwork.core.environment import Environment
from weftwork.core.placement import Resources
from weftwork.core.values import Type, convert_all
from weftwork.errors import Invalid

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_MODULE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]*\Z")
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}")


class _Absent:
    """The default of an input that has none."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Any = _Absent()


@dataclass(frozen=True, slots=True)
class Input:
    """A declared input. ``default`` is a JSON value, :data:`ABSENT` where there is none.

    ``bound=False`` says that the program has a default of its own, which counts as part of it.
    ``filename`` is the name under which a command sees the file: the name can change what a
    program does, so it counts.
    """

    name: str
    type: Type
    default: Any = ABSENT
    bound: bool = True
    filename: str | None = None
    description: str = ""

    @property
    def required(self) -> bool:
        return self.default is ABSENT and self.bound and not self.type.optional


@dataclass(frozen=True, slots=True)
class Output:
    """A declared output. ``path`` is the pattern below the work folder that a command leaves it at,
    ``stdout`` and ``stderr`` (as ``source``) its streams; a function returns it. ``tolerance`` is that of this output
    alone, ``None`` where the module's holds. ``scratch``: its bytes are not kept once nobody needs them; made again where
    they are. Neither counts."""

    name: str
    type: Type
    path: str | None = None
    source: str = "path"
    description: str = ""
    tolerance: float | None = None
    scratch: bool = False


@dataclass(frozen=True, slots=True)
class Function:
    """A Python function: the checksum of its bundle's document (what is shipped) and its identity (what counts).

    ``returns`` says how the returned value becomes outputs: ``value`` (it is the output ``result``),
    ``fields`` (its fields are the outputs).
    """

    bundle: Checksum
    identity: Checksum
    returns: str = "value"

    def document(self) -> dict[str, Any]:
        return {"kind": "function", "bundle": str(self.bundle), "identity": str(self.identity), "returns": self.returns}

    def counted(self) -> dict[str, Any]:
        return {"kind": "function", "identity": str(self.identity), "returns": self.returns}


@dataclass(frozen=True, slots=True)
class Command:
    """A list of words with typed placeholders ``{name}`` (``{{`` is a brace), one word each; or a script.

    ``files`` are helper files, by relative path: their checksum and executable bit. ``stdin`` names the input
    that is read there. A script is run by ``interpreter`` with its inputs as variables.
    """

    words: tuple[str, ...] = ()
    script: str | None = None
    interpreter: tuple[str, ...] = ("sh",)
    files: tuple[tuple[str, bool, Checksum], ...] = ()
    stdin: str | None = None

    def document(self) -> dict[str, Any]:
        return self.counted()

    def counted(self) -> dict[str, Any]:
        out: dict[str, Any] = {"kind": "command" if self.script is None else "script"}
        if self.script is None:
            out["words"] = list(self.words)
        else:
            out |= {"script": self.script, "interpreter": list(self.interpreter)}
        if self.files:
            out["files"] = [[path, executable, str(each)] for path, executable, each in sorted(self.files)]
        if self.stdin is not None:
            out["stdin"] = self.stdin
        return out

    def placeholders(self) -> list[str]:
        """The names in the words, in order of appearance."""
        return [name for word in self.words for name in _PLACEHOLDER.findall(word) if name]


Program = Function | Command


@dataclass(frozen=True, slots=True)
class Module:
    """A program with a typed signature. Names and descriptions do not count in a key; see :meth:`counted_outputs`.

    ``deterministic`` says that equal calculations give equal results: the same bytes, or numbers whose relative
    difference is at most ``tolerance``. Neither counts.
    """

    name: str
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    program: Program
    environment: Environment = Environment()
    resources: Resources = Resources()
    network: bool = False
    deterministic: bool = True
    version: str = ""
    description: str = ""
    tolerance: float = 0.0
    _checksum: list[Checksum] = field(default_factory=list, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not _MODULE_NAME.match(self.name):
            raise Invalid(
                f"{self.name!r} is not a module name: letters, digits, '_', '-' and '.', not beginning with a digit"
            )
        for what, names in (
            ("input", [each.name for each in self.inputs]),
            ("output", [each.name for each in self.outputs]),
        ):
            for name in names:
                if not _NAME.match(name):
                    raise Invalid(
                        f"module {self.name}: {name!r} is not the name of an {what}: letters, digits and '_' are expected"
                    )
                if names.count(name) > 1:
                    raise Invalid(f"module {self.name}: two {what}s are called {name!r}")
        if not self.outputs:
            raise Invalid(f"module {self.name} has no outputs: nothing of it could be used or kept")
        for tolerance in (self.tolerance, *(each.tolerance for each in self.outputs)):
            if tolerance is not None and not (isinstance(tolerance, (int, float)) and 0 <= tolerance < math.inf):
                raise Invalid(
                    f"module {self.name}: the tolerance {shorten(tolerance)} is no number of at least 0, such as 1e-9"
                )
        if self.scratch and not self.deterministic:
            raise Invalid(
                f"module {self.name}: the output {self.scratch[0]!r} is scratch, and what is not deterministic cannot be made "
                "again: leave away `scratch`, or `deterministic: false`"
            )
        if isinstance(self.program, Command):
            self._check_command(self.program)

    @property
    def scratch(self) -> list[str]:
        """The outputs whose bytes are not kept."""
        return [each.name for each in self.outputs if each.scratch]

    def _check_command(self, program: Command) -> None:
        known = {each.name for each in self.inputs} | {each.name for each in self.outputs}
        for name in program.placeholders():
            if name not in known:
                raise Invalid(
                    f"module {self.name}: the command has {{{name}}}, which is neither an input nor an output{nearest(name, known)}"
                )

    def input(self, name: str) -> Input:
        """The declared input of that name. Raises :class:`~weftwork.errors.Invalid` with the nearest one."""
        for each in self.inputs:
            if each.name == name:
                return each
        known = [each.name for each in self.inputs]
        raise Invalid(
            f"module {self.name} has no input {name!r}{nearest(name, known)}; its inputs are {', '.join(known) or 'none'}"
        )

    def output(self, name: str) -> Output:
        """The declared output of that name."""
        for each in self.outputs:
            if each.name == name:
                return each
        known = [each.name for each in self.outputs]
        raise Invalid(
            f"module {self.name} has no output {name!r}{nearest(name, known)}; its outputs are {', '.join(known)}"
        )

    def tolerance_of(self, output: str) -> float:
        """The relative difference that the numbers of an output may have; 0 where its bytes must be the same."""
        own = self.output(output).tolerance
        return self.tolerance if own is None else own

    def counted_outputs(self) -> dict[str, Any]:
        """The outputs as they count in a key."""
        if isinstance(self.program, Function):
            return {each.name: each.type.document() for each in self.outputs}
        return {each.name: [each.type.document(), each.source, each.path or each.name] for each in self.outputs}

    def counted_program(self) -> dict[str, Any]:
        """The program as it counts in a key: with the names under which a command sees its files."""
        out = self.program.counted()
        names = {each.name: each.filename for each in self.inputs if each.filename is not None}
        if names and isinstance(self.program, Command):
            out["filenames"] = names
        return out

    def bind(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values converted to their declared types, defaults filled in; inputs whose default is the program's own stay away.

        Raises :class:`~weftwork.errors.Invalid`, naming the input, the value and what was expected.
        """
        return {
            name: column[0]
            for name, column in self.bind_columns({name: [each] for name, each in values.items()}, 1).items()
        }

    def bind_columns(self, columns: Mapping[str, Sequence[Any]], count: int) -> dict[str, list[Any]]:
        """:meth:`bind` for ``count`` calls, whose values are given input by input."""
        for name in columns:
            self.input(name)
        out: dict[str, list[Any]] = {}
        for each in self.inputs:
            where = f"{self.name}: input {each.name!r}"
            if each.name in columns:
                out[each.name] = convert_all(each.type, columns[each.name], where)
            elif each.default is not ABSENT:
                out[each.name] = convert_all(each.type, [each.default] * count, where)
            elif each.bound and each.type.optional:
                out[each.name] = [None] * count
            elif each.bound:
                raise Invalid(f"{where} is missing; a value of type {each.type} is expected")
        return out

    def document(self) -> dict[str, Any]:
        """The module as a JSON document; :attr:`checksum` names it."""
        tolerance = {"tolerance": self.tolerance} if self.tolerance else {}
        return {
            "weft": "module.v1",
            "name": self.name,
            "version": self.version,
            "description": self.description,
            "inputs": [_input_document(each) for each in self.inputs],
            "outputs": [_output_document(each) for each in self.outputs],
            "program": self.program.document(),
            "environment": self.environment.document(),
            "resources": self.resources.document(),
            "network": self.network,
            "deterministic": self.deterministic,
            **tolerance,
        }

    @property
    def checksum(self) -> Checksum:
        if not self._checksum:
            self._checksum.append(Checksum.of(canonical(self.document())))
        return self._checksum[0]

    @staticmethod
    def of(document: Mapping[str, Any]) -> Module:
        """The module that :meth:`document` wrote."""
        return Module(
            name=document["name"],
            version=document.get("version", ""),
            description=document.get("description", ""),
            inputs=tuple(_input(each) for each in document["inputs"]),
            outputs=tuple(_output(each) for each in document["outputs"]),
            program=_program(document["program"]),
            environment=Environment.of(document.get("environment")),
            resources=Resources.of(document.get("resources") or {}),
            network=bool(document.get("network", False)),
            deterministic=bool(document.get("deterministic", True)),
            tolerance=document.get("tolerance", 0.0),
        )

    def renamed(self, name: str) -> Module:
        return replace(self, name=name)


@dataclass(frozen=True, slots=True)
class Carried:
    """What must be in the store for a module to run: its bundle or helper files, as bytes; and what was noticed
    while it was made (``warnings``: clock, unseeded random, environment, subprocess, open)."""

    buffers: tuple[bytes, ...] = ()
    warnings: tuple[str, ...] = ()


def by_name(
    module: str, parameters: Sequence[str], arguments: Sequence[Any], inputs: Mapping[str, Any]
) -> dict[str, Any]:
    """Arguments given in order and by name, all by name. Raises Invalid for too many, and for one that is given twice."""
    if len(arguments) > len(parameters):
        known = ", ".join(parameters) or "none"
        raise Invalid(f"{module}: {len(arguments)} arguments are given in order, and its inputs are {known}")
    out = dict(zip(parameters, arguments, strict=False))
    for name in inputs:
        if name in out:
            raise Invalid(f"{module}: the input {name!r} is given twice, in order and by name")
    return {**out, **inputs}


def expand_word(word: str, values: Mapping[str, str]) -> str:
    """A word of a command with each ``{name}`` replaced by its value, ``{{`` and ``}}`` by a brace."""
    return _PLACEHOLDER.sub(lambda match: match[0][0] if match[1] is None else values[match[1]], word)


def nearest(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` for the nearest known name, else nothing."""
    import difflib

    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {found[0]!r}?" if found else ""


def _input_document(each: Input) -> dict[str, Any]:
    out: dict[str, Any] = {"name": each.name, "type": each.type.document()}
    if each.default is not ABSENT:
        out["default"] = each.default
    if not each.bound:
        out["bound"] = False
    if each.filename is not None:
        out["filename"] = each.filename
    if each.description:
        out["description"] = each.description
    return out


def _input(document: Mapping[str, Any]) -> Input:
    return Input(
        document["name"],
        Type.of(document["type"]),
        document.get("default", ABSENT),
        document.get("bound", True),
        document.get("filename"),
        document.get("description", ""),
    )


def _output_document(each: Output) -> dict[str, Any]:
    out: dict[str, Any] = {"name": each.name, "type": each.type.document(), "source": each.source}
    if each.path is not None:
        out["path"] = each.path
    if each.description:
        out["description"] = each.description
    if each.tolerance is not None:
        out["tolerance"] = each.tolerance
    if each.scratch:
        out["scratch"] = True
    return out


def _output(document: Mapping[str, Any]) -> Output:
    return Output(
        document["name"],
        Type.of(document["type"]),
        document.get("path"),
        document.get("source", "path"),
        document.get("description", ""),
        document.get("tolerance"),
        bool(document.get("scratch", False)),
    )


def _program(document: Mapping[str, Any]) -> Program:
    if document["kind"] == "function":
        return Function(Checksum(document["bundle"]), Checksum(document["identity"]), document.get("returns", "value"))
    return Command(
        words=tuple(document.get("words") or ()),
        script=document.get("script"),
        interpreter=tuple(document.get("interpreter") or ("sh",)),
        files=tuple((path, bool(executable), Checksum(each)) for path, executable, each in document.get("files") or ()),
        stdin=document.get("stdin"),
    )

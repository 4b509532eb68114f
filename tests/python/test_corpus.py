"""Random small packages and a random edit: the executed result decides whether the key had to change.

Ground truth is a plain import and call. Whenever any probed result differs, so must the identity; an edit of comments,
formatting, docstrings, annotations or unreached code must leave it. And what the bundle gives is what the call gave.
"""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from weftwork.core.bundle import differences
from weftwork.core.checksum import canonical, from_canonical
from weftwork.node.unbundle import load
from weftwork.python.bundling import bundle

pytestmark = pytest.mark.slow  # many short ones: together too long for a quick look

PROBES = (0, 1, 2, 5, -3)


@dataclass
class Program:
    """A generated package: the modules' text by name, and what may be edited in it."""

    files: dict[str, str]
    names: list[str] = field(default_factory=list)


class Writer:
    """Writes modules bottom up: each may use the definitions of those before it."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.count = 0
        self.available: list[tuple[str, str]] = []  # (module, callable of one int)

    def name(self, kind: str) -> str:
        self.count += 1
        return f"{kind}{self.count}"

    def number(self) -> int:
        return self.chance.randint(2, 9)

    def expression(self, callables: list[str], names: list[str]) -> str:
        parts = [f"x {self.chance.choice('+-*')} {self.number()}"]
        parts += [f"{self.chance.choice(callables)}(x % {self.number()})" for _ in range(2) if callables]
        parts += self.chance.sample(names, min(len(names), 1))
        self.chance.shuffle(parts)
        return f" {self.chance.choice('+-')} ".join(parts)

    def module(self, name: str, package: str) -> str:
        lines = [f'"""Module {name}."""', "import dataclasses", "import enum", "import functools"]
        callables: list[str] = []
        for other, function in self.chance.sample(self.available, min(3, len(self.available))):
            lines.append(self.import_of(other, function, package, callables))
        blocks, constants = [], []
        for _ in range(self.chance.randint(1, 2)):
            constant = self.name("K")
            value = self.chance.choice(
                [f"{self.number()}", f"[{self.number()}, {self.number()}][0]", f"{{'b': {self.number()}, 'a': 1}}['b']"]
            )
            blocks.append(f"{constant} = {value}")
            constants.append(constant)
        for _ in range(self.chance.randint(2, 4)):
            made, text = self.definition(callables, constants)
            blocks.append(text)
            callables.append(made)
            if re.fullmatch(r"[a-z]+\d+", made):
                self.available.append((name, made))
        return "\n".join(lines) + "\n\n\n" + "\n\n\n".join(blocks) + "\n"

    def import_of(self, other: str, function: str, package: str, callables: list[str]) -> str:
        style = self.chance.randrange(5)
        alias = self.name("alias")
        called, line = {
            0: (function, f"from {package}.{other} import {function}"),
            1: (alias, f"from .{other} import {function} as {alias}"),
            2: (f"{alias}.{function}", f"from . import {other} as {alias}"),
            3: (f"{alias}.{function}", f"import {package}.{other} as {alias}"),
            4: (f"{package}.{other}.{function}", f"import {package}.{other}"),
        }[style]
        callables.append(called)
        return line

    def definition(self, callables: list[str], constants: list[str]) -> tuple[str, str]:
        kinds = [
            self.function,
            self.closure,
            self.classes,
            self.decorated,
            self.lambdas,
            self.registry,
            self.recursive,
            self.local_import,
            self.ordered,
            self.dataclass,
            self.enum,
            self.subclasses,
        ]
        return self.chance.choice(kinds)(callables, constants)

    def function(self, callables: list[str], constants: list[str]) -> tuple[str, str]:
        name = self.name("f")
        body = self.expression(callables, constants)
        return (
            name,
            f'def {name}(x, y={self.number()}, *, z={self.number()}):\n    """Of {name}."""\n    k = {self.number()}\n    return {body} + y * z + k',
        )

    def closure(self, callables: list[str], constants: list[str]) -> tuple[str, str]:
        outer, name = self.name("make"), self.name("c")
        body = self.expression(callables, constants)
        return name, (
            f"def {outer}(a, b={self.number()}):\n    c = a + {self.number()}\n\n    def inner(x):\n        return {body} + c * b\n\n"
            f"    return inner\n\n\n{name} = {outer}({self.number()})"
        )

    def classes(self, callables: list[str], constants: list[str]) -> tuple[str, str]:
        base, cls, name = self.name("Base"), self.name("Class"), self.name("g")
        body = self.expression(callables, constants)
        return name, (
            f'class {base}:\n    """A base."""\n    scale = {self.number()}\n\n    def value(self, x):\n        return x * self.scale\n\n\n'
            f"class {cls}({base}):\n    shift = {self.number()}\n\n    def __init__(self, a):\n        self.a = a\n\n"
            f"    def value(self, x):\n        return super().value(x) + self.shift + {body}\n\n"
            f"    @property\n    def twice(self):\n        return self.a * {self.number()}\n\n\n"
            f"def {name}(x):\n    made = {cls}({self.number()})\n    return made.value(x) + made.twice"
        )

    def decorated(self, callables: list[str], constants: list[str]) -> tuple[str, str]:
        by, name = self.name("by"), self.name("d")
        body = self.expression(callables, constants)
        return name, (
            f"def {by}(k):\n    def decorate(f):\n        @functools.wraps(f)\n        def wrapper(x):\n            return f(x) * k\n\n"
            f"        return wrapper\n\n    return decorate\n\n\n@{by}({self.number()})\ndef {name}(x):\n    return {body}"
        )

    def lambdas(self, callables: list[str], constants: list[str]) -> tuple[str, str]:
        table, name = self.name("T"), self.name("h")
        body = self.expression(callables, constants)
        return name, (
            f"{table} = [lambda x: x + {self.number()}, lambda x: {body}]\n\n\n"
            f"def {name}(x):\n    return {table}[0](x) - {table}[1](x)"
        )

    def registry(self, callables: list[str], constants: list[str]) -> tuple[str, str]:
        table, one, other, name = self.name("R"), self.name("p"), self.name("q"), self.name("r")
        body = self.expression(callables, constants)
        return name, (
            f"{table} = {{}}\n\n\ndef {one}(f):\n    {table}[f.__name__] = f\n    return f\n\n\n@{one}\ndef {other}(x):\n    return {body}\n\n\n"
            f"def {name}(x):\n    return sum(f(x) for f in {table}.values()) + {self.number()}"
        )

    def recursive(self, callables: list[str], constants: list[str]) -> tuple[str, str]:
        name = self.name("s")
        body = self.expression(callables, constants)
        return (
            name,
            f"def {name}(x):\n    if x <= 0:\n        return {self.number()}\n    return {name}(x - {self.number()}) + {body}",
        )

    def local_import(self, callables: list[str], constants: list[str]) -> tuple[str, str]:
        name = self.name("t")
        if not self.available:
            return self.function(callables, constants)
        other, function = self.chance.choice(self.available)
        if f"from .{other}" == other:
            return self.function(callables, constants)
        return name, f"def {name}(x):\n    from .{other} import {function} as u\n\n    return u(x) + {self.number()}"

    def ordered(self, callables: list[str], constants: list[str]) -> tuple[str, str]:
        table, name = self.name("D"), self.name("o")
        body = self.expression(callables, constants)
        items = ", ".join(f"'{key}': {self.number()}" for key in self.chance.sample("abcdef", 3))
        return name, (
            f"{table} = {{{items}}}\n\n\n"
            f"def {name}(x):\n    found = {body}\n    for value in {table}.values():\n        found = found * 2 + value\n    return found"
        )

    def dataclass(self, callables: list[str], constants: list[str]) -> tuple[str, str]:
        cls, name = self.name("Data"), self.name("v")
        body = self.expression(callables, constants)
        return name, (
            f"@dataclasses.dataclass(order=True)\nclass {cls}:\n    a: int = {self.number()}\n    b: 'list[int]' = dataclasses.field(default_factory=lambda: [{self.number()}])\n\n"
            f"    def value(self, x):\n        return {body} + self.a * sum(self.b)\n\n\n{cls}.a = {self.number()}\n\n\n"
            f"def {name}(x):\n    return {cls}().value(x) + {cls}.a"
        )

    def enum(self, callables: list[str], constants: list[str]) -> tuple[str, str]:
        cls, name = self.name("Kind"), self.name("w")
        body = self.expression(callables, constants)
        return name, (
            f"class {cls}(enum.Enum):\n    A = {self.number()}\n    B = 'b'\n\n    def times(self, x):\n        return {body}\n\n\n"
            f"{cls}.A.weight = {self.number()}\n\n\n"
            f"def {name}(x):\n    return {cls}.A.times(x) * {cls}.A.weight + len({cls})"
        )

    def subclasses(self, callables: list[str], constants: list[str]) -> tuple[str, str]:
        base, one, other, name = self.name("Plugin"), self.name("Sub"), self.name("Sub"), self.name("n")
        body = self.expression(callables, constants)
        return name, (
            f"class {base}:\n    pass\n\n\nclass {one}({base}):\n    scale = {self.number()}\n\n\nclass {other}({base}):\n    scale = {self.number()}\n\n\n"
            f"def {name}(x):\n    found = {body}\n    for plugin in {base}.__subclasses__():\n        found = found * 2 + plugin.scale\n    return found"
        )


def write(seed: int) -> Program:
    chance = random.Random(seed)
    writer = Writer(chance)
    package = "pkg"
    files = {"__init__": ""}
    for index in range(chance.randint(2, 4)):
        files[f"m{index}"] = writer.module(f"m{index}", package)
    last = f"m{len(files) - 2}"
    own = [function for module, function in writer.available if module == last]
    calls = " + ".join(f"{function}(x)" for function in own[-2:])
    files[last] += f"\n\ndef run(x):\n    return {calls}\n"
    return Program(files)


# ---- edits: (text, chance) -> text, or None where there is nothing to edit


def _replace_one(pattern: str, text: str, chance: random.Random, new: Any) -> str | None:
    found = list(re.finditer(pattern, text, re.MULTILINE))
    if not found:
        return None
    match = chance.choice(found)
    return text[: match.start()] + new(match) + text[match.end() :]


def constant(text: str, chance: random.Random) -> str | None:
    return _replace_one(r"(?<![\w.])\d+(?!\w)", text, chance, lambda match: str(int(match.group()) + 1))


def constant_type(text: str, chance: random.Random) -> str | None:
    return _replace_one(r"(?<![\w.])\d+(?!\w)(?=$)", text, chance, lambda match: match.group() + ".0")


def operator(text: str, chance: random.Random) -> str | None:
    return _replace_one(r" [+-] ", text, chance, lambda match: {" + ": " - ", " - ": " + "}[match.group()])


def default(text: str, chance: random.Random) -> str | None:
    return _replace_one(r"(?<=[yzb]=)\d", text, chance, lambda match: str(int(match.group()) + 1))


def class_attribute(text: str, chance: random.Random) -> str | None:
    return _replace_one(r"(?<=scale = )\d|(?<=shift = )\d", text, chance, lambda match: str(int(match.group()) + 1))


def decorator_argument(text: str, chance: random.Random) -> str | None:
    return _replace_one(
        r"(?<=@by)(\d+)\((\d)\)", text, chance, lambda match: f"{match.group(1)}({int(match.group(2)) + 1})"
    )


def local_name(text: str, chance: random.Random) -> str | None:
    return text.replace("    k = ", "    kk = ").replace("* z + k", "* z + kk") if "    k = " in text else None


def dropped_call(text: str, chance: random.Random) -> str | None:
    return _replace_one(r"super\(\)\.value\(x\)", text, chance, lambda _: "x")


def swapped(text: str, chance: random.Random) -> str | None:
    """Two neighbouring items of a dict."""
    return _replace_one(r"('\w': \d+), ('\w': \d+)", text, chance, lambda match: f"{match.group(2)}, {match.group(1)}")


def late(text: str, chance: random.Random) -> str | None:
    return _replace_one(
        r"^(\w+(?:\.A)?\.\w+ = )(\d)$", text, chance, lambda match: f"{match.group(1)}{int(match.group(2)) + 1}"
    )


def unreached(text: str, chance: random.Random) -> str | None:
    return text + f"\n\ndef nobody_calls_this(x):\n    return x + {chance.randint(1, 99)}\n"


def comment(text: str, chance: random.Random) -> str | None:
    return _replace_one(r"^(.+:|.*return .*)$", text, chance, lambda match: match.group() + "  # because")


def blank_lines(text: str, chance: random.Random) -> str | None:
    return _replace_one(r"^    return ", text, chance, lambda match: "\n\n" + match.group())


def parentheses(text: str, chance: random.Random) -> str | None:
    return _replace_one(r"return ((?:x|f\d+\(x).*)$", text, chance, lambda match: f"return (\n{match.group(1)}\n)")


def docstring(text: str, chance: random.Random) -> str | None:
    return _replace_one(r'"""(Of|A|Module)', text, chance, lambda match: match.group() + " truly")


def annotation(text: str, chance: random.Random) -> str | None:
    return _replace_one(r"^def (\w+)\(x\):", text, chance, lambda match: f"def {match.group(1)}(x: int) -> 'float':")


def reordered(text: str, chance: random.Random) -> str | None:
    """Swap two neighbouring plain functions."""
    blocks = text.split("\n\n\n")
    plain = [i for i in range(len(blocks) - 1) if blocks[i].startswith("def f") and blocks[i + 1].startswith("def f")]
    if not plain:
        return None
    at = chance.choice(plain)
    blocks[at], blocks[at + 1] = blocks[at + 1], blocks[at]
    return "\n\n\n".join(blocks)


ACTIVE = [
    constant,
    constant_type,
    operator,
    default,
    class_attribute,
    decorator_argument,
    local_name,
    dropped_call,
    swapped,
    late,
]
INERT = [unreached, comment, blank_lines, parentheses, docstring, annotation, reordered]


class Runner:
    """Imports a program under its own name and runs it: the truth that the keys are held against."""

    def __init__(self, project: Any) -> None:
        self.project = project

    def run(self, program: Program) -> tuple[ModuleType, str]:
        folder: Path = self.project.folder / "pkg"
        folder.mkdir(exist_ok=True)
        for name, text in program.files.items():
            (folder / f"{name}.py").write_text(text)
        module = self.project.load(f"pkg.m{len(program.files) - 2}")
        return module, results(module.run)


def results(function: Any) -> str:
    found = []
    for probe in PROBES:
        try:
            found.append(repr(function(probe)))
        except Exception as error:
            found.append(type(error).__name__)
    return json.dumps(found)


@pytest.mark.parametrize("block", [0, *(pytest.param(block, marks=pytest.mark.slow) for block in range(1, 15))])
def test_the_result_decides_whether_the_key_had_to_change(project, block):
    runner = Runner(project)
    changed = 0
    for seed in range(block * 10, block * 10 + 10):
        program = write(seed)
        module, before = runner.run(program)
        old = bundle(module.run)
        assert results(load(from_canonical(canonical(old.document)), old.blobs.__getitem__)) == before, seed
        for edit in (*ACTIVE, *INERT):
            chance = random.Random(f"{seed} {edit.__name__}")
            name = chance.choice(sorted(program.files.keys() - {"__init__"}))
            text = edit(program.files[name], chance)
            if text is None:
                continue
            module, after = runner.run(Program({**program.files, name: text}))
            new = bundle(module.run)
            said = f"seed {seed}, {edit.__name__} in {name}"
            if after != before:
                changed += 1
                assert new.identity != old.identity, said
                assert differences(old.document, new.document), said
                assert results(load(from_canonical(canonical(new.document)), new.blobs.__getitem__)) == after, said
            if edit in INERT:
                assert after == before, said
                assert new.identity == old.identity, said
            if new.identity == old.identity:
                assert differences(old.document, new.document) == [], said
    assert changed > 10

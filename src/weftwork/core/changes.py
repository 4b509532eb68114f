"""What changed between two programs: function, file and line, and the value before and after. For ``weft why``.

Owns the comparing of two bundles' documents (:mod:`weftwork.core.bundle`). Definitions are matched by their qualified
names; what is the same however it is written is no change.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from weftwork.core import syntax
from weftwork.core.compared import LIMIT, Bundle, Values, show_bytes, title_of

What: TypeAlias = Literal[
    "constant", "code", "captured value", "default", "added", "removed", "package", "file", "setting"
]


@dataclass(frozen=True)
class Change:
    """One difference between two programs. ``before`` and ``after`` are short texts, empty where there is nothing."""

    kind: str
    """``function``, ``class``, ``value``, ``file``, ``package`` or ``program``."""
    name: str
    """Qualified, such as ``tov.pressure``."""
    file: str
    line: int
    what: What
    before: str
    after: str

    def __str__(self) -> str:
        where = f" ({self.file}:{self.line})" if self.line else f" ({self.file})" if self.file else ""
        if self.what in ("added", "removed"):
            return f"{self.kind} {self.name}{where} {self.what}"
        return f"{self.what} in {self.name}{where}: {self.before} → {self.after}"


_CAPTURED: Final = ("closure", "defaults", "kwdefaults", "attributes", "namespace", "annotations")
_PLACES: Final = frozenset({"source", "line", "column", "file", "module", "free", *_CAPTURED})


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """What changed from one bundle's document to another's; empty when their identities are equal."""
    before, after = Bundle(old), Bundle(new)
    found = list(_compare(before, after))
    if not found and any(old.get(name) != new.get(name) for name in ("codecs", "optimize", "counts")):
        texts = [str({name: d.get(name) for name in ("codecs", "optimize", "counts")}) for d in (old, new)]
        found.append(Change("program", "the program", "", 0, "setting", texts[0], texts[1]))
    if not found and "places" in new["counts"]:
        found += _moved(before, after)
    return list(dict.fromkeys(found))


def _moved(old: Bundle, new: Bundle) -> Iterator[Change]:
    """Definitions that stand elsewhere, or whose comments differ, where the program looks at these."""
    for key in sorted(old.definitions.keys() & new.definitions.keys()):
        nodes = old.nodes[old.definitions[key]], new.nodes[new.definitions[key]]
        texts = [(node.get("source"), *bundle.place(node)) for node, bundle in zip(nodes, (old, new), strict=True)]
        if texts[0] != texts[1]:
            places = [f"{file}:{line}" for _, file, line in texts]
            yield Change(nodes[1]["kind"], title_of(key), *new.place(nodes[1]), "setting", *places)


def _compare(old: Bundle, new: Bundle) -> Iterator[Change]:
    for key, index in new.definitions.items():
        node = new.nodes[index]
        if key in old.definitions:
            yield from _definition(old, old.nodes[old.definitions[key]], new, node, title_of(key))
        else:
            yield Change(node["kind"], title_of(key), *new.place(node), "added", "", _head(node))
    for key, index in old.definitions.items():
        if key not in new.definitions:
            node = old.nodes[index]
            yield Change(node["kind"], title_of(key), *old.place(node), "removed", _head(node), "")
    for name, module in new.modules.items():
        if name in old.modules:
            yield from _module(old, old.modules[name], new, module)
    yield from _others(old, new)


def _others(old: Bundle, new: Bundle) -> Iterator[Change]:
    for name in ("entry", "declared"):
        for path, before, after in Values(old, new).compare(name, old.document[name], new.document[name]):
            yield Change("program", path, "", 0, "captured value", before, after)
    yield from _settings(old, new)
    files = [{node["path"]: node for node in bundle.nodes if node["kind"] == "file"} for bundle in (old, new)]
    for path in sorted(files[0].keys() | files[1].keys()):
        texts = ["" if path not in each else show_bytes(each[path]["bytes"]) for each in files]
        if texts[0] != texts[1]:
            yield Change("file", path, path, 0, "file", texts[0], texts[1])
    packages = [set(bundle.document.get("packages", ())) for bundle in (old, new)]
    for name in sorted(packages[0] ^ packages[1]):
        texts = [name if name in each else "" for each in packages]
        yield Change("package", name, "", 0, "package", texts[0], texts[1])


def _settings(old: Bundle, new: Bundle) -> Iterator[Change]:
    """The settings of libraries, and what the project sets in them."""
    held = [{**dict(bundle.document.get("settings", ())), **_patches(bundle.document)} for bundle in (old, new)]
    values = Values(old, new)
    for name in sorted(held[0].keys() | held[1].keys()):
        one, other = held[0].get(name), held[1].get(name)
        if one == other and not (isinstance(one, dict) and "ref" in one):
            continue
        if one is None or other is None:
            texts = [values.show(side, form) if form is not None else "" for side, form in enumerate((one, other))]
            yield Change("program", name, "", 0, "setting", texts[0], texts[1])
            continue
        for path, before, after in values.fields(name, one, other):
            yield Change("program", path, "", 0, "setting", before, after)


def _patches(document: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for patch in document.get("patches", ()):
        home = next(iter(patch["in"].values()))
        parts = [
            *([home] if isinstance(home, str) else home),
            *patch["path"],
            patch.get("attribute", patch.get("item")),
        ]
        found[".".join(map(str, parts))] = patch.get("value", {"text": ""})
    return found


def _head(node: Mapping[str, Any]) -> str:
    return str(node.get("source", f"class {node['name']}")).strip().partition("\n")[0][:LIMIT]


def _module(old: Bundle, before: Mapping[str, Any], new: Bundle, after: Mapping[str, Any]) -> Iterator[Change]:
    """Names in both: what only one of them reaches shows in the code that reads it."""
    for name in sorted(before["names"].keys() & after["names"].keys()):
        title = f"{after['name']}.{name}"
        for path, one, other in Values(old, new).compare(title, before["names"][name], after["names"][name]):
            yield Change("value", path, str(after.get("file", "")), 0, "captured value", one, other)


def _definition(
    old: Bundle, before: Mapping[str, Any], new: Bundle, after: Mapping[str, Any], title: str
) -> Iterator[Change]:
    file, line = new.place(after)
    if after["kind"] == "function":
        docstrings = any("docstrings" in bundle.document["counts"] for bundle in (old, new))
        yield from _code(before, after, title, docstrings=docstrings)
    for name in _CAPTURED:
        what: What = "default" if name in ("defaults", "kwdefaults") else "captured value"
        values = Values(old, new)
        one, other = before.get(name), after.get(name)
        if name == "defaults":
            one, other = (_named_defaults(node) for node in (before, after))
        for path, first, second in values.fields(title, one or {}, other or {}):
            yield Change(after["kind"], path, file, line, what, first, second)
    rest = [{key: value for key, value in node.items() if key not in _PLACES} for node in (before, after)]
    for path, first, second in Values(old, new).fields(title, rest[0], rest[1]):
        yield Change(after["kind"], path, file, line, "code", first, second)


def _named_defaults(node: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults by the parameters that they belong to."""
    if "defaults" not in node or "source" not in node:
        return {}  # a named tuple's defaults are by name already, among the rest of its fields
    arguments = syntax.parse(node["source"], node["form"]).args
    names = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
    return dict(zip(names[len(names) - len(node["defaults"]) :], node["defaults"], strict=False))


# ---- code


def _code(before: Mapping[str, Any], after: Mapping[str, Any], title: str, *, docstrings: bool) -> Iterator[Change]:
    if (before["source"], before["form"]) == (after["source"], after["form"]):
        return
    trees = [
        syntax.normalised(
            syntax.parse(node["source"], node["form"], node.get("line", 1), node.get("column", 0)),
            docstrings=docstrings,
        )
        for node in (before, after)
    ]
    constants = list(_constants(trees[0], trees[1]))
    if any(pair is None for pair in constants):
        yield _changed_lines(trees[0], trees[1], after, title)
        return
    for pair in constants:
        if pair is not None:
            first, second = (ast.unparse(constant) for constant in pair)
            yield Change(
                "function", title, after.get("file", ""), pair[1].lineno, "constant", first[:LIMIT], second[:LIMIT]
            )


def _constants(one: Any, other: Any) -> Iterator[tuple[ast.Constant, ast.Constant] | None]:
    """The pairs of constants in which two trees differ; ``None`` where they differ in more."""
    if isinstance(one, ast.Constant) and isinstance(other, ast.Constant):
        if syntax.dump(one) != syntax.dump(other):
            yield one, other
    elif isinstance(one, ast.AST) and isinstance(other, ast.AST) and type(one) is type(other):
        for name in one._fields:
            yield from _constants(getattr(one, name, None), getattr(other, name, None))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for first, second in zip(one, other, strict=True):
            yield from _constants(first, second)
    elif one != other or type(one) is not type(other):
        yield None


def _changed_lines(one: ast.AST, other: ast.AST, after: Mapping[str, Any], title: str) -> Change:
    texts = [ast.unparse(tree).splitlines() for tree in (one, other)]
    lines = [line for line in difflib.ndiff(texts[0], texts[1]) if line[:2] in ("- ", "+ ")]
    removed = "\n".join(line[2:].strip() for line in lines if line[0] == "-")
    added = "\n".join(line[2:].strip() for line in lines if line[0] == "+")
    line = _first_changed(one, other, after.get("line", 0))
    return Change("function", title, after.get("file", ""), line, "code", removed, added)


def _first_changed(one: Any, other: Any, line: int) -> int:
    """The line, in the second tree, of the first statement in which two trees differ."""
    if isinstance(other, ast.AST):
        line = getattr(other, "lineno", line)
        if type(one) is not type(other):
            return line
        pairs = [(getattr(one, name, None), getattr(other, name, None)) for name in other._fields]
    elif isinstance(one, list) and isinstance(other, list):
        pairs = list(zip(one, other, strict=False))
    else:
        return line
    for first, second in pairs:
        if syntax.dump(first) != syntax.dump(second):
            return _first_changed(first, second, line)
    return line

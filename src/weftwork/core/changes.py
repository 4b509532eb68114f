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


_Definition: TypeAlias = tuple[str, str, str, int]
_DEFINITIONS: Final = ("function", "class")
_CAPTURED: Final = ("closure", "defaults", "kwdefaults", "attributes", "namespace", "annotations")
_PLACES: Final = frozenset({"source", "line", "column", "file", "module", "free", *_CAPTURED})
_LIMIT = 120


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """What changed from one bundle's document to another's; empty when their identities are equal."""
    before, after = _Bundle(old), _Bundle(new)
    found = list(_compare(before, after))
    if not found and any(old.get(name) != new.get(name) for name in ("codecs", "optimize", "counts")):
        texts = [str({name: d.get(name) for name in ("codecs", "optimize", "counts")}) for d in (old, new)]
        found.append(Change("program", "the program", "", 0, "setting", texts[0], texts[1]))
    return list(dict.fromkeys(found))


class _Bundle:
    """One document, with its definitions by name."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self.nodes: list[Mapping[str, Any]] = document["nodes"]
        self.definitions: dict[_Definition, int] = {}
        self.keys: dict[int, _Definition] = {}
        self.modules = {node["name"]: node for node in self.nodes if node["kind"] == "module"}
        for index, node in enumerate(self.nodes):
            if node["kind"] in _DEFINITIONS:
                self._add(index, node)

    def _add(self, index: int, node: Mapping[str, Any]) -> None:
        # A wrapper takes the name of what it wraps, and lambdas have none: the text and the order tell them apart.
        own = node["kind"] if node["kind"] == "class" else _defined_name(node)
        key = (self.module_of(node), node["qualname"], own, 0)
        while key in self.definitions:
            key = (*key[:3], key[3] + 1)
        self.definitions[key] = index
        self.keys[index] = key

    def module_of(self, node: Mapping[str, Any]) -> str:
        index = node.get("module")
        return str(self.nodes[index]["name"]) if index is not None else ""

    def place(self, node: Mapping[str, Any]) -> tuple[str, int]:
        """File and line of a definition; a class has those of its first method."""
        if node["kind"] == "function":
            return str(node.get("file", "")), int(node.get("line", 0))
        index = node.get("module")
        return (str(self.nodes[index].get("file", "")), 0) if index is not None else ("", 0)


def _defined_name(node: Mapping[str, Any]) -> str:
    if node["form"] == "lambda":
        return "<lambda>"
    return str(node["source"]).lstrip().removeprefix("async ").lstrip().removeprefix("def").partition("(")[0].strip()


def _title(key: _Definition) -> str:
    name = key[1] if key[2] in ("class", "<lambda>") or key[1].rpartition(".")[2] == key[2] else f"{key[1]} ({key[2]})"
    return f"{key[0]}.{name}" if key[0] else name


def _compare(old: _Bundle, new: _Bundle) -> Iterator[Change]:
    for key, index in new.definitions.items():
        node = new.nodes[index]
        if key in old.definitions:
            yield from _definition(old, old.nodes[old.definitions[key]], new, node, _title(key))
        else:
            yield Change(node["kind"], _title(key), *new.place(node), "added", "", _head(node))
    for key, index in old.definitions.items():
        if key not in new.definitions:
            node = old.nodes[index]
            yield Change(node["kind"], _title(key), *old.place(node), "removed", _head(node), "")
    for name, module in new.modules.items():
        if name in old.modules:
            yield from _module(old, old.modules[name], new, module)
    yield from _others(old, new)


def _others(old: _Bundle, new: _Bundle) -> Iterator[Change]:
    for name in ("entry", "declared"):
        for path, before, after in _Values(old, new).compare(name, old.document[name], new.document[name]):
            yield Change("program", path, "", 0, "captured value", before, after)
    files = [{node["path"]: node for node in bundle.nodes if node["kind"] == "file"} for bundle in (old, new)]
    for path in sorted(files[0].keys() | files[1].keys()):
        texts = ["" if path not in each else _show_bytes(each[path]["bytes"]) for each in files]
        if texts[0] != texts[1]:
            yield Change("file", path, path, 0, "file", texts[0], texts[1])
    packages = [set(bundle.document.get("packages", ())) for bundle in (old, new)]
    for name in sorted(packages[0] ^ packages[1]):
        texts = [name if name in each else "" for each in packages]
        yield Change("package", name, "", 0, "package", texts[0], texts[1])


def _head(node: Mapping[str, Any]) -> str:
    return str(node.get("source", f"class {node['name']}")).strip().partition("\n")[0][:_LIMIT]


def _module(old: _Bundle, before: Mapping[str, Any], new: _Bundle, after: Mapping[str, Any]) -> Iterator[Change]:
    """Names in both: what only one of them reaches shows in the code that reads it."""
    for name in sorted(before["names"].keys() & after["names"].keys()):
        title = f"{after['name']}.{name}"
        for path, one, other in _Values(old, new).compare(title, before["names"][name], after["names"][name]):
            yield Change("value", path, str(after.get("file", "")), 0, "captured value", one, other)


def _definition(
    old: _Bundle, before: Mapping[str, Any], new: _Bundle, after: Mapping[str, Any], title: str
) -> Iterator[Change]:
    file, line = new.place(after)
    if after["kind"] == "function":
        docstrings = any("docstrings" in bundle.document["counts"] for bundle in (old, new))
        yield from _code(before, after, title, docstrings=docstrings)
    for name in _CAPTURED:
        what: What = "default" if name in ("defaults", "kwdefaults") else "captured value"
        values = _Values(old, new)
        one, other = before.get(name), after.get(name)
        if name == "defaults":
            one, other = (_named_defaults(node) for node in (before, after))
        for path, first, second in values.fields(title, one or {}, other or {}):
            yield Change(after["kind"], path, file, line, what, first, second)
    rest = [{key: value for key, value in node.items() if key not in _PLACES} for node in (before, after)]
    for path, first, second in _Values(old, new).fields(title, rest[0], rest[1]):
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
                "function", title, after.get("file", ""), pair[1].lineno, "constant", first[:_LIMIT], second[:_LIMIT]
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


# ---- values


class _Values:
    """Compares two forms of :mod:`weftwork.core.bundle`, following their references."""

    def __init__(self, old: _Bundle, new: _Bundle) -> None:
        self._bundles = (old, new)
        self._met: set[tuple[int, int]] = set()

    def compare(self, path: str, one: Any, other: Any) -> Iterator[tuple[str, str, str]]:
        """Paths and texts of the parts in which two values differ."""
        if _is_ref(one) and _is_ref(other):
            yield from self._nodes(path, one["ref"], other["ref"])
        elif isinstance(one, dict) and isinstance(other, dict) and not _is_ref(one) and one.keys() == other.keys():
            rule = next(iter(one), "")
            same = self._same_parts(one[rule], other[rule])
            if same is None or not same:
                yield path, self.show(0, one), self.show(1, other)
        elif one != other or type(one) is not type(other) or repr(one) != repr(other):
            yield path, self.show(0, one), self.show(1, other)

    def _same_parts(self, one: Any, other: Any) -> bool:
        if isinstance(one, list) and isinstance(other, list):
            return len(one) == len(other) and all(map(self._same_parts, one, other))
        return not list(self.compare("", one, other))

    def _nodes(self, path: str, one: int, other: int) -> Iterator[tuple[str, str, str]]:
        if (one, other) in self._met:
            return
        self._met.add((one, other))
        old, new = self._bundles
        first, second = old.nodes[one], new.nodes[other]
        if first["kind"] != second["kind"]:
            yield path, self.show(0, {"ref": one}), self.show(1, {"ref": other})
        elif first["kind"] in _DEFINITIONS:
            if old.keys[one] != new.keys[other]:
                yield path, self.show(0, {"ref": one}), self.show(1, {"ref": other})
        elif first["kind"] == "array" and first != second:
            yield path, self.show(0, {"ref": one}), self.show(1, {"ref": other})
        elif first["kind"] not in ("module", "file"):
            yield from self.fields(path, _content(first), _content(second))

    def fields(self, path: str, one: Any, other: Any) -> Iterator[tuple[str, str, str]]:
        """The same for JSON values that hold forms: a node's fields, lists and dicts of forms."""
        if isinstance(one, dict) and isinstance(other, dict) and not (_is_form(one) and _is_form(other)):
            for name in sorted(one.keys() | other.keys()):
                inner = f"{path}.{name}" if name.isidentifier() else f"{path}[{name!r}]"
                if name not in one or name not in other:
                    yield (
                        inner,
                        self.show(0, one[name]) if name in one else "",
                        self.show(1, other[name]) if name in other else "",
                    )
                else:
                    yield from self.fields(inner, one[name], other[name])
        elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
            for position, (first, second) in enumerate(zip(one, other, strict=True)):
                yield from self.fields(f"{path}[{position}]", first, second)
        elif isinstance(one, list) and isinstance(other, list):
            yield path, self._items(0, one), self._items(1, other)
        else:
            yield from self.compare(path, one, other)

    def _items(self, side: int, items: list[Any]) -> str:
        return ("[" + ", ".join(self.show(side, item) for item in items) + "]")[:_LIMIT]

    def show(self, side: int, form: Any, depth: int = 3) -> str:
        """A value as short text, close to how Python writes it."""
        bundle = self._bundles[side]
        if not isinstance(form, dict):
            return (self._items(side, form) if isinstance(form, list) else repr(form))[:_LIMIT]
        if not _is_ref(form):
            return _show_inline(form, lambda inner: self.show(side, inner, depth - 1))[:_LIMIT]
        node = bundle.nodes[form["ref"]]
        kind = node["kind"]
        if kind in _DEFINITIONS:
            return f"{kind} {_title(bundle.keys[form['ref']])}"
        if kind == "module":
            return f"module {node['name']}"
        if kind == "array":
            return f"array {node.get('dtype', 'object')} {tuple(node['shape'])} {_show_bytes(node.get('bytes', {}))}"
        if kind == "cell":
            return self.show(side, node.get("value"), depth)
        if depth == 0:
            return "..."
        if "entries" in node:
            inner = ", ".join(f"{key!r}: {self.show(side, item, depth - 1)}" for key, item in node["entries"].items())
            return ("{" + inner + "}")[:_LIMIT]
        if kind in ("list", "set"):
            return ("[" + ", ".join(self.show(side, item, depth - 1) for item in node["items"]) + "]")[:_LIMIT]
        if kind == "object":
            return f"{self.show(side, node['arguments'][0] if node['arguments'] else node['callable'], 0)} instance"
        return str(kind)


def _content(node: Mapping[str, Any]) -> Any:
    """The part of a node whose paths read as Python's own: ``[0]`` of a list, ``['a']`` of a dict."""
    if node["kind"] == "cell":
        return node.get("value")
    if node["kind"] == "list":
        return node["items"]
    if node["kind"] == "dict" and "entries" in node:
        return {f" {key}".strip() if not key.isidentifier() else key: item for key, item in node["entries"].items()}
    return {name: item for name, item in node.items() if name not in ("kind", "file", "line")}


def _is_ref(form: Any) -> bool:
    return isinstance(form, dict) and form.keys() == {"ref"} and isinstance(form["ref"], int)


_FORMS: Final = frozenset(
    [
        *(
            "ref",
            "tuple",
            "frozenset",
            "bytes",
            "blob",
            "int",
            "text",
            "complex",
            "range",
            "slice",
            "decimal",
            "fraction",
        ),
        *(
            "date",
            "datetime",
            "time",
            "timedelta",
            "path",
            "regex",
            "proxy",
            "module",
            "logger",
            "member",
            "flags",
            "name",
        ),
        *("attribute", "method", "newtype", "typevar", "call", "union", "scalar", "dtype", "checksum", "own"),
    ]
)


def _is_form(form: Mapping[str, Any]) -> bool:
    return len(form) == 1 and next(iter(form)) in _FORMS


def _show_inline(form: Mapping[str, Any], show: Any) -> str:
    rule = next(iter(form), "")
    content: Any = form.get(rule)
    if rule in ("name", "attribute"):
        return ".".join(part if isinstance(part, str) else show(part) for part in content)
    if rule == "tuple":
        return "(" + ", ".join(show(item) for item in content) + ("," if len(content) == 1 else "") + ")"
    if rule == "module":
        return f"module {content}"
    if rule == "int":
        return str(int(content, 16)) if len(content) < 1000 else str(content)
    if rule in ("bytes", "blob"):
        return _show_bytes(form)
    inner = ", ".join(show(item) for item in content) if isinstance(content, list) else show(content)
    return f"{rule}({inner})"


def _show_bytes(form: Mapping[str, Any]) -> str:
    return f"sha256 {str(form['blob'])[:12]}" if "blob" in form else str(form.get("bytes", ""))[:40]

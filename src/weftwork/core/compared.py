"""Two bundles' values held against each other: where they differ, and how both read.

Owns the matching of definitions by name and the texts of captured values; :mod:`weftwork.core.changes` says what they
mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

Key: TypeAlias = tuple[str, str, str, int]
"""Module, qualified name, the name in the text, and the how-manieth of these."""

DEFINITIONS: Final = ("function", "class")
LIMIT: Final = 120
"""Texts of values are cut to so many characters."""


class Bundle:
    """One document, with its definitions by name."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self.nodes: list[Mapping[str, Any]] = document["nodes"]
        self.definitions: dict[Key, int] = {}
        self.keys: dict[int, Key] = {}
        self.modules = {node["name"]: node for node in self.nodes if node["kind"] == "module"}
        for index, node in enumerate(self.nodes):
            if node["kind"] in DEFINITIONS:
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


def title_of(key: Key) -> str:
    """A definition's name for people: ``tov.pressure``."""
    name = key[1] if key[2] in ("class", "<lambda>") or key[1].rpartition(".")[2] == key[2] else f"{key[1]} ({key[2]})"
    return f"{key[0]}.{name}" if key[0] else name


class Values:
    """Compares two forms of :mod:`weftwork.core.bundle`, following their references."""

    def __init__(self, old: Bundle, new: Bundle) -> None:
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
        elif first["kind"] in DEFINITIONS:
            if old.keys[one] != new.keys[other]:
                yield path, self.show(0, {"ref": one}), self.show(1, {"ref": other})
        elif first["kind"] == "array" and first != second:
            yield path, self.show(0, {"ref": one}), self.show(1, {"ref": other})
        elif first["kind"] not in ("module", "file"):
            yield from self._order(path, first, second)
            yield from self.fields(path, _content(first), _content(second))

    def _order(self, path: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """Two dicts with the same keys may have them in two orders."""
        if not any("order" in bundle.document["counts"] for bundle in self._bundles):
            return
        orders = [node.get("order", sorted(node.get("entries", ()))) for node in (one, other)]
        if orders[0] != orders[1] and sorted(orders[0]) == sorted(orders[1]):
            one_order, other_order = (", ".join(order)[:LIMIT] for order in orders)
            yield f"the order of {path}", one_order, other_order

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
        return ("[" + ", ".join(self.show(side, item) for item in items) + "]")[:LIMIT]

    def show(self, side: int, form: Any, depth: int = 3) -> str:
        """A value as short text, close to how Python writes it."""
        bundle = self._bundles[side]
        if not isinstance(form, dict):
            return (self._items(side, form) if isinstance(form, list) else repr(form))[:LIMIT]
        if not _is_ref(form):
            return _show_inline(form, lambda inner: self.show(side, inner, depth - 1))[:LIMIT]
        node = bundle.nodes[form["ref"]]
        kind = node["kind"]
        if kind in DEFINITIONS:
            return f"{kind} {title_of(bundle.keys[form['ref']])}"
        if kind == "module":
            return f"module {node['name']}"
        if kind == "array":
            return f"array {node.get('dtype', 'object')} {tuple(node['shape'])} {show_bytes(node.get('bytes', {}))}"
        if kind == "cell":
            return self.show(side, node.get("value"), depth)
        if depth == 0:
            return "..."
        if "entries" in node:
            inner = ", ".join(f"{key!r}: {self.show(side, item, depth - 1)}" for key, item in node["entries"].items())
            return ("{" + inner + "}")[:LIMIT]
        if kind in ("list", "set"):
            return ("[" + ", ".join(self.show(side, item, depth - 1) for item in node["items"]) + "]")[:LIMIT]
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
        return show_bytes(form)
    inner = ", ".join(show(item) for item in content) if isinstance(content, list) else show(content)
    return f"{rule}({inner})"


def show_bytes(form: Mapping[str, Any]) -> str:
    """Bytes as text: the beginning of them, or of their checksum."""
    return f"sha256 {str(form['blob'])[:12]}" if "blob" in form else str(form.get("bytes", ""))[:40]

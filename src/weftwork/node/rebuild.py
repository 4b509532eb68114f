"""The nodes of a bundle made into live objects: the inverse of the walk.

Each node is made once, when it is first needed. What can wait does: the names of a module and the cells of a function
are filled after all else, so that cycles through them are no matter.
"""

from __future__ import annotations
import __future__

import collections
import functools
import linecache
import types
from collections.abc import Callable, Mapping
from typing import Any

from weftwork.core import syntax
from weftwork.core.checksum import Checksum
from weftwork.errors import Invalid
from weftwork.node import classes, extensions, settings
from weftwork.node.state import State
from weftwork.node.values import INLINE, NODES, entries


class Rebuild:
    """One bundle being made live. ``new_module`` makes the empty module of a module's node."""

    def __init__(
        self,
        document: Mapping[str, Any],
        get_blob: Callable[[Checksum], bytes],
        new_module: Callable[[Mapping[str, Any]], types.ModuleType],
    ) -> None:
        self._document = document
        self._nodes: list[dict[str, Any]] = document["nodes"]
        self._made: dict[int, Any] = {}
        self._being_made: set[int] = set()
        self._new_module = new_module
        self._later: collections.deque[Callable[[], None]] = collections.deque()
        self.get_blob = get_blob
        self.docstrings = "docstrings" in document["counts"]

    def entry(self) -> Any:
        """The callable of the bundle, with everything that it reaches."""
        for index, node in enumerate(self._nodes):
            if node["kind"] == "module":
                self._made[index] = self._new_module(node)
        # Functions first, then plain names: what runs while classes are made may read them.
        for index, node in enumerate(self._nodes):
            if node["kind"] == "function":
                self._made[index] = self._function_shell(node)
        for index, node in enumerate(self._nodes):
            if node["kind"] == "function":
                self.later(functools.partial(self._fill_function, self._made[index], node))
        names = [
            (vars(self._made[index]), name, form)
            for index, node in enumerate(self._nodes)
            if node["kind"] == "module"
            for name, form in node["names"].items()
        ]
        for namespace, name, form in sorted(names, key=lambda item: self._effort(item[2])):
            namespace[name] = self._own(namespace, form)
        entry = self.decode(self._document["entry"])
        while self._later:
            self._later.popleft()()
        self._settings = settings.apply(self._document, self.decode)
        while self._later:
            self._later.popleft()()
        return entry

    def state(self) -> State:
        """What restores the captured state after a call, taken now."""
        state = State()
        for name, check in self._settings:
            state.add(name, check)
        for index, made in sorted(self._made.items()):
            node = self._nodes[index]
            if node["kind"] == "module":
                state.watch_names(f"names of the module {node['name']}", vars(made))
            else:
                state.watch(f"{node['kind']} {node.get('qualname', '')}".strip(), made)
        return state

    def _effort(self, form: Any) -> int:
        if not isinstance(form, dict):
            return 0
        if "ref" not in form:
            return 1
        return {"module": 0, "function": 0, "class": 2}.get(self._nodes[form["ref"]]["kind"], 1)

    @staticmethod
    def _is_own(form: Any) -> bool:
        return isinstance(form, dict) and "own" in form

    def _own(self, namespace: dict[str, Any], form: Any) -> Any:
        if self._is_own(form):
            return namespace.get(form["own"] if form["own"].startswith("__") else "__name__")
        return self.decode(form)

    def later(self, action: Callable[[], None]) -> None:
        """Do something after everything that is being made is made."""
        self._later.append(action)

    def decode(self, form: Any) -> Any:
        """The value of a form."""
        if not isinstance(form, dict):
            return form
        (rule, content), *more = form.items()
        if rule == "ref":
            return self.get(content)
        reader = INLINE.get(rule)
        if reader is None or more:
            raise Invalid(f"the bundle has a value of an unknown form: {form!r:.80}")
        return reader(self, content)

    def get(self, index: int) -> Any:
        """The object of a node."""
        if index in self._made:
            return self._made[index]
        if index in self._being_made:
            raise Invalid(f"the bundle's value {index} is needed to make itself: {self._nodes[index]['kind']}")
        self._being_made.add(index)
        node = self._nodes[index]
        maker = _MAKERS.get(node["kind"])
        if maker is None:
            raise Invalid(f"the bundle has a node of an unknown kind: {node['kind']!r}")
        made = maker(self, node, functools.partial(self._made.__setitem__, index))
        return self._made.setdefault(index, made)

    def namespace_of(self, node: Mapping[str, Any]) -> dict[str, Any]:
        """The globals of the module that a node was defined in."""
        index = node.get("module")
        return vars(self._made[index]) if index is not None else {}

    # ---- functions

    def _function_shell(self, node: Mapping[str, Any]) -> types.FunctionType:
        tree = syntax.parse(node["source"], node["form"], node.get("line", 1), node.get("column", 0))
        free = node["free"]
        code = syntax.compiled(
            syntax.normalised(tree, docstrings=self.docstrings),
            free=free,
            private=node.get("private"),
            flags=_flags(node.get("future", ())),
            filename=node.get("file", "<bundle>"),
            optimize=self._document["optimize"],
        )
        _remember_source(node)
        code = code.replace(co_qualname=node["qualname"])
        closure = tuple(self._cell(node["closure"][name]) for name in code.co_freevars)
        function = types.FunctionType(code, self.namespace_of(node), node["name"], None, closure)
        function.__qualname__ = node["qualname"]
        function.__module__ = self.namespace_of(node)["__name__"]
        return function

    def _cell(self, form: Mapping[str, int]) -> types.CellType:
        index = form["ref"]
        if index not in self._made:
            cell = self._made[index] = types.CellType()
            node = self._nodes[index]
            if "value" in node:
                self.later(lambda: setattr(cell, "cell_contents", self.decode(node["value"])))
        found: types.CellType = self._made[index]
        return found

    def _fill_function(self, function: types.FunctionType, node: Mapping[str, Any]) -> None:
        if "defaults" in node:
            function.__defaults__ = tuple(self.decode(item) for item in node["defaults"])
        if "kwdefaults" in node:
            function.__kwdefaults__ = {name: self.decode(item) for name, item in node["kwdefaults"].items()}
        for name, item in node.get("attributes", {}).items():
            function.__dict__[name] = self.decode(item)
        for name, item in node.get("annotations", []):
            function.__annotations__[name] = self.decode(item)


def _flags(names: Any) -> int:
    return functools.reduce(lambda mask, name: mask | getattr(__future__, name).compiler_flag, names, 0)


def _remember_source(node: Mapping[str, Any]) -> None:
    """Give ``linecache`` the lines that were shipped, for tracebacks; the rest of the file stays empty."""
    file, line = node.get("file", "<bundle>"), node.get("line", 1)
    lines = (" " * node["column"] if node["form"] == "lambda" else "") + node["source"]
    shipped = [text + "\n" for text in lines.rstrip("\n").split("\n")]
    known = linecache.cache.get(file)
    held = list(known[2]) if known is not None and len(known) == 4 and known[1] is None else []
    held += ["\n"] * (line - 1 + len(shipped) - len(held))
    if node["form"] != "lambda" or len(shipped) > 1 or not held[line - 1].strip():
        held[line - 1 : line - 1 + len(shipped)] = shipped
    linecache.cache[file] = (sum(map(len, held)), None, held, file)


def _instance(rebuild: Rebuild, node: Mapping[str, Any], made: Callable[[Any], None]) -> Any:
    value = rebuild.decode(node["callable"])(*(rebuild.decode(item) for item in node["arguments"]))
    made(value)
    if "state" in node:
        _set_state(rebuild, value, node["state"])
    for item in node.get("items", ()):
        value.append(rebuild.decode(item))
    for key, item in node.get("pairs", ()):
        value[rebuild.decode(key)] = rebuild.decode(item)
    return value


def _set_state(rebuild: Rebuild, value: Any, form: Mapping[str, Any]) -> None:
    if "value" in form:
        state: Any = rebuild.decode(form["value"])
    elif "parts" in form:
        state = tuple(None if part is None else entries(rebuild, part) for part in form["parts"])
    else:
        state = entries(rebuild, form)
    if hasattr(value, "__setstate__"):
        value.__setstate__(state)
        return
    attributes, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
    if attributes:
        vars(value).update(attributes)
    for name, item in (slots or {}).items():
        object.__setattr__(value, name, item)  # a frozen dataclass with slots forbids the plain way


_MAKERS: dict[str, Callable[[Rebuild, Mapping[str, Any], Callable[[Any], None]], Any]] = {
    **NODES,
    "class": classes.make_class,
    "extension": extensions.make_extension,
    "object": _instance,
    "file": lambda _, node, __: node["path"],
}

"""The walk over live objects that makes a bundle: from a function to everything that it reaches.

Functions and classes are written by definition, data by value, installed packages and the standard library by name.
A module of the project holds only those of its names that are reached. Order is canonical: names are visited sorted,
and functions in the order in which they were first met, so that equal programs give equal documents.
"""

from __future__ import annotations

import collections
import types
from collections.abc import Iterable
from typing import Any

from weftwork.core.bundle import counted
from weftwork.core.checksum import Checksum, canonical
from weftwork.errors import Refused
from weftwork.node.distributions import Origin, origin_of
from weftwork.python import inert, modules, objects, scope, source
from weftwork.python.checks import Caution
from weftwork.python.values import BY_TYPE, encode_numpy, encode_reduced

_PLAIN = frozenset({type(None), bool, float})


class Walker:
    """One walk. ``allowed`` holds what the caller declared that it may do (``"eval"``, ``"global"``, ...).

    ``declared`` holds the addresses of modules that the caller declared, and ``whole`` of those that were taken whole.
    """

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self.allowed = frozenset(allowed)
        self.nodes: list[dict[str, Any]] = []
        self.blobs: dict[Checksum, bytes] = {}
        self.packages: set[str] = set()
        self.cautions: dict[Caution, None] = {}
        self.mentions: set[str] = set()
        self.called: set[str] = set()
        self.iterates = False
        self.arrays: list[tuple[Any, dict[str, Any]]] = []
        self.whole: set[int] = set()
        self.declared: set[int] = set()
        self.functions: list[tuple[types.FunctionType, dict[str, Any]]] = []
        self.classes: list[tuple[type[Any], dict[str, Any]]] = []
        self._index: dict[int, int] = {}
        self._kept: list[Any] = []
        self._waiting: collections.deque[tuple[types.FunctionType, dict[str, Any]]] = collections.deque()
        self._reached: list[str] = []
        self._reached_from: dict[int, str] = {}
        self._function: types.FunctionType | None = None

    # ---- what the rules for values need

    def node(self, value: Any, kind: str) -> dict[str, Any]:
        """A new node for a value that has an identity of its own."""
        self._index[id(value)] = len(self.nodes)
        self._kept.append(value)  # an address names its object only while it lives
        self.nodes.append({"kind": kind})
        return self.nodes[-1]

    def ref(self, value: Any) -> dict[str, int]:
        """The reference to the value's node."""
        return {"ref": self._index[id(value)]}

    def known(self, value: Any) -> bool:
        return id(value) in self._index

    def node_of(self, value: Any) -> dict[str, Any]:
        return self.nodes[self._index[id(value)]]

    def blob(self, data: bytes) -> Checksum:
        checksum = Checksum.of(data)
        self.blobs[checksum] = data
        return checksum

    def uses_package(self, module: str) -> None:
        self.uses(origin_of(module))

    def uses(self, origin: Origin) -> None:
        """Note a distribution that the program reaches."""
        if origin.distribution is not None:
            self.packages.add(origin.distribution)

    def sort_key(self, value: Any) -> bytes:
        """The value's own bundle as text: the same in every process, whatever was met before it."""
        if type(value) in (str, int, float, bool, bytes, type(None)):
            return f"{type(value).__name__} {value!r}".encode("utf-8", "surrogatepass")
        alone = Walker(self.allowed)
        alone._reached, alone._function = list(self._reached), self._function
        entry = alone.encode(value)
        alone.finish()
        return canonical([entry, [counted(node, ("order",)) for node in alone.nodes]])

    def refused(self, what: str) -> Refused:
        """The error that says what cannot be captured, how it was reached, and what to do."""
        where = "" if self._function is None else f", read at {source.describe(self._function)}"
        path = " of ".join(reversed(self._reached)) or "the value"
        return Refused(
            f"{what} cannot be part of a program ({path}{where}); make it inside the function, or pass it as an input",
            reached=list(self._reached),
        )

    # ---- the walk

    def encode_at(self, step: str, value: Any) -> Any:
        """The form of a value that was reached by one more step, which a refusal will name."""
        self._reached.append(step)
        try:
            return self.encode(value)
        finally:
            self._reached.pop()

    def encode(self, value: Any) -> Any:
        """The JSON form of any value: plain, ``{"rule": ...}``, or a reference to its node."""
        kind = type(value)
        if kind in _PLAIN:
            return value
        index = self._index.get(id(value))
        if index is not None:
            return {"ref": index}
        rule = BY_TYPE.get(kind)
        if rule is not None:
            return rule(self, value)
        return self._encode_object(value, kind)

    def _encode_object(self, value: Any, kind: type[Any]) -> Any:
        function = unwrapped(value)
        if function is not value:
            return self.encode(function)
        if isinstance(value, types.ModuleType):
            return modules.encode_module(self, value)
        found = objects.encode(self, value)
        if found is None and kind.__module__ == "numpy":
            found = encode_numpy(self, value)
        if found is None:
            found = self._by_name(value)
        if found is None and isinstance(value, types.FunctionType):
            return self._queue(value)
        if found is None and isinstance(value, type):
            found = objects.encode_type(self, value)
        if found is None:
            found = self._library_object(value)
        return encode_reduced(self, value) if found is None else found

    def _by_name(self, value: Any) -> Any:
        if not isinstance(value, type) and not callable(value):
            return None
        name = inert.inert_name(value)
        if name is None:
            return None
        self.uses(name[2])
        return {"name": [name[0], name[1]]}

    def _library_object(self, value: Any) -> Any:
        """An object that a library keeps in its module, such as ``os.environ``, is as inert as the library."""
        name = inert.module_attribute(value)
        if name is None:
            return None
        self.uses_package(name[0])
        return {"name": list(name)}

    def _queue(self, function: types.FunctionType) -> Any:
        node = self.node(function, "function")
        if self._function is not None:
            self._reached_from[id(function)] = source.describe(self._function)
        self._waiting.append((function, node))
        self.functions.append((function, node))
        return self.ref(function)

    def finish(self) -> None:
        """Write every function that was met: their bodies wait, so that long chains of calls do not nest."""
        while self._waiting:
            function, node = self._waiting.popleft()
            self._function, self._reached = function, []
            self._fill(function, node)
        self._function = None

    def _fill(self, function: types.FunctionType, node: dict[str, Any]) -> None:
        definition = source.locate(function, self._reached_from.get(id(function), ""))
        code = function.__code__
        node.update(
            name=function.__name__,
            qualname=function.__qualname__,
            module=modules.module_index(self, function.__globals__),
            form=definition.form,
            source=definition.source,
            file=definition.file,
            line=definition.line,
            column=definition.column,
            free=list(code.co_freevars),
        )
        if definition.private is not None:
            node["private"] = definition.private
        flags = source.future_names(code)
        if flags:
            node["future"] = flags
        self._fill_state(function, node)
        scope.read(self, function, definition, node)

    def _fill_state(self, function: types.FunctionType, node: dict[str, Any]) -> None:
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        node["closure"] = {name: self._cell(name, cell) for name, cell in sorted(cells)}
        if function.__defaults__ is not None:
            node["defaults"] = [self.encode_at("a default", item) for item in function.__defaults__]
        if function.__kwdefaults__:
            items = sorted(function.__kwdefaults__.items())
            node["kwdefaults"] = {name: self.encode_at(f"the default of {name}", item) for name, item in items}
        if function.__dict__:
            items = sorted(function.__dict__.items())
            node["attributes"] = {name: self.encode_at(f"the attribute {name}", item) for name, item in items}

    def _cell(self, name: str, cell: types.CellType) -> Any:
        if self.known(cell):
            return self.ref(cell)
        node = self.node(cell, "cell")
        try:
            content = cell.cell_contents
        except ValueError:
            return self.ref(cell)
        node["value"] = self.encode_at(f"the enclosing variable {name}", content)
        return self.ref(cell)


def unwrapped(value: Any) -> Any:
    """The function of a Weftwork module (calling a module inside a module is a plain call); else the value itself."""
    if isinstance(value, type):
        return value
    if "__weft_function__" in getattr(value, "__dict__", ()) or hasattr(type(value), "__weft_function__"):
        return value.__weft_function__
    return value

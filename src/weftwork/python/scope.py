"""The names that a function reads, and what it may not do with them.

Owns name → definition. A chain such as ``helpers.solve`` is followed through modules to what it names; a project
module that is itself passed around is taken whole; a library's module is a name, and its distribution is noted.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import os
import sys
import types
from typing import TYPE_CHECKING, Any, Final

from weftwork.errors import Refused
from weftwork.node.distributions import origin_of
from weftwork.python import checks, inert, modules
from weftwork.python.reads import Chain, Import, Reads, constant_argument, reads_of
from weftwork.python.source import Definition

if TYPE_CHECKING:
    from weftwork.python.walk import Walker

_MISSING: Final = object()
_BUILTINS: Final = dict(vars(builtins))
_INTERACTIVE: Final = frozenset({"_", "input", "display", "get_ipython", "__IPYTHON__", "exit", "quit", "copyright", "credits", "license", "help"})  # fmt: skip
"""What a prompt or a notebook adds to the builtins or replaces there."""


def read(walker: Walker, function: types.FunctionType, definition: Definition, node: dict[str, Any]) -> None:
    """Write all that a function reads from its module, from others, and through its own imports.

    Raises :class:`~weftwork.errors.Refused` for what the key rules refuse and ``walker.allowed`` does not allow.
    """
    _Scope(walker, function, definition, node).read()


class _Scope:
    def __init__(
        self, walker: Walker, function: types.FunctionType, definition: Definition, node: dict[str, Any]
    ) -> None:
        self._walker = walker
        self._namespace = function.__globals__
        self._name = function.__qualname__
        self._definition = definition
        self._node = node
        self._reads: Reads = reads_of(definition, function.__code__)
        self._cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        self._imported: dict[str, Any] = {}
        # A library's own closure is held to the library's rules, not to ours.
        self._strict = origin_of(str(self._namespace.get("__name__", "__main__"))).walked

    def read(self) -> None:
        self._walker.mentions |= self._reads.mentions | self._reads.globals
        self._walker.called |= self._reads.called
        self._walker.iterates |= self._reads.iterates
        if self._strict:
            self._check_writes()
        for item in self._reads.imports:
            self._import(item)
        if self._strict:
            self._check_computed()
        for name in sorted(self._reads.globals):
            self._global(name)
        for name in sorted(self._reads.texts - self._reads.globals):
            if name in self._namespace:  # a text that a library evaluates, such as DataFrame.query("x > @LIMIT")
                self._global(name)
        for chain in sorted(set(self._reads.chains), key=lambda chain: (chain.root, chain.attributes, chain.line)):
            self._chain(chain)
        if self._strict:
            self._cautions()

    def _refuse(self, what: str, line: int, allow: str) -> None:
        if allow in self._walker.allowed or what in self._walker.allowed:
            return
        raise Refused(
            f"{what} in {self._name} ({self._definition.file}:{line}) cannot be followed: {allow!r} is not declared; "
            f"write it without, or declare it with uses=[{allow!r}] and what it reaches with it",
            function=self._name,
            file=self._definition.file,
            line=line,
        )

    # ---- refused unless declared

    def _check_writes(self) -> None:
        for name, line in self._reads.written.items():
            if name not in self._walker.allowed:
                self._refuse(f"the write to the global {name!r}", line, "global")

    def _check_computed(self) -> None:
        for name in sorted({"__globals__", "f_globals"} & self._reads.mentions):
            self._refuse(f"{name}, which {checks.REFUSED_BUILTINS['globals']},", self._definition.line, "globals")
        for chain in self._reads.computed:
            target = self._live(chain)
            if not isinstance(target, types.ModuleType) or id(target) in self._walker.declared:
                continue
            if origin_of(target.__name__, target).walked:
                self._refuse(
                    f"an attribute of the module {target.__name__!r} with a computed name", chain.line, "getattr"
                )

    # ---- names

    def _global(self, name: str) -> None:
        value = self._namespace.get(name, _MISSING)
        if value is _MISSING:
            if name in checks.REFUSED_BUILTINS and hasattr(builtins, name) and self._strict:
                self._refuse(f"{name}(), which {checks.REFUSED_BUILTINS[name]},", self._line_of(name), name)
            self._builtin(name)
            return
        if isinstance(value, types.ModuleType):
            modules.link(self._walker, self._namespace, name, value)  # the chains tell what is read of it
            return
        modules.require(self._walker, self._namespace, name)

    def _builtin(self, name: str) -> None:
        """What somebody put among the builtins is a global of its readers."""
        value = vars(builtins).get(name, _MISSING)
        if value is _BUILTINS.get(name, _MISSING) and not modules.of_project(value):
            return
        if value is not _MISSING and name not in _INTERACTIVE and self._strict:
            modules.require(self._walker, self._namespace, name, value)

    def _line_of(self, name: str) -> int:
        return next((chain.line for chain in self._reads.chains if chain.root == name), self._definition.line)

    def _live(self, chain: Chain) -> Any:
        """The live object that a chain names, as far as modules and classes tell."""
        found = self._root(chain.root)
        for attribute in chain.attributes:
            if isinstance(found, types.ModuleType):
                found = vars(found).get(attribute, _MISSING)
            elif isinstance(found, type):
                found = getattr(found, attribute, _MISSING)
            else:
                return _MISSING
        return found

    def _root(self, name: str) -> Any:
        if name in self._imported:
            return self._imported[name]
        if name in self._cells:
            try:
                return self._cells[name].cell_contents
            except ValueError:
                return _MISSING
        if name in self._reads.globals:
            return self._namespace.get(name, getattr(builtins, name, _MISSING))
        return _MISSING

    def _chain(self, chain: Chain) -> None:
        root = self._root(chain.root)
        if root is _MISSING:
            return
        if isinstance(root, types.ModuleType):
            self._follow(root, chain)
        elif self._strict:
            self._library_name(root, chain, chain.attributes)

    def _follow(self, module: types.ModuleType, chain: Chain, *, whole: bool = True) -> None:
        """Write what a chain reads of a module, and of the modules that it leads through.

        A module at its end is used in ways that cannot be seen and taken ``whole``, unless it was only imported.
        """
        rest = chain.attributes
        while rest and origin_of(module.__name__, module).walked and not modules.is_extension(module):
            namespace, name, rest = vars(module), rest[0], rest[1:]
            if chain.stored and not rest:
                self._refuse(f"the write to {module.__name__}.{name}", chain.line, "global")
            if name not in namespace and "__getattr__" in namespace:
                name = "__getattr__"
            value = namespace.get(name, _MISSING)
            if value is _MISSING:
                if name == "__dict__":
                    modules.whole(self._walker, module)
                return
            if not isinstance(value, types.ModuleType):
                modules.require(self._walker, namespace, name)
                if self._strict:
                    self._library_name(value, chain, rest)
                return
            modules.link(self._walker, namespace, name, value)
            module = value
        self._module_end(module, chain, rest, whole=whole)

    def _module_end(self, module: types.ModuleType, chain: Chain, rest: tuple[str, ...], *, whole: bool) -> None:
        if origin_of(module.__name__, module).walked and not modules.is_extension(module):
            if whole:
                modules.encode_module(self._walker, module)
            return
        self._walker.uses(origin_of(module.__name__, module))
        if not rest:
            return
        value = vars(module).get(rest[0], _MISSING)
        while isinstance(value, types.ModuleType) and len(rest) > 1:
            self._walker.uses(origin_of(value.__name__, value))
            module, rest = value, rest[1:]
            value = vars(module).get(rest[0], _MISSING)
        self._check_replaced(module, rest[0], value, chain)
        if self._strict:
            self._named(f"{module.__name__}." + ".".join(rest), chain)

    def _check_replaced(self, module: types.ModuleType, name: str, value: Any, chain: Chain) -> None:
        home = value.__globals__.get("__name__", "") if isinstance(value, types.FunctionType) else ""
        if home and self._strict and origin_of(str(home)).walked:
            self._refuse(f"{module.__name__}.{name}, which project code ({home}) replaced,", chain.line, "replaced")

    def _library_name(self, value: Any, chain: Chain, rest: tuple[str, ...]) -> None:
        if value is os.environ:
            self._named("os.environ", chain)
            return
        if not callable(value):
            return
        found = inert.inert_name(value)
        if found is not None:
            name = "open" if value is open else f"{found[0]}.{found[1]}"
            self._named(".".join((name, *rest)), chain)

    # ---- imports inside the function

    def _import(self, item: Import) -> None:
        name = self._absolute(item)
        top = name.partition(".")[0]
        module = self._import_live(name)
        if module is None:
            self._walker.uses(origin_of(top))
            return
        if item.name is None:
            self._imported[item.bound] = module if item.aliased else sys.modules.get(top, module)
        else:
            value = vars(module).get(item.name, _MISSING)
            if value is _MISSING:
                value = self._import_live(f"{name}.{item.name}") or _MISSING
            self._imported[item.bound] = value
        self._note_import(item, name, module)

    def _note_import(self, item: Import, name: str, module: types.ModuleType) -> None:
        form, is_project = modules.reference(self._walker, module)
        if not is_project and not (isinstance(form, dict) and "ref" in form):
            return
        self._node.setdefault("imports", {})["." * item.level + item.module] = form
        # ``import a.b`` also binds b in a, and a in the function.
        parts = name.split(".")
        for index in range(1, len(parts)):
            parent, child = sys.modules.get(".".join(parts[:index])), sys.modules.get(".".join(parts[: index + 1]))
            if parent is not None and child is not None:
                modules.link(self._walker, vars(parent), parts[index], child)
        if item.name is not None and is_project:
            self._follow(module, Chain(item.bound, (item.name,), item.line), whole=False)

    def _absolute(self, item: Import) -> str:
        if not item.level:
            return item.module
        package = str(self._namespace.get("__package__") or "")
        try:
            return importlib.util.resolve_name("." * item.level + item.module, package)
        except ImportError:
            return item.module

    def _import_live(self, name: str) -> types.ModuleType | None:
        """The live module. Libraries are not imported for this; the project's own must be, to be walked."""
        module = sys.modules.get(name)
        if module is not None or not name:
            return module
        if not origin_of(name.partition(".")[0]).walked:
            return None
        try:
            return importlib.import_module(name)
        except ImportError:
            return None  # optional there, or failing there as it would here

    # ---- library names that are refused or worth a word

    def _named(self, dotted: str, chain: Chain) -> None:
        if dotted in checks.COMPUTED_IMPORTS:
            self._computed_import(dotted, chain)
        for name, why in checks.REFUSED_NAMES.items():
            if dotted == name or dotted.startswith(name + "."):
                self._refuse(f"{name}, which {why},", chain.line, name.rpartition(".")[2])
        found = checks.caution(dotted, chain)
        if found is not None and (found[0] != "environment" or dotted in checks.SURROUNDINGS):
            self._caution(found[0], found[1], chain.line)
        elif found is not None and not self._environment_named():
            self._caution("environment", dotted, chain.line)

    def _computed_import(self, dotted: str, chain: Chain) -> None:
        if chain.call is None or not isinstance(constant_argument(chain.call), str):
            self._refuse(f"{dotted} with a computed name", chain.line, "import_module")
            return
        name = str(constant_argument(chain.call))
        module = self._import_live(name)
        if module is None:
            self._walker.uses(origin_of(name.partition(".")[0]))
        else:
            form = modules.encode_module(self._walker, module)
            self._node.setdefault("imports", {})[name] = form

    def _environment_named(self) -> bool:
        return bool(checks.environment_variables(self._definition.node))

    def _cautions(self) -> None:
        node = self._definition.node
        touches = {"environ", "getenv"} & (self._reads.mentions | self._reads.globals)
        for name, line in checks.environment_variables(node) if touches else ():
            self._caution("environment", name, line)
        for what, line in checks.opened_paths(node) if checks.OPENING_METHODS & self._reads.mentions else ():
            self._caution("open", what, line)

    def _caution(self, kind: checks.CautionKind, what: str, line: int) -> None:
        self._walker.cautions[checks.Caution(kind, what, self._name, self._definition.file, line)] = None

"""The syntax of one Python definition: parsed from its source, normalised, named by a checksum, compiled.

Owns the rule of what in a definition's text counts. Comments, formatting, docstrings, annotations that no call
evaluates, decorators and default expressions do not: the *values* that decorators and defaults produced are captured
with the live object. The same normalised tree is fingerprinted (:func:`fingerprint`) and compiled (:func:`compiled`),
so that what is hashed is what is run.
"""

from __future__ import annotations

import ast
import copy
import functools
import json
from collections.abc import Sequence
from types import CodeType
from typing import Any, Literal, TypeAlias

from weftwork.core.checksum import Checksum
from weftwork.errors import Invalid

Form: TypeAlias = Literal["def", "lambda"]
Definition: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

_OUTER = "__weft_outer__"


def parse(source: str, form: str, line: int = 1, column: int = 0) -> Definition:
    """The tree of one definition, positioned as in its own file.

    ``source`` is whole lines for a ``def`` (indented as they were) and the bare expression for a ``lambda``, which
    began at ``line`` and byte ``column``. Raises :class:`~weftwork.errors.Invalid` when it is not one definition.
    """
    try:
        if form == "lambda":
            return _parse_lambda(source, line, column)
        return _parse_def(source, line)
    except (SyntaxError, ValueError) as error:
        raise Invalid(f"the source of a definition in the bundle cannot be read: {error}: {source[:80]!r}") from None


def _parse_def(source: str, line: int) -> Definition:
    indented = source[:1] in (" ", "\t")
    tree = ast.parse("if 1:\n" + source if indented else source)
    statement: ast.stmt | None = tree.body[0] if len(tree.body) == 1 else None
    if indented and isinstance(statement, ast.If) and len(statement.body) == 1:
        statement = statement.body[0]
    if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        raise ValueError("exactly one def is expected")
    return ast.increment_lineno(statement, line - (2 if indented else 1))


def _parse_lambda(source: str, line: int, column: int) -> Definition:
    expression = ast.parse("(\n" + " " * column + source + "\n)", mode="eval").body
    if not isinstance(expression, ast.Lambda):
        raise ValueError("a lambda is expected")
    return ast.increment_lineno(expression, line - 2)


class _Normalise(ast.NodeTransformer):
    """Drops docstrings, and annotations of local variables, which are never evaluated."""

    def __init__(self, *, docstrings: bool) -> None:
        self._docstrings = docstrings
        self._in_class = False

    def _body(self, node: Any, *, in_class: bool) -> Any:
        body = node.body
        if not self._docstrings and ast.get_docstring(node, clean=False) is not None:
            body = body[1:] or [ast.copy_location(ast.Pass(), body[0])]
        outside, self._in_class = self._in_class, in_class
        node.body = [self.visit(statement) for statement in body]
        self._in_class = outside
        return node

    def _definition(self, node: Any) -> Any:
        node.args = self.visit(node.args)
        node.decorator_list = [self.visit(decorator) for decorator in node.decorator_list]
        return self._body(node, in_class=False)

    visit_FunctionDef = visit_AsyncFunctionDef = _definition  # noqa: N815

    def visit_ClassDef(self, node: ast.ClassDef) -> Any:
        node.bases = [self.visit(base) for base in node.bases]
        node.keywords = [self.visit(keyword) for keyword in node.keywords]
        node.decorator_list = [self.visit(decorator) for decorator in node.decorator_list]
        return self._body(node, in_class=True)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        self.generic_visit(node)
        if self._in_class:
            return node
        if node.value is not None:
            return ast.copy_location(ast.Assign(targets=[node.target], value=node.value), node)
        # ``x: int`` alone still makes x a local variable.
        node.annotation = ast.copy_location(ast.Constant(None), node)
        return node


def normalised(node: Definition, *, docstrings: bool = False) -> Definition:
    """The tree with all that does not count removed. The argument is left as it was."""
    node = stripped(copy.deepcopy(node))
    tree: Definition = _Normalise(docstrings=docstrings).visit(node)
    return tree


def stripped(node: Definition) -> Definition:
    """Remove, in place, what belongs to the place of definition and not to a call: decorators, defaults, annotations."""
    arguments = node.args
    arguments.defaults = []
    arguments.kw_defaults = [None] * len(arguments.kwonlyargs)
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg):
        if argument is not None:
            argument.annotation = None
    if not isinstance(node, ast.Lambda):
        node.decorator_list = []
        node.returns = None
        if hasattr(node, "type_params"):
            node.type_params = []
    return node


_IGNORED_FIELDS = frozenset({"ctx", "kind", "type_comment", "type_ignores"})


def _constant(value: Any) -> list[Any]:
    kind = type(value).__name__
    if isinstance(value, bool) or value is None or value is Ellipsis:
        return [kind, repr(value)]
    if isinstance(value, int):
        return [kind, hex(value)]
    if isinstance(value, str):
        return [kind, value]
    if isinstance(value, bytes):
        return [kind, value.hex()]
    if isinstance(value, complex):
        return [kind, repr(value.real), repr(value.imag)]
    return [kind, repr(value)]


def dump(node: Any) -> Any:
    """The tree as nested lists. Empty fields are left out, which is what keeps it the same across Python versions."""
    if isinstance(node, ast.Constant):
        return ["Constant", *_constant(node.value)]
    if isinstance(node, ast.AST):
        found: list[Any] = [type(node).__name__]
        for name in node._fields:
            item = getattr(node, name, None)
            if item is None or item == [] or name in _IGNORED_FIELDS:
                continue
            found.append([name, dump(item)])
        return found
    if isinstance(node, list):
        return [dump(item) for item in node]
    return node


@functools.lru_cache(maxsize=4096)
def fingerprint(source: str, form: str, *, docstrings: bool = False) -> Checksum:
    """The checksum of what counts in a definition's source. The function's name is no part of it."""
    node = normalised(parse(source, form), docstrings=docstrings)
    if not isinstance(node, ast.Lambda):
        node.name = ""
    return Checksum.of(json.dumps(dump(node), separators=(",", ":")).encode("ascii"))


def compiled(
    node: Definition,
    *,
    free: Sequence[str],
    private: str | None,
    flags: int,
    filename: str,
    optimize: int = -1,
    imported: Sequence[str] = (),
) -> CodeType:
    """The code object of a definition as its own file would have made it.

    ``free`` names its closure cells, ``private`` the class whose name mangles ``__names`` in it, ``flags`` the
    ``__future__`` features of its file. ``imported`` names what its file imports: the compiler calls attributes of
    these in another way, to the same effect. Decorators and defaults must have been removed (:func:`stripped`).
    """
    inner: ast.stmt = ast.copy_location(ast.Expr(node), node) if isinstance(node, ast.Lambda) else node
    name = "<lambda>" if isinstance(node, ast.Lambda) else node.name
    body = [inner]
    # What the wrapper itself binds must not capture a global of the same name.
    bound = set() if isinstance(node, ast.Lambda) else {name}
    parameters = list(free)
    if private is not None:
        body = [ast.ClassDef(name=private, bases=[], keywords=[], body=body, decorator_list=[])]
        bound = {private}
        parameters = [parameter for parameter in free if parameter != "__class__"]
    hidden = sorted(bound - set(free))
    if hidden:
        body.insert(0, ast.Global(names=hidden))
    arguments = ast.arguments(
        posonlyargs=[],
        args=[ast.arg(arg=parameter) for parameter in parameters],
        kwonlyargs=[],
        kw_defaults=[],
        defaults=[],
    )
    outer = ast.FunctionDef(name=_OUTER, args=arguments, body=body, decorator_list=[])
    imports = [ast.Import(names=[ast.alias(name=item)]) for item in imported]
    module = ast.fix_missing_locations(ast.Module(body=[*imports, outer], type_ignores=[]))
    code: CodeType = compile(module, filename, "exec", flags=flags, dont_inherit=True, optimize=optimize)
    for layer in (_OUTER, *([private] if private is not None else []), name):
        code = next(item for item in code.co_consts if isinstance(item, CodeType) and item.co_name == layer)
    return code

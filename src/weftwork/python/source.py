"""Where a live function was defined: its source, its tree, and the proof that they are what runs.

Owns finding and checking. A definition is accepted only when its source, compiled again, gives the code object that
the live function has; a file that was edited after its import is refused by name.
"""

from __future__ import annotations
import __future__

import ast
import contextlib
import functools
import linecache
import os
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import CodeType, FunctionType, ModuleType
from typing import Any

from weftwork.core import syntax
from weftwork.errors import Refused
from weftwork.python import stores as seen

_FUTURE = functools.reduce(
    lambda mask, name: mask | getattr(__future__, name).compiler_flag, __future__.all_feature_names, 0
)
_NESTED, _METHOD = 0x10, 0x8000000
_SAME = (
    "co_code", "co_names", "co_varnames", "co_freevars", "co_cellvars",
    "co_argcount", "co_posonlyargcount", "co_kwonlyargcount", "co_exceptiontable",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Definition:
    """One ``def`` or ``lambda``: its text and tree (as written, positioned in its file)."""

    node: syntax.Definition
    source: str
    form: syntax.Form
    file: str
    line: int
    column: int
    private: str | None
    imported: tuple[str, ...] = ()
    """The names that its file imports."""
    cache: dict[str, Any] = field(default_factory=dict)
    """For readers of the tree, to keep what they found; it lives as long as this version of the file."""


@dataclass(frozen=True)
class _File:
    """The definitions of one version of one file, by the line where their code begins and by name."""

    by_line: dict[int, list[Definition]]
    by_name: dict[str, list[Definition]]
    tree: ast.Module
    text: str

    @functools.cached_property
    def stores(self) -> tuple[seen.Store, ...]:
        """What is set in things that names of the module lead to."""
        return seen.stores(self.tree)

    @functools.cached_property
    def calls(self) -> tuple[seen.Store, ...]:
        """Calls made for their effect while it is imported."""
        return seen.calls(self.tree)

    @functools.cached_property
    def rewritten(self) -> tuple[CodeType, ...]:
        """The code objects of the file as pytest compiles it."""
        hook: Any = sys.modules.get("_pytest.assertion.rewrite")
        if hook is None:
            return ()
        tree = ast.parse(self.text)
        hook.rewrite_asserts(tree, self.text.encode())
        return tuple(_codes(compile(tree, "<rewritten>", "exec", dont_inherit=True)))

    @functools.cached_property
    def imports(self) -> tuple[tuple[str, int, tuple[str, ...]], ...]:
        return seen.imports(self.tree)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def describe(function: FunctionType) -> str:
    """``file:line, function`` for messages."""
    code = function.__code__
    return f"{code.co_filename}:{code.co_firstlineno}, in {function.__qualname__}"


def locate(function: FunctionType, reached_from: str = "") -> Definition:
    """The definition of a live function; ``reached_from`` says what reads it, for messages.

    Raises :class:`~weftwork.errors.Refused` when there is no source, or when it is not what runs.
    """
    code = function.__code__
    found = _located.get(id(code))
    file = _read(code.co_filename, function.__globals__)
    if found is not None and found[0] is code and found[1] is file:
        return found[2]
    if file is None:
        reader = f", read at {reached_from}" if reached_from else ""
        raise Refused(
            f"{function.__qualname__} has no source that can be read ({code.co_filename}{reader}); "
            "define it in a file or a notebook cell, not with exec or python -c",
            function=function.__qualname__,
            file=code.co_filename,
        )
    definition = _matching(function, file)
    if len(_located) > 10_000:  # a notebook that defines its functions again and again
        _located.clear()
    _located[id(code)] = (code, file, definition)
    return definition


_located: dict[int, tuple[CodeType, _File, Definition]] = {}


def _matching(function: FunctionType, file: _File) -> Definition:
    code = function.__code__
    at_line = file.by_line.get(code.co_firstlineno, [])
    candidates = [item for item in at_line if _name(item.node) == code.co_name]
    # An edit above it moves a definition without changing it.
    candidates += [item for item in file.by_name.get(code.co_name, []) if item not in candidates]
    matches = [item for item in candidates if _is(item, code)]
    if not matches and any(name.startswith("@py") for name in code.co_names):
        matches = [item for item in candidates if _is_rewritten(item, code, file)]
    if not matches:
        where = f"{code.co_filename}:{code.co_firstlineno}"
        raise Refused(
            f"{function.__qualname__} ({where}) was edited since import: its source is no longer what runs; "
            "import it again (restart the process, or run the cell) and submit again",
            function=function.__qualname__,
            file=code.co_filename,
            line=code.co_firstlineno,
        )
    # Lambdas that share a line and a code object are told apart by position, for tracebacks; either would do.
    return next((item for item in matches if _positioned(item, code)), matches[0])


def _name(node: syntax.Definition) -> str:
    return "<lambda>" if isinstance(node, ast.Lambda) else node.name


def _compiled(item: Definition, code: CodeType) -> Iterator[CodeType]:
    """What the source gives when it is compiled as its file was, and as a statement by itself, as notebooks do."""
    node = syntax.stripped(syntax.parse(item.source, item.form, item.line, item.column))
    for imported in (item.imported, ()) if item.imported else ((),):
        with contextlib.suppress(SyntaxError, StopIteration):
            yield syntax.compiled(
                node,
                free=code.co_freevars,
                private=item.private,
                flags=future_flags(code),
                filename=code.co_filename,
                imported=imported,
            )


def _is(item: Definition, code: CodeType) -> bool:
    return any(same_code(again, code) for again in _compiled(item, code))


def _is_rewritten(item: Definition, code: CodeType, file: _File) -> bool:
    """Whether this is the definition with its asserts rewritten by pytest, which changes what they tell alone."""
    return any(again.co_firstlineno == code.co_firstlineno and same_code(again, code) for again in file.rewritten)


def _positioned(item: Definition, code: CodeType) -> bool:
    return any(list(again.co_positions()) == list(code.co_positions()) for again in _compiled(item, code))


def future_flags(code: CodeType) -> int:
    """The ``__future__`` features that a code object was compiled with."""
    return code.co_flags & _FUTURE


def same_code(one: CodeType, other: CodeType) -> bool:
    """Whether two code objects do the same, wherever they were written."""
    if any(getattr(one, name) != getattr(other, name) for name in _SAME):
        return False
    mask = ~(_NESTED | _METHOD)
    if one.co_flags & mask != other.co_flags & mask or len(one.co_consts) != len(other.co_consts):
        return False
    return all(_same_constant(a, b) for a, b in zip(one.co_consts, other.co_consts, strict=True))


def _same_constant(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, CodeType):
        return same_code(one, other)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(_same_constant, one, other))
    if isinstance(one, frozenset):
        return sorted(map(repr, one)) == sorted(map(repr, other))
    # 1, 1.0 and True, 0.0 and -0.0 are equal and not the same.
    return repr(one) == repr(other)


def files_of(module: ModuleType) -> Iterator[_File]:
    """The files that a module was made from: one, or the cells of a notebook."""
    path = getattr(module, "__file__", None)
    found = _read(str(path), vars(module)) if path else None
    if found is not None:
        yield found
    cells = vars(module).get("In") if module.__name__ == "__main__" else None
    for text in cells if isinstance(cells, list) else ():
        cell = _cell(str(text))
        if cell is not None:
            yield cell


@functools.lru_cache(maxsize=1024)
def _cell(text: str) -> _File | None:
    return _index("<cell>", text)


_files: dict[str, tuple[Any, _File | None]] = {}


def _read(filename: str, module_globals: dict[str, Any]) -> _File | None:
    """The definitions of the file as it is now; read again only when it has changed."""
    try:
        status = os.stat(filename)
    except (OSError, ValueError):
        return _read_cached_lines(filename, module_globals)
    stamp = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
    known = _files.get(filename)
    if known is None or known[0] != stamp:
        try:
            with tokenize.open(filename) as stream:
                text = stream.read()
        except (OSError, SyntaxError, UnicodeDecodeError):
            text = None
        known = _files[filename] = (stamp, None if text is None else _index(filename, text))
    return known[1]


def _read_cached_lines(filename: str, module_globals: dict[str, Any]) -> _File | None:
    """Notebook cells, the interactive prompt, zip archives: what ``linecache`` holds is the only source there is."""
    text = "".join(linecache.getlines(filename, module_globals))
    if not text:
        return None
    known = _files.get(filename)
    if known is None or known[0] != text:
        known = _files[filename] = (text, _index(filename, text))
    return known[1]


def _index(filename: str, text: str) -> _File | None:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return None
    lines = text.split("\n")
    file = _File({}, {}, tree, text)
    imported = tuple(sorted(set(_imported(tree))))
    for node, private in _definitions(tree, None):
        if isinstance(node, ast.Lambda):
            source, first = ast.get_source_segment(text, node) or "", node.lineno
        else:
            source = "".join(line + "\n" for line in lines[node.lineno - 1 : node.end_lineno])
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        form: syntax.Form = "lambda" if isinstance(node, ast.Lambda) else "def"
        item = Definition(node, source, form, filename, node.lineno, node.col_offset, private, imported)
        file.by_line.setdefault(first, []).append(item)
        file.by_name.setdefault(_name(node), []).append(item)
    return file


def _definitions(node: ast.AST, private: str | None) -> Iterator[tuple[syntax.Definition, str | None]]:
    """Every definition in a tree with the class whose name mangles private names in it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child, private
        yield from _definitions(child, child.name if isinstance(child, ast.ClassDef) else private)


def future_names(code: CodeType) -> list[str]:
    """The same by name: the numbers differ between versions of Python."""
    flags = future_flags(code)
    return [name for name in __future__.all_feature_names if flags & getattr(__future__, name).compiler_flag]


def _imported(node: ast.AST) -> Iterator[str]:
    """The names that imports of the module itself bind, not those inside its functions and classes."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in child.names if alias.name != "*")
        elif not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield from _imported(child)

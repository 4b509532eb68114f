"""The text of a condition, read by hand: a tokenizer and a descent through four rules. Nothing is ever evaluated here.

::

    any        = all { ("|" | "or") all }
    all        = one { ("&" | "and") one }
    one        = ("~" | "not") one | "(" any ")" | comparison
    comparison = operand [ ("<" | "<=" | ">" | ">=" | "==" | "!=") operand ]...
    operand    = $step.output | $step.done | $input | number | "text" | 'text' | true | false | null

Comparisons bind closest, also under ``~``: ``~$a < 1`` is ``~($a < 1)``. ``0 < $x < 1`` is ``0 < $x & $x < 1``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import NoReturn

from weftwork.core.condition import RESERVED, And, Compare, Condition, Not, Operand, Or, Term, Truth
from weftwork.core.expression import InputOf, Literal, OutputOf
from weftwork.errors import Invalid

_TOKEN = re.compile(
    r"""(?P<reference> \$[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)? (?![.\w]) )
    | (?P<number> [+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)? (?![.\w]) | [+-]?(?:inf|nan)\b )
    | (?P<string> "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' )
    | (?P<word> [A-Za-z_]\w*(?:\.[A-Za-z_]\w*)? )
    | (?P<symbol> <= | >= | == | != | && | \|\| | [<>&|~()=!] )""",
    re.VERBOSE | re.DOTALL,
)
_COMPARISONS = frozenset({"<", "<=", ">", ">=", "==", "!="})
_WORDS = {"true": True, "false": False, "null": None}
_MEANT = {
    "=": "==",
    "&&": "&",
    "||": "|",
    "!": "~",
    "True": "true",
    "False": "false",
    "None": "null",
    "AND": "and",
    "OR": "or",
    "NOT": "not",
}
_OPERAND = "$step.output, $step.done, $input, a number, a text in quotes, true, false or null"
_DEEPEST = 100


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    column: int


def parse(text: str) -> Condition:
    """The condition that the text says. Raises :class:`~weftwork.errors.Invalid`, with a caret below the place (``details['column']``, from 0)."""
    return _Parser(text).whole()


def _wrong(text: str, column: int, message: str) -> NoReturn:
    shown = re.sub(r"\s", " ", text)
    raise Invalid(
        f"the condition cannot be read: {message}\n    {shown}\n    {' ' * column}^", text=text, column=column
    )


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    position = 0
    while True:
        while position < len(text) and text[position].isspace():
            position += 1
        if position == len(text):
            return [*found, _Token("end", "", position)]
        match = _TOKEN.match(text, position)
        if match is None:
            _wrong(text, position, _unreadable(text[position:]))
        found.append(_Token(str(match.lastgroup), match[0], position))
        position = match.end()


def _unreadable(rest: str) -> str:
    if rest[0] == "$":
        return "a reference is $input or $step.output, with letters, digits and '_' in the names"
    if rest[0] in "\"'":
        return f"the text has no closing {rest[0]}"
    if rest[0].isdigit() or rest[0] in "+-.":
        return "this is not a number; there is no arithmetic either: compute it in a step"
    return f"{rest[0]!r} has no meaning here; {_OPERAND} is expected"


class _Parser:
    """Descends through the rules of the module's docstring; ``_at`` is the next token."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._at = 0
        self._depth = 0

    def whole(self) -> Condition:
        condition = self._any()
        if self._next.kind != "end":
            if self._next.text == ")":
                _wrong(self._text, self._next.column, "this ')' was never opened")
            self._expected("&, | or the end")
        return condition

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self, *texts: str) -> bool:
        """Go past the next token if it is one of these."""
        if self._next.kind in ("symbol", "word") and self._next.text in texts:
            self._at += 1
            return True
        return False

    def _expected(self, what: str, token: _Token | None = None) -> NoReturn:
        token = token or self._next
        meant = _MEANT.get(token.text)
        if token.kind == "word" and meant is None:
            meant = f"${token.text}"
        hint = f"; did you mean {meant}?" if meant and token.kind in ("symbol", "word") else ""
        found = f"found {token.text!r}" if token.text else "the text ends"
        _wrong(self._text, token.column, f"{what} is expected, {found}{hint}")

    def _any(self) -> Condition:
        parts = [self._all()]
        while self._take("|", "or"):
            parts.append(self._all())
        return Or(tuple(parts)) if len(parts) > 1 else parts[0]

    def _all(self) -> Condition:
        parts = [self._one()]
        while self._take("&", "and"):
            parts.append(self._one())
        return And(tuple(parts)) if len(parts) > 1 else parts[0]

    def _one(self) -> Condition:
        self._depth += 1
        if self._depth > _DEEPEST:
            _wrong(self._text, self._next.column, f"it is nested deeper than {_DEEPEST} levels")
        condition: Condition
        if self._take("~", "not"):
            condition = Not(self._one())
        elif self._take("("):
            condition = self._any()
            if not self._take(")"):
                self._expected("&, | or ')'")
        else:
            condition = self._comparison()
        self._depth -= 1
        return condition

    def _comparison(self) -> Condition:
        first = self._next
        left = self._operand()
        if isinstance(left, Term):
            if self._next.text in _COMPARISONS:
                _wrong(self._text, self._next.column, f"{left} is true or false by itself and is not compared")
            return left
        if not self._compares():
            return self._truth(left, first)
        parts: list[Condition] = []
        while self._compares():
            symbol = self._next.text
            self._at += 1
            place, right = self._next, self._operand()
            if isinstance(right, Term):
                _wrong(self._text, place.column, f"{right} is true or false by itself and is not compared")
            parts.append(Compare(left, symbol, right))
            left = right
        return And(tuple(parts)) if len(parts) > 1 else parts[0]

    def _compares(self) -> bool:
        return self._next.kind == "symbol" and self._next.text in _COMPARISONS

    def _truth(self, operand: Operand, token: _Token) -> Condition:
        if isinstance(operand, Literal) and not isinstance(operand.value, bool):
            if self._next.kind == "end":
                _wrong(self._text, token.column, f"{token.text} is neither true nor false; compare it with something")
            self._expected("a comparison (< <= > >= == !=)")
        return Truth(operand)

    def _operand(self) -> Operand | Term:
        token = self._next
        if token.kind == "word" and token.text in _WORDS:
            operand: Operand | Term = Literal(_WORDS[token.text])
        elif token.kind == "reference":
            operand = _reference(token.text)
        elif token.kind == "number":
            operand = Literal(self._number(token))
        elif token.kind == "string":
            operand = Literal(self._string(token))
        else:
            self._expected(_OPERAND)
        self._at += 1
        return operand

    def _number(self, token: _Token) -> int | float:
        try:
            return int(token.text) if token.text.lstrip("+-").isdigit() else float(token.text)
        except ValueError:
            _wrong(self._text, token.column, "this number is too long")

    def _string(self, token: _Token) -> str:
        body = token.text
        if body[0] == "'":
            body = (
                '"' + re.sub(r'\\.|"', lambda found: {"\\'": "'", '"': '\\"'}.get(found[0], found[0]), body[1:-1]) + '"'
            )
        try:
            return str(json.loads(body, strict=False))
        except ValueError:
            _wrong(
                self._text,
                token.column,
                r"the text has an unknown escape; those of JSON are known, such as \n \" \\ \u00e9",
            )


def _reference(text: str) -> Operand | Term:
    step, dot, output = text[1:].partition(".")
    if not dot:
        return InputOf(step)
    return Term(step, output) if output in RESERVED else OutputOf(step, output)

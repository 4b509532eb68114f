"""The words of a command: a text split by a shell's rules first, placeholders checked in each word afterwards.

Splitting before placeholders are filled in is what makes a value one word, whatever is in it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterator

from weftwork.core.module import nearest
from weftwork.errors import Invalid

_QUOTED = re.compile(r"\\.|'[^']*'|\"(?:\\.|[^\"\\])*\"", re.DOTALL)
_SHELL = re.compile(r"\|\||&&|>>|<<|[|&;<>*?`]|\$(?=[A-Za-z_({])")
_BRACES = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}|\$?\{\s*+([A-Za-z_][A-Za-z0-9_]*+)[^{}]*+\}")


def split(text: str) -> tuple[str, ...]:
    """The words of a command text. Raises :class:`~weftwork.errors.Invalid` for what only a shell would understand."""
    found = _SHELL.search(_QUOTED.sub("", text))
    if found:
        raise Invalid(
            f"the command has {found[0]!r}, which only a shell understands, and no shell runs it; use `script:`, "
            "or put it in quotes if it is meant as it stands"
        )
    try:
        words = shlex.split(text, comments=False, posix=True)
    except ValueError as error:
        raise Invalid(f"the command cannot be split into words: {error}; close the quote, or write a list") from None
    if not words:
        raise Invalid("the command is empty; its first word is the program")
    return tuple(words)


def placeholder_faults(word: str, inputs: Collection[str], outputs: Collection[str]) -> Iterator[str]:
    """What is wrong with the placeholders of a word. ``outputs`` are those that are left at a path."""
    known = {*inputs, *outputs}
    for match in _BRACES.finditer(word):
        name, almost = match.groups()
        if name is not None and name not in known:
            yield (
                f"the command has {{{name}}}, which is neither an input nor an output left in a file{nearest(name, known)}; "
                f"write {{{{{name}}}}} for the text in braces"
            )
        elif almost in known:
            yield f"the command has {match[0]}, which is not a placeholder; write {{{almost}}}"

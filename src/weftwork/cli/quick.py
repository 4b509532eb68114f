"""The plain form of ``weft do``, read without click, whose import alone would cost a quarter of a replay's time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_MANY = {"-i": "inputs", "--input": "inputs", "-o": "outputs", "--output": "outputs", "--env": "variables"}


def plain_do(words: Sequence[str]) -> tuple[list[str], dict[str, Any]] | None:
    """The command and options of ``[-i FILE | -o FILE | --env VAR | --name NAME]... -- COMMAND...``; ``None`` for any other form."""
    options: dict[str, Any] = {}
    position = 0
    while position + 1 < len(words) and words[position] != "--":
        option, value = words[position], words[position + 1]
        if option in _MANY:
            options.setdefault(_MANY[option], []).append(value)
        elif option == "--name":
            options["name"] = value
        else:
            return None
        position += 2
    command = list(words[position + 1 :])
    return (command, options) if command and words[position] == "--" else None

"""What a program needs around it: declared, and as a site resolved it.

A *declared* environment is what a module's author wrote. A *resolved* one is what a site will
really use, found out before the key is made; it is part of the key, the site's name never is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weftwork.core.checksum import shorten
from weftwork.errors import Invalid

_KEYS = ("image", "conda", "venv", "packages", "tools", "variables")


@dataclass(frozen=True, slots=True)
class Environment:
    """The declared environment of a module.

    ``image`` is a container image's name; ``conda`` and ``venv`` name a lock file's checksum or text;
    ``packages`` are Python distributions that count beyond those that were found; ``tools`` are
    programs that count by content; ``variables`` are set for the program and count.
    """

    image: str | None = None
    conda: str | None = None
    venv: str | None = None
    packages: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()

    @staticmethod
    def of(document: Mapping[str, Any] | None) -> Environment:
        """From a document. Raises :class:`~weftwork.errors.Invalid` for an unknown key or a wrong type."""
        document = document or {}
        for key in document:
            if key not in _KEYS:
                raise Invalid(f"environment: {key!r} is not known; the keys are {', '.join(_KEYS)}")
        variables = document.get("variables") or {}
        for name, value in variables.items():
            if not isinstance(value, str):
                raise Invalid(f"environment: the variable {name} is {shorten(value)}; write it as text, in quotes")
        return Environment(
            image=document.get("image"),
            conda=document.get("conda"),
            venv=document.get("venv"),
            packages=tuple(document.get("packages") or ()),
            tools=tuple(document.get("tools") or ()),
            variables=tuple(sorted(variables.items())),
        )

    def document(self) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key in ("image", "conda", "venv"):
            if getattr(self, key) is not None:
                out[key] = getattr(self, key)
        for key in ("packages", "tools"):
            if getattr(self, key):
                out[key] = sorted(getattr(self, key))
        if self.variables:
            out["variables"] = dict(self.variables)
        return out


ResolvedEnvironment = dict[str, Any]
"""A JSON object: ``platform`` {system, machine}, and as they apply ``python``, ``packages`` {name: version},
``tools`` {name: checksum}, ``variables`` {name: value}, ``image`` (its identity)."""

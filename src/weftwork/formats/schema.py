"""JSON Schemas (2020-12) of the documents, from the tables that the readers use. ``python -m weftwork.formats.schema DIR`` writes them.

A schema says the structure. Types, defaults, placeholders and references are looked at by the readers alone.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from weftwork.formats.kinds import Section
from weftwork.formats.module_keys import MODULE
from weftwork.formats.workflow_keys import WORKFLOW

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ROOTS = {
    "module": ("Weftwork module file", MODULE),
    "workflow": ("Weftwork workflow file", WORKFLOW),
}


def schemas() -> dict[str, dict[str, Any]]:
    """The schemas by the kind of document: ``module`` and ``workflow``."""
    return {kind: schema_of(title, root) for kind, (title, root) in _ROOTS.items()}


def texts() -> dict[str, str]:
    """The schemas as they are written, by the name of their file."""
    return {
        f"{kind}.schema.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        for kind, schema in schemas().items()
    }


def schema_of(title: str, root: Section) -> dict[str, Any]:
    """The schema of one kind of document."""
    definitions: dict[str, Any] = {}
    waiting = [root]
    while waiting:
        section = waiting.pop()
        reference = section.schema()["$ref"].rpartition("/")[2]
        if reference in definitions:
            continue
        definitions[reference] = section.definition()
        for key in section.keys.values():
            waiting.extend(key.kind.sections())
    return {"$schema": _DIALECT, "title": title, **root.schema(), "$defs": dict(sorted(definitions.items()))}


def main(arguments: list[str]) -> int:
    """Write the schemas into the folder that is named."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m weftwork.formats.schema DIR\n")
        return 2
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts().items():
        (folder / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

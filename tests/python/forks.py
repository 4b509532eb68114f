"""Runs programs in processes of their own: a plain call, and the bundle where nothing of the project is.

Reads ``[[files, [calls]]...]`` as JSON and writes, for each, the identity, what the plain calls gave, and what the
bundle gave, each call twice with the state put back between them. A process is a fork of this one, which has imported
no project: that costs milliseconds where a fresh interpreter costs a second.
"""

from __future__ import annotations

import contextvars
import importlib
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy  # noqa: F401  so that no fork has to

from weftwork.core.checksum import canonical, from_canonical
from weftwork.errors import Refused
from weftwork.node.unbundle import load_with_state
from weftwork.python.bundling import bundle


def forked(act: Callable[[], Any]) -> Any:
    """What a function gives in a copy of this process."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            data = json.dumps(act())
        except BaseException:
            data = json.dumps({"error": traceback.format_exc()})
        with os.fdopen(writing, "w") as stream:
            stream.write(data)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        found = json.loads(stream.read())
    os.waitpid(child, 0)
    return found


def called(function: Any, inputs: list[Any]) -> str:
    try:
        # As a worker does it; results as a caller gets them.
        return repr(from_canonical(canonical(contextvars.copy_context().run(function, *inputs))))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def here(folder: str, inputs: list[Any]) -> dict[str, Any]:
    sys.dont_write_bytecode = True
    sys.path.insert(0, folder)
    run = importlib.import_module("program").run
    try:
        made = bundle(run)
    except Refused as error:
        return {"refused": str(error)}
    blobs = {name: data.hex() for name, data in made.blobs.items()}
    answer = {"identity": made.identity, "document": made.document, "blobs": blobs}
    return {**answer, "warnings": [caution.what for caution in made.warnings], "plain": called(run, inputs)}


def there(told: dict[str, Any], inputs: list[Any]) -> list[str]:
    blobs = {name: bytes.fromhex(data) for name, data in told["blobs"].items()}
    function, state = load_with_state(told["document"], blobs.__getitem__)
    found = []
    for _ in range(2):
        found.append(called(function, inputs))
        state.restore()
    return found


def main() -> None:
    answers = []
    for files, inputs in json.load(sys.stdin):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                Path(folder, name).write_text(text)
            told = forked(lambda folder=folder, inputs=inputs: here(folder, inputs))
            if "document" in told:
                told["node"] = forked(lambda told=told, inputs=inputs: there(told, inputs))
        answers.append({name: told[name] for name in told if name not in ("document", "blobs")})
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()

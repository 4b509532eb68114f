"""What a failed ``weft do`` seems to want: a file that was not declared, a module, the slash of a folder. Guesses, for people."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from weftwork.errors import NoOutput, WeftError
from weftwork.modules.programs import is_line
from weftwork.modules.wrapping import Wrapped

_MODULE = re.compile(r"No module named '([\w.]+)'")


def undeclared(error: WeftError, folder: Path, command: Sequence[str], wrapped: Wrapped) -> str:
    """A sentence about files here that the command did not get; empty where there are none."""
    named = _named_files(folder, command)
    missing = sorted((named - wrapped.declared) | _modules(str(error.details.get("stderr") or ""), folder, named))
    if not missing:
        return ""
    names = " ".join(f"-i {os.path.relpath(each, folder)}" for each in missing)
    return (
        f"the command ran in a fresh folder that holds its declared inputs only; is {names} missing? "
        "(`weft do --trace` lists what a command reads)"
    )


def _named_files(folder: Path, command: Sequence[str]) -> set[str]:
    """Files here that words of the command name."""
    words = list(command)
    if is_line(words):
        words = words[0].replace("<", " ").replace("|", " ").replace(";", " ").split()
    texts = {text for word in words for text in (word, word.partition("=")[2]) if text}
    paths = (os.path.normpath(folder / text) for text in texts)
    return {path for path in paths if os.path.isfile(path) and path.startswith(f"{folder}/")}


def _modules(said: str, folder: Path, named: set[str]) -> set[str]:
    """Python modules that were not found there and lie here, beside the script or in the folder."""
    found = _MODULE.search(said)
    if found is None:
        return set()
    first = found[1].partition(".")[0]
    beside = [folder, *(Path(path).parent for path in named)]
    return {str(path) for each in beside for path in (each / f"{first}.py", each / first) if path.exists()}


def no_output(error: NoOutput, folder: Path, wrapped: Wrapped) -> NoOutput:
    """The error in the words of the command line: outputs by their paths, and of what was left what is no input."""
    name = str(error.details.get("output") or "")
    target = wrapped.outputs.get(name)
    if target is None:
        return error
    path = os.path.relpath(target, folder) if target.is_relative_to(folder) else str(target)
    if "should be a file" in str(error):
        return NoOutput(f"the output {path} is a folder; declare it with a slash: -o {path}/", **error.details)
    if "found" not in error.details or "is missing" not in str(error):
        return error
    ours = wrapped.declared - {str(each) for each in wrapped.outputs.values()}
    left = [each for each in error.details["found"] if not _among(str(folder / each), ours)]
    others = f"; it wrote {', '.join(left)}" if left else ""
    return NoOutput(f"the command ended well and did not write the output {path}{others}", **error.details)


def _among(path: str, ours: frozenset[str]) -> bool:
    return path in ours or any(str(parent) in ours for parent in Path(path).parents)

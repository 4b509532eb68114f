"""The files of a batch, all written before it is submitted: which folders it runs, and which batch a folder is in.

Below ``HOME/batches/NAME/``: ``tasks`` (line N is the job folder of task N), ``script``. In each job folder ``batch.json``:
``{"batch": NAME, "number": N}``. So whoever comes after a dead engine asks the batch system about NAME and knows what it gets
told about; and a batch whose submission was never answered is found by the same name.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from weftwork.errors import Conflict, Invalid, NotFound
from weftwork.node import claim
from weftwork.node.job import write_atomically

_BATCH: Final = "batch.json"
_LOG: Final = "node.log"
_TAIL: Final = 1500


class Key(NamedTuple):
    """A task of a batch: task ``number``, from 1, of the array ``batch``."""

    batch: str
    number: int


def write_batch(folder: Path, folders: Sequence[Path], script: str) -> None:
    """Write a batch's files. Raises Invalid for a job folder whose path has a line break in it."""
    for each in folders:
        if "\n" in str(each):
            raise Invalid(f"the job folder {str(each)!r} has a line break in its path; choose another home")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tasks").write_text("".join(f"{each}\n" for each in folders), encoding="utf-8", errors="surrogateescape")
    (folder / "script").write_text(script, encoding="utf-8", errors="surrogateescape")
    for number, each in enumerate(folders, 1):
        write_atomically(str(each / _BATCH), {"batch": folder.name, "number": number})


def batch_of(folder: Path) -> Key | None:
    """The batch that a job folder was put into, whether or not it was ever submitted."""
    try:
        document = json.loads((folder / _BATCH).read_bytes())
        return Key(document["batch"], document["number"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def script(
    name: str, number: str, folder: Path, node: Path, python: str, directives: Sequence[str], prologue: str
) -> str:
    """The script of a batch: it finds its job folder, runs the site's prologue, and becomes the node program.

    Files of a network file system may come into sight late, so they are waited for. What is said before the node program
    speaks goes to ``node.log`` in the job folder.
    """
    said_first = "\n".join(["#!/bin/sh", *directives])
    return f"""{said_first}
# Task N of {name} is the folder in line N of the list.
number={number}
list={shlex.quote(str(folder / "tasks"))}
program={shlex.quote(str(node))}
in_sight() {{
    waited=0
    until [ -r "$1" ]; do
        [ "$waited" -lt 60 ] || {{ echo "$1 is not in sight of $(hostname)" >&2; exit 75; }}
        waited=$((waited + 1))
        sleep 1
    done
}}
in_sight "$list"
folder=$(sed -n "${{number}}p" "$list")
in_sight "$folder/job.json"
exec >>"$folder/{_LOG}" 2>&1 </dev/null
trap 'echo "the prologue of this site failed with exit code $?"' EXIT
set -e
{prologue}
set +e
in_sight "$program"
trap - EXIT
exec {shlex.join(shlex.split(python))} -I "$program" run "$folder"
"""


def withdraw(folder: Path) -> bool:
    """See to it that a folder that nobody has begun never will be; whether that is so."""
    try:
        descriptor = claim.claim(str(folder))
    except NotFound:
        return True
    except (Conflict, OSError):
        return False
    claim.note_lost(descriptor)
    os.close(descriptor)
    return True


def said(folder: Path) -> str:
    """The last words of the site and the node program about a job folder."""
    try:
        text = (folder / _LOG).read_bytes()[-_TAIL:].decode("utf-8", "backslashreplace").strip()
    except OSError:
        return ""
    return f"; {_LOG} says: {text}" if text else ""


def forget(folder: Path) -> None:
    """Remove a batch's own files, once all of its tasks have begun or never will."""
    shutil.rmtree(folder, ignore_errors=True)


def begun_or_gone(folder: Path) -> bool:
    """Whether every task of a batch has claimed its folder, or has none any more: its list is not read again."""
    try:
        lines = (folder / "tasks").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return True
    return all(claim.read_claim(line) is not None or not os.path.exists(line) for line in lines)

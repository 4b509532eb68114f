"""Files that a program declared with ``uses=``: unpacked in a folder where its modules say that they are."""

from __future__ import annotations

import atexit
import base64
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from weftwork.core.checksum import Checksum
from weftwork.errors import Invalid


def unpack(document: Mapping[str, Any], get_blob: Callable[[Checksum], bytes], within: str | None = None) -> str | None:
    """The folder that holds the bundle's files until the process ends; ``None`` when there are none.

    It is made ``within`` a folder, by default that for temporary files.
    """
    nodes = [node for node in document["nodes"] if node["kind"] == "file"]
    if not nodes:
        return None
    folder = tempfile.mkdtemp(prefix="weft-files-", dir=within)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for node in nodes:
        name = PurePosixPath(node["path"])
        if name.is_absolute() or ".." in name.parts:
            raise Invalid(f"the bundle names the file {node['path']!r}, which is outside its folder")
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        form = node["bytes"]
        path.write_bytes(base64.b64decode(form["bytes"]) if "bytes" in form else get_blob(Checksum(form["blob"])))
        path.chmod(0o444)
    return folder


def place(folder: str, name: str, *, package: bool) -> str:
    """Where a module of that name is, as far as its ``__file__`` says."""
    parts = name.split(".")
    return os.path.join(folder, *parts, "__init__.py") if package else os.path.join(folder, *parts) + ".py"

"""Compiled modules of a project: loaded from the bytes that the bundle names."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

from weftwork.core.checksum import Checksum


def make_extension(rebuild: Any, node: Mapping[str, Any], made: Callable[[Any], None]) -> Any:
    """The module of an extension's node. Its bytes are unpacked for the moment of loading, and stay mapped after it."""
    with tempfile.TemporaryDirectory(prefix="weft-extension-") as folder:
        path = os.path.join(folder, f"{node['name'].rpartition('.')[2]}.{node['suffix']}")
        with open(path, "wb") as stream:
            stream.write(rebuild.get_blob(Checksum(node["blob"])))
        loader = importlib.machinery.ExtensionFileLoader(node["name"], path)
        spec = importlib.util.spec_from_file_location(node["name"], path, loader=loader)
        if spec is None:
            raise ImportError(f"{node['name']} cannot be loaded", name=node["name"])
        module = importlib.util.module_from_spec(spec)
        loader.exec_module(module)
    made(module)
    return module

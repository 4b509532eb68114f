"""The node program as one file: what runs beside a calculation, for nodes that have Python and nothing of ours.

A zip of :mod:`weftwork.node`, :mod:`weftwork.core` and :mod:`weftwork.errors`, run as ``python3 FILE.pyz run FOLDER``; with the public names and
:mod:`weftwork.python`, which functions may use (``weft.File``, ``weft.module``). Named by its content and made once for each, so that a batch that waits in a queue finds the very program that it was submitted with.
"""

from __future__ import annotations

import functools
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

from weftwork import errors
from weftwork.core.checksum import Checksum
from weftwork.sites.shells.here import write

_START = "import sys\nfrom weftwork.node.__main__ import main\nsys.exit(main(sys.argv[1:]))\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)


def node_program(folder: Path) -> Path:
    """The zip in ``folder``, made when it is not there. Raises ``OSError`` where it cannot be written."""
    data = node_program_bytes()
    path = folder / f"weft-node-{Checksum.of(data)[:16]}.pyz"
    if not path.exists():
        write(path, data)
    return path


@functools.cache
def node_program_bytes() -> bytes:
    """The zip: the same bytes for the same sources, as they are when it is first asked for."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in _files():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), text, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _files() -> Iterator[tuple[str, bytes]]:
    yield "__main__.py", _START.encode()
    top = Path(errors.__file__).parent
    for part in ("__init__.py", "errors.py", "core", "node", "python"):
        for path in [top / part] if part.endswith(".py") else sorted((top / part).rglob("*.py")):
            yield f"weftwork/{path.relative_to(top).as_posix()}", path.read_bytes()

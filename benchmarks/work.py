"""The work of every row, and what comes out of it. Standard library only: all sides import this file.

The functions are as small as can be, so that what is measured is the system around them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

MODULUS = 1_000_003
WARM_UP = 64
"""Calls before the clock starts, with inputs of their own (-1, -2, …): workers are up, modules are imported."""

LAYERS = 100
"""Layers of the workflow; its width is the number of steps divided by this."""


def affine(x: int) -> int:
    """A function call with a distinct result for each input."""
    return 3 * x + 1


def combine(left: int, right: int) -> int:
    """A step that needs two others."""
    return (left + right) % MODULUS


def digest(results: Iterable[Any]) -> str:
    """What all sides must agree on: the checksum of the results in order."""
    text = json.dumps(list(results), separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def warm_up() -> range:
    """Inputs that no measurement has."""
    return range(-WARM_UP, 0)


def printed(x: int) -> str:
    """What ``printf %s X`` prints."""
    return str(x)


def texts(count: int) -> list[str]:
    """What the commands of a row print."""
    return [printed(number) for number in range(count)]


def width_of(steps: int) -> int:
    """Steps in a layer."""
    return max(2, steps // LAYERS)


def layers(width: int, first: Callable[[int], Any], join: Callable[[Any, Any], Any]) -> list[Any]:
    """The workflow: each step of a layer joins two neighbours of the layer before. The last layer."""
    row = [first(number) for number in range(width)]
    for _ in range(LAYERS - 1):
        row = [join(row[number], row[(number + 1) % width]) for number in range(width)]
    return row


def workflow_document(width: int, source: str) -> dict[str, Any]:
    """The same workflow as a document, its functions in the file ``source``."""
    steps: dict[str, Any] = {}
    for layer in range(LAYERS):
        for number in range(width):
            inputs: dict[str, Any] = {"x": number}
            if layer:
                other = (number + 1) % width
                inputs = {"left": f"$s{layer - 1}_{number}", "right": f"$s{layer - 1}_{other}"}
            name = "combine" if layer else "affine"
            steps[f"s{layer}_{number}"] = {"module": f"{source}:{name}", "inputs": inputs}
    last = {f"o{number}": f"$s{LAYERS - 1}_{number}" for number in range(width)}
    return {"name": "layers", "steps": steps, "outputs": last}


def buffers(count: int) -> list[bytes]:
    """Distinct small buffers of 20 to 300 bytes that do not compress."""
    return [hashlib.shake_128(b"%d" % number).digest(20 + number % 281) for number in range(count)]


def large_file(path: Path, size: int) -> None:
    """A file of so many bytes, in the page cache when this returns."""
    block = hashlib.shake_128(b"large").digest(1 << 20)
    with path.open("wb") as file:
        for start in range(0, size, len(block)):
            file.write(start.to_bytes(8, "big") + block[: min(len(block), size - start) - 8])


def small_files(folder: Path, count: int) -> None:
    """So many files of 1 to 8 KiB."""
    folder.mkdir(parents=True)
    for number in range(count):
        data = hashlib.shake_128(b"file %d" % number).digest(1024 * (1 + number % 8))
        (folder / f"{number:06d}").write_bytes(data)

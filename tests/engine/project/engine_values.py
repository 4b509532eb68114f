"""Modules that take and give values of every kind, and tell what they got."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

from engine_work import note

import weftwork as weft

SEEN: list[int] = []


@weft.module
def kinds(value: Any) -> str:
    return f"{type(value).__name__} {value!r}"


@weft.module
def same(log: str, value: Any) -> Any:
    note(log, "same")
    return value


@weft.module
def upper(log: str, text: str) -> str:
    note(log, "upper")
    return text.upper()


@weft.module
def optional(log: str, value: int | None) -> int | None:
    note(log, f"optional {value}")
    return value


@weft.module
def checked(
    log: str,
    count: Annotated[int, weft.Range(1, 10)],
    mode: Literal["fast", "slow"] = "fast",
    names: list[str] | None = None,
) -> int:
    note(log, "checked")
    return count


@weft.module
def lengths(log: str, files: list[weft.File]) -> list[int]:
    note(log, "lengths")
    return [os.path.getsize(each.path) for each in files]


@weft.module
def shout(log: str, file: weft.File) -> weft.File:
    note(log, "shout")
    with open(file.path) as source, open("shouted.txt", "w") as out:
        out.write(source.read().upper())
    return weft.File("shouted.txt")


@weft.module
def listing(log: str, folder: weft.Directory) -> list[str]:
    note(log, "listing")
    found = []
    for root, _, files in os.walk(folder.path):
        found += [os.path.relpath(os.path.join(root, each), folder.path) for each in files]
    return sorted(found)


@weft.module
def spread(log: str, count: int) -> weft.Directory:
    note(log, "spread")
    os.makedirs("out/deep", exist_ok=True)
    for number in range(count):
        with open(f"out/deep/part {number}", "w") as file:
            file.write(f"{number}" * 40000)
    return weft.Directory("out")


@weft.module
def vandal(log: str, file: weft.File) -> int:
    """Writes into its input, if it can."""
    note(log, "vandal")
    size = os.path.getsize(file.path)
    try:
        os.chmod(file.path, 0o666)
        with open(file.path, "r+b") as target:
            target.write(b"OVERWRITTEN")
    except OSError:
        pass
    return size


@weft.module
def remembering(value: int) -> int:
    """Keeps state beside its calls: it must never meet that of an earlier one."""
    SEEN.append(value)
    return len(SEEN)


@weft.module
def reader(log: str, path: str) -> str:
    """Reads a file that nobody declared."""
    note(log, "reader")
    with open(path) as file:
        return file.read()


HERE = os.path.dirname(os.path.abspath(__file__))


@weft.module
def chance(log: str) -> int:
    note(log, "chance")
    return int.from_bytes(os.urandom(6), "big")


varying = weft.module(deterministic=False)(chance.__weft_function__)


@weft.module
def big(log: str, value: int) -> bytes:
    note(log, "big")
    return bytes([value]) * 200_000

"""Owns ``outcome.json``: how an attempt ended, and the only truth about it.

::

    {"version": 1, "id": ..., "state": "succeeded" | "failed", "error": WeftError.document() | null,
     "exit_code": int | null, "signal": int | null,
     "outputs": {name: {"kind": "file", "path", "checksum", "size", "executable"}
                     | {"kind": "directory" | "files", "path", "entries": [{"path", "checksum", "size", "executable"}]}
                     | null                       an optional output that was not made
                },
     "started": unix seconds | null, "ended": unix seconds,
     "usage": {"cpu": seconds, "memory": peak bytes, "disk": bytes}, "host": name}

``memory`` is the largest of what was measured over all processes of the job and what the kernel says of any one of them; the
kernel counts from the fork, so that a small program shows the runner's own 20 MB. ``disk`` is measured only under a limit.
Paths of outputs are relative to the folder, paths of entries relative to the output's path.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import Any, Final

from weftwork.core.checksum import Checksum
from weftwork.errors import Invalid, WeftError, from_document
from weftwork.node.job import VERSION, write_atomically

OUTCOME: Final = "outcome.json"


@dataclass(frozen=True, slots=True)
class Entry:
    """One gathered file. ``path`` is relative to the folder for a file, to the output for one of many."""

    path: str
    checksum: Checksum
    size: int
    executable: bool

    def document(self) -> dict[str, Any]:
        return {"path": self.path, "checksum": str(self.checksum), "size": self.size, "executable": self.executable}


@dataclass(frozen=True, slots=True)
class Gathered:
    """A gathered output. A ``file`` has exactly one entry, whose path is the output's own."""

    kind: str
    path: str
    entries: tuple[Entry, ...]

    def document(self) -> dict[str, Any]:
        if self.kind == "file":
            return {"kind": "file", **self.entries[0].document()}
        return {"kind": self.kind, "path": self.path, "entries": [entry.document() for entry in self.entries]}

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Gathered:
        if document["kind"] == "file":
            return cls("file", document["path"], (_entry(document),))
        return cls(document["kind"], document["path"], tuple(_entry(entry) for entry in document["entries"]))


@dataclass(frozen=True, slots=True)
class Outcome:
    """The whole of ``outcome.json``: how an attempt ended. ``error`` is ``None`` exactly when it succeeded."""

    id: str
    error: WeftError | None
    exit_code: int | None = None
    signal: int | None = None
    outputs: dict[str, Gathered | None] = field(default_factory=dict)
    started: float | None = None
    ended: float = 0.0
    usage: dict[str, float] = field(default_factory=dict)
    host: str = ""

    @property
    def state(self) -> str:
        return "succeeded" if self.error is None else "failed"

    def document(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "id": self.id,
            "state": self.state,
            "error": None if self.error is None else self.error.document(),
            "exit_code": self.exit_code,
            "signal": self.signal,
            "outputs": {name: None if item is None else item.document() for name, item in self.outputs.items()},
            "started": self.started,
            "ended": self.ended,
            "usage": self.usage,
            "host": self.host,
        }

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Outcome:
        error = document["error"]
        if (error is None) != (document["state"] == "succeeded"):
            raise Invalid(f"outcome.json: state {document['state']!r} and its error contradict each other")
        outputs = document["outputs"].items()
        return cls(
            id=document["id"],
            error=None if error is None else from_document(error),
            exit_code=document["exit_code"],
            signal=document["signal"],
            outputs={name: None if item is None else Gathered.from_document(item) for name, item in outputs},
            started=document["started"],
            ended=document["ended"],
            usage=document["usage"],
            host=document["host"],
        )


def write_outcome(folder: str, outcome: Outcome) -> None:
    """Write ``outcome.json`` in one step: before it there is no outcome, after it the whole."""
    write_atomically(os.path.join(folder, OUTCOME), outcome.document())


def read_outcome(folder: str) -> Outcome | None:
    """The outcome of a folder. ``None`` when there is none, or when what is there is empty or broken."""
    try:
        with open(os.path.join(folder, OUTCOME), "rb") as file:
            return Outcome.from_document(json.load(file))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _entry(document: dict[str, Any]) -> Entry:
    return Entry(document["path"], Checksum(document["checksum"]), document["size"], document["executable"])

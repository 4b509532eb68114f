"""What jobs wrote: files beside the ledger, one or two an attempt; a running attempt's are read where they grow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from weftwork.core.job import task_name
from weftwork.ports import Ledger

_LIMIT = 64 * 2**20


def files(home: Path, ledger: Ledger, job: str) -> list[tuple[Path, int]]:
    """The log files of a job with the offset at which its part begins, oldest attempt first; live ones last."""
    row = ledger.job(job)
    found = [(path, 0) for path in sorted((home / "logs" / row.job.id[:3]).glob(f"{row.job.id}-*"))]
    if row.job.live:
        found.extend(_live(ledger, row.job.id))
    else:
        found.extend(_left(home, task_name(row.job.id, row.job.attempt), {path.name for path, _ in found}))
    return found


def _left(home: Path, task: str, kept: set[str]) -> Iterator[tuple[Path, int]]:
    """The streams of an attempt that has ended, while they are still in its folder."""
    for stream in ("stdout", "stderr"):
        path = home / "jobs" / task / stream
        if f"{task}.{stream}" not in kept and path.exists():
            yield path, 0


def _live(ledger: Ledger, job: str) -> Iterator[tuple[Path, int]]:
    """Where a running attempt writes now: its job folder's streams, or its worker's file from an offset."""
    events = [event for _, event in ledger.events(job) if event.kind == "started"]
    place = str(events[-1].data.get("log") or "") if events else ""
    if not place:
        return
    path, _, offset = place.rpartition(":")
    if offset.isdigit() and path:
        yield Path(path), int(offset)
        return
    for stream in ("stdout", "stderr"):
        yield Path(place) / stream, 0


def text(home: Path, ledger: Ledger, job: str) -> str:
    """All that a job wrote, at most 64 MiB a file."""
    out = []
    for path, offset in files(home, ledger, job):
        try:
            with open(path, "rb") as stream:
                stream.seek(offset)
                out.append(stream.read(_LIMIT).decode("utf-8", "replace"))
        except OSError:
            continue
    return "".join(out)

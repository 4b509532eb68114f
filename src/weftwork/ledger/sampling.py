"""Drawing a sample of the calculations that succeeded: of a module, of a run. Nothing here writes."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weftwork.core.checksum import canonical, from_canonical
from weftwork.ledger.database import Transaction, chunks, marks


@dataclass(frozen=True, slots=True)
class Population:
    """What is drawn from; what is ``None`` does not matter."""

    name: str | None = None
    run: str | None = None
    program: Mapping[str, Any] | None = None


def sampled(tx: Transaction, count: int, seed: int, population: Population) -> tuple[list[str], int]:
    """The first job of each of ``count`` calculations, in the order of these jobs, and how many there are."""
    jobs = sorted(_jobs(tx, population))
    drawn = sorted(random.Random(seed).sample(jobs, min(count, len(jobs))))
    names: dict[int, str] = {}
    for chunk in chunks(drawn):
        names.update(tx.all(f"SELECT id, name FROM job WHERE id IN ({marks(len(chunk))})", chunk))
    return [names[each] for each in drawn], len(jobs)


def _jobs(tx: Transaction, population: Population) -> list[int]:
    """The row of the first job of each calculation that succeeded: it stays the same when they are run again."""
    conditions: list[str] = ["j.state = 'succeeded'"]
    values: list[Any] = []
    for column, value in (("q.label", population.name), ("q.run", population.run)):
        if value is not None:
            conditions.append(f"{column} = ?")
            values.append(value)
    if population.program is not None:
        frames = _frames(tx, population.program)
        if not frames:
            return []
        conditions.append(f"c.frame IN ({marks(len(frames))})")
        values += frames
    rows = tx.all(
        "SELECT min(j.id) FROM request q JOIN job j ON j.request = q.id JOIN calculation c ON c.id = j.calculation "
        f"WHERE {' AND '.join(conditions)} GROUP BY j.calculation",
        values,
    )
    return [row[0] for row in rows]


def _frames(tx: Transaction, program: Mapping[str, Any]) -> list[int]:
    """The frames of a program, whatever its environment was."""
    wanted = canonical(dict(program))
    rows = tx.all("SELECT id, document FROM frame")
    return [number for number, text in rows if canonical(from_canonical(text.encode())["program"]) == wanted]

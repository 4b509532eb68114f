"""The rows: the work, ours and each peer that can do it, what must come out, and the budget.

A row has one or more *lines*, done one after the other in the same folder by processes of their own (cold, then from
the cache). A peer's share says how much of the work it does: what it takes is told for each item.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import work


@dataclass(frozen=True)
class Budget:
    """What the design allows: seconds an item or bytes; ``over`` and ``times`` relate it to a bare side.

    ``over="bare"``: ours less bare's is at most ``limit``. ``times="bare"``: ours is at most ``limit`` times bare's.
    """

    limit: float
    over: str = ""
    times: str = ""


Expected = Callable[[int, Path], str]
Records = Callable[[int], Mapping[str, int]]


@dataclass(frozen=True)
class Line:
    """One line of the table. ``records``: how many calculations of each name ours has recorded when it is done."""

    phase: str
    title: str
    expected: Expected
    sides: tuple[str, ...]
    budget: Budget | None = None
    records: Records | None = None
    unit: str = "s"
    item: str = "call"


@dataclass(frozen=True)
class Row:
    """A name, how many items, its lines, and the share of the items that each side does."""

    name: str
    count: int
    lines: tuple[Line, ...]
    shares: Mapping[str, float] = field(default_factory=dict)
    prepare: Callable[[int, Path], None] | None = None
    least: int = 1
    long: bool = False

    def sides(self) -> list[str]:
        """All sides of any line, ours first."""
        return list(dict.fromkeys(side for line in self.lines for side in line.sides))

    def count_of(self, side: str, scale: float) -> int:
        """How many items a side does."""
        return max(self.least, round(self.count * self.shares.get(side, 1.0) * scale))


# What must come out


def _calls(count: int, _: Path) -> str:
    return work.digest(map(work.affine, range(count)))


def _total(count: int, _: Path) -> str:
    return work.digest([sum(map(work.affine, range(count)))])


def _texts(count: int, _: Path) -> str:
    return work.digest(work.texts(count))


def _layers(count: int, _: Path) -> str:
    return work.digest(work.layers(work.width_of(count), work.affine, work.combine))


def _sorted(_: int, __: Path) -> str:
    return work.digest(map(str, range(10_007)))


def _done(count: int, _: Path) -> str:
    return work.digest(["done"] * count)


def _nothing(_: int, __: Path) -> str:
    return ""


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _large(_: int, shared: Path) -> str:
    return _hash(shared / "large")


def _small(_: int, shared: Path) -> str:
    return work.digest(map(_hash, sorted((shared / "small").iterdir())))


def _buffers(count: int, _: Path) -> str:
    return work.digest(hashlib.sha256(data).hexdigest() for data in work.buffers(count))


# What ours has recorded


def _affine(count: int) -> dict[str, int]:
    return {"affine": count + work.WARM_UP}


def _echo(count: int) -> dict[str, int]:
    return {"print_number": count + 4}


def _steps(count: int) -> dict[str, int]:
    """Equal steps of a layer are one calculation; warm-up calls are none of the first layer's."""
    width = work.width_of(count)
    row: list[int] = [work.affine(number) for number in range(width)]
    joined: set[tuple[int, int]] = set()
    for _ in range(work.LAYERS - 1):
        pairs = [(row[number], row[(number + 1) % width]) for number in range(width)]
        joined.update(pairs)
        row = [work.combine(*pair) for pair in pairs]
    return {"affine": width + work.WARM_UP, "combine": len(joined)}


def _large_file(count: int, shared: Path) -> None:
    work.large_file(shared / "large", count << 20)


def _small_files(count: int, shared: Path) -> None:
    work.small_files(shared / "small", count)


_MAPS = ("ours", "dask", "dask-inf", "parsl", "parsl-checkpoint", "joblib", "redun")
_CACHES = ("ours", "parsl-checkpoint", "joblib", "redun")

ROWS = (
    Row(
        "map",
        20_000,
        (
            Line("map_cold", "calls through .map, cold", _calls, _MAPS, Budget(50e-6), _affine),
            Line("map_cached", "calls through .map, from the cache", _calls, _CACHES, Budget(10e-6), _affine),
        ),
        {"redun": 0.02},
    ),
    Row(
        "map-busy",
        20_000,
        (
            Line(
                "map_busy",
                "calls through .map beside a busy thread",
                _calls,
                ("ours", "dask", "dask-inf", "parsl"),
                Budget(100e-6),
                _affine,
            ),
        ),
        {"dask": 0.1, "dask-inf": 0.1, "parsl": 0.1},
    ),
    Row(
        "one",
        500,
        (
            Line("one_cold", "one call at a time, cold", _calls, _MAPS, Budget(1e-3), _affine),
            Line("one_cached", "one call at a time, from the cache", _calls, _CACHES, Budget(200e-6), _affine),
            Line("one_beside", "the same while a map runs", _calls, ("ours",), Budget(1e-3)),
        ),
        {"redun": 0.2},
    ),
    Row(
        "command-alone",
        200,
        (
            Line(
                "command_alone",
                "one command at a time",
                _texts,
                ("ours", "bare", "parsl", "redun"),
                Budget(3e-3, over="bare"),
                _echo,
                item="command",
            ),
        ),
        {"redun": 0.25},
    ),
    Row(
        "command-many",
        2000,
        (
            Line(
                "command_many",
                "commands",
                _texts,
                ("ours", "parsl", "redun", "snakemake"),
                Budget(1 / 400),
                _echo,
                item="command",
            ),
        ),
        {"parsl": 0.25, "redun": 0.1, "snakemake": 0.1},
        least=2,
    ),
    Row(
        "workflow",
        10_000,
        (
            Line(
                "workflow_cold",
                "a workflow in 100 layers, cold",
                _layers,
                _MAPS,
                Budget(100e-6),
                _steps,
                item="step",
            ),
            Line(
                "workflow_cached",
                "a workflow in 100 layers, from the cache",
                _layers,
                _CACHES,
                Budget(25e-6),
                _steps,
                item="step",
            ),
            Line("workflow_process", "the same, weft run as a process", _layers, ("ours",), item="step"),
        ),
        {"redun": 0.1},
        least=200,
    ),
    Row(
        "cli-version",
        20,
        (
            Line(
                "cli_version",
                "--version, whole process",
                _nothing,
                ("ours", "bare", "dask", "redun", "snakemake"),
                Budget(80e-3),
                item="process",
            ),
        ),
        {"redun": 0.5, "snakemake": 0.5},
    ),
    Row(
        "cli-do",
        20,
        (
            Line(
                "cli_do",
                "weft do from the cache, whole process",
                _sorted,
                ("ours", "redun", "snakemake"),
                Budget(120e-3),
                item="process",
            ),
        ),
        {"redun": 0.25, "snakemake": 0.5},
    ),
    Row(
        "hashing-large",
        1024,
        (
            Line(
                "hashing_large",
                "hashing a file of 1 GiB",
                _large,
                ("ours", "bare"),
                Budget(1 / 0.9, times="bare"),
                item="GiB",
            ),
        ),
        prepare=_large_file,
    ),
    Row(
        "hashing-small",
        10_000,
        (
            Line(
                "hashing_small",
                "hashing small files",
                _small,
                ("ours", "bare"),
                Budget(1 / 0.9, times="bare"),
                item="file",
            ),
        ),
        prepare=_small_files,
    ),
    Row(
        "buffers",
        100_000,
        (
            Line(
                "buffers_store",
                "storing small buffers",
                _buffers,
                ("ours", "bare-sqlite", "bare-files"),
                item="buffer",
            ),
        ),
    ),
    Row(
        "fifty",
        50,
        (
            Line(
                "fifty_distinct",
                "fifty processes at once on one home",
                _texts,
                ("ours", "joblib", "redun"),
                records=lambda count: {"printf": count},
                item="process",
            ),
            Line("fifty_same", "fifty at once that ask for the same", _done, ("ours",), item="process"),
        ),
        {"redun": 0.2},
    ),
    Row(
        "memory-streamed",
        100_000,
        (Line("memory_streamed", "peak memory, streamed calls", _total, ("ours",), Budget(150e6), _affine, unit="B"),),
        long=True,
    ),
    Row(
        "memory-streamed-more",
        1_000_000,
        (Line("memory_streamed", "peak memory, streamed calls", _total, ("ours",), Budget(150e6), _affine, unit="B"),),
        long=True,
    ),
    Row(
        "memory-workflow",
        100_000,
        (
            Line(
                "memory_workflow",
                "peak memory, a workflow in 100 layers",
                _layers,
                ("ours", "dask"),
                Budget(250e6),
                _steps,
                unit="B",
                item="step",
            ),
        ),
        least=200,
        long=True,
    ),
)


def chosen(names: list[str]) -> list[Row]:
    """The rows of these names or of names that begin so; without names all but the long ones."""
    if not names:
        return [row for row in ROWS if not row.long]
    unknown = [name for name in names if not any(matches(row, name) for row in ROWS)]
    if unknown:
        raise SystemExit(f"no row is called {', '.join(unknown)}; the rows are {', '.join(row.name for row in ROWS)}")
    return [row for row in ROWS if any(matches(row, name) for name in names)]


def matches(row: Row, name: str) -> bool:
    return row.name == name or row.name.startswith(f"{name}-")

"""Snakemake: shell rules with two cores, as its command runs them. What it knows is which files are there and why."""

from __future__ import annotations

from pathlib import Path

from benchmarks import work
from benchmarks.sides.common import WORKERS, Clock, Sample, Task, main, whole_processes

MANY = """\
rule all:
    input: expand("out/{number}.txt", number=range(int(config["count"])))

rule echo:
    output: "out/{number}.txt"
    shell: "printf %s {wildcards.number} > {output}"
"""

SORT = """\
rule sort:
    input: "numbers.txt"
    output: "sorted.txt"
    shell: "sort -n {input} -o {output}"
"""


def words(count: int) -> list[str]:
    return ["snakemake", "--cores", str(WORKERS), "--quiet", "all", "--config", f"count={count}"]


def command_many(task: Task) -> Sample:
    """The time with one rule to run is taken off: what is left is that of the others, without the start."""
    (task.folder / "Snakefile").write_text(MANY)
    whole_processes(words(1), 1, cwd=task.folder)
    (task.folder / "out" / "0.txt").unlink()
    alone = whole_processes(words(1), 1, cwd=task.folder).value
    (task.folder / "out" / "0.txt").unlink()
    with Clock() as clock:
        whole_processes(words(task.count), 1, cwd=task.folder)
    results = [_read(task.folder / "out" / f"{number}.txt") for number in range(task.count)]
    return Sample((clock.seconds - alone) / (task.count - 1), work.digest(results), {"the process with one": alone})


def _read(path: Path) -> str:
    return path.read_text()


def cli_version(task: Task) -> Sample:
    return whole_processes(["snakemake", "--version"], task.count)


def cli_do(task: Task) -> Sample:
    """Nothing to be done: the output is there and newer."""
    lines = [str(number * 7919 % 10_007) for number in range(10_007)]
    (task.folder / "numbers.txt").write_text("\n".join(lines) + "\n")
    (task.folder / "Snakefile").write_text(SORT)
    command = ["snakemake", "--cores", str(WORKERS), "--quiet", "all"]
    whole_processes(command, 1, cwd=task.folder)
    sample = whole_processes(command, task.count, cwd=task.folder)
    found = (task.folder / "sorted.txt").read_text().split()
    return Sample(sample.value, work.digest(found), sample.extra)


PHASES = {"command_many": command_many, "cli_version": cli_version, "cli_do": cli_do}

if __name__ == "__main__":
    main(PHASES)

"""A workflow of 200 steps, for the crash sweep: functions, commands, a map, conditions and a race.

Each step adds a line to a file that the engine does not know: the lines are the executions.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import weftwork as weft

HERE = Path(__file__).parent


def note(log: str, line: str) -> None:
    with open(log, "a") as file:
        file.write(line + "\n")


@weft.module
def first(log: str, n: int) -> int:
    note(log, f"first {n}")
    return n


@weft.module
def double(log: str, value: int) -> int:
    time.sleep(0.002)
    note(log, f"double {value}")
    return 2 * value


@weft.module
def total(log: str, values: list[int], others: list[int]) -> int:
    note(log, "total")
    return sum(values) + sum(others)


@weft.module
def even(log: str, value: int) -> bool:
    note(log, f"even {value}")
    return value % 2 == 0


@weft.module
def slow(log: str, value: int) -> int:
    time.sleep(0.3)
    note(log, f"slow {value}")
    return value


command = weft.load(HERE / "triple.module.yaml")


@weft.workflow
def sweep(log: str) -> dict[str, int]:
    firsts = [first(log, n) for n in range(60)]
    doubled = double.map(firsts, log=log)
    tripled = [command(log=log, value=n) for n in range(70)]
    check = even(log, doubled_total := total.options(name="total")(log, doubled, [each.tripled for each in tripled]))
    won = weft.race(
        name="won", fast=first.bind(log, 1000), late=slow.bind(log, 1000), accept=lambda each: each.result > 10
    )
    yes = first.options(name="yes", when=check.succeeded & (doubled_total > 0))(log, 2000)
    no = first.options(name="no", when=doubled_total < 0)(log, 3000)
    del no
    return {"total": doubled_total, "won": won, "yes": yes}


if __name__ == "__main__":
    log = sys.argv[1]
    outputs = weft.run(sweep, log=log)
    print(outputs.total, outputs.won, outputs.yes)

"""Thousands of calls in flight, for the crash sweep of the function lane: two maps side by side.

A call adds a line to the log that the engine does not know of: an execution. The process adds one to another file for
each result that it is told.
"""

from __future__ import annotations

import os
import sys
import threading

import weftwork as weft

EACH = 9_000
"""Calls of one map."""


@weft.module
def mark(log: str, value: int) -> int:
    append(log, b"%d\n" % value)
    return 3 * value + 1


def append(path: str, line: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(descriptor, line)
    os.close(descriptor)


def follow(log: str, told: str, values: range, errors: list[Exception]) -> None:
    try:
        for value, result in zip(values, mark.map(values, log=log), strict=True):
            append(told, b"%d %d\n" % (value, result))
    except Exception as error:
        errors.append(error)


if __name__ == "__main__":
    log, told = sys.argv[1:]
    errors: list[Exception] = []
    halves = [range(EACH), range(EACH, 2 * EACH)]
    threads = [threading.Thread(target=follow, args=(log, told, half, errors)) for half in halves]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        sys.exit("\n".join(map(str, errors)))

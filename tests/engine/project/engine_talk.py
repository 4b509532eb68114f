"""Functions that write, in every way there is."""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings

import weftwork as weft

log_ = logging.getLogger("engine_talk")


@weft.module
def chatter(value: int) -> int:
    print(f"print {value}.")
    sys.stderr.write(f"stderr {value}.\n")
    os.write(1, f"descriptor {value}.\n".encode())
    log_.warning("logging %s.", value)
    warnings.warn(f"warning {value}.", stacklevel=1)
    return value


@weft.module
def last_words() -> int:
    print("so far so good")
    raise RuntimeError("and then this")


@weft.module
def slowly(log: str) -> int:
    print("first words", flush=True)
    while not os.path.exists(log):
        time.sleep(0.01)
    print("last words")
    return 1

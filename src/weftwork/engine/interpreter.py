"""How Python is set in a process while an engine is open in it: for many threads, and for many short-lived objects.

The process is its user's, so only what they left at Python's own settings is changed, and it is put back at the end.

- A thread that waits for the interpreter gets it after half a millisecond instead of five: an answer of the ledger takes some
  dozens of microseconds, and a busy thread of the user would make ten milliseconds of it.
- The collector of cyclic garbage looks at young objects after 10,000 of them instead of 700: the calls of a map are none of
  its business, and cost a third less. Nothing is frozen, for what the user drops must be found.
"""

from __future__ import annotations

import gc
import sys
import threading
from typing import Final

_SWITCH: Final = 0.0005
_YOUNG: Final = 10_000
_PYTHONS_SWITCH: Final = 0.005
_PYTHONS_YOUNG: Final = 700

_lock = threading.Lock()
_open = 0


def engine_opened() -> None:
    """To be called once for each engine, with :func:`engine_closed` at its end."""
    global _open
    with _lock:
        _open += 1
        _change(_PYTHONS_SWITCH, _SWITCH, _PYTHONS_YOUNG, _YOUNG)


def engine_closed() -> None:
    global _open
    with _lock:
        _open -= 1
        if not _open:
            _change(_SWITCH, _PYTHONS_SWITCH, _YOUNG, _PYTHONS_YOUNG)


def _change(switch: float, new_switch: float, young: int, new_young: int) -> None:
    # The interval is kept in whole microseconds.
    if abs(sys.getswitchinterval() - switch) < 1e-6:
        sys.setswitchinterval(new_switch)
    first, *others = gc.get_threshold()
    if first == young:
        gc.set_threshold(new_young, *others)

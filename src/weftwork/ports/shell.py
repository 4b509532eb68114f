"""Where the commands of other systems are run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended that a :class:`Shell` ran: exit code (minus the signal that ended it), and both streams as text.

    Bytes that are not UTF-8 are shown as ``\\xNN``; what a site's start-up files print is in the streams too, before
    or after what the command says.
    """

    exit_code: int
    stdout: str
    stderr: str


class Shell(Protocol):
    """Where the commands of a batch system or a container engine are run: here, or on a host that one logs in to.

    *When* ``run`` returns, the words were run as they are, each one word, and the command has ended. *When* it raises
    :class:`~weftwork.errors.Unavailable`, the host was not reached, the connection broke, there is no such program or
    ``seconds`` ran out: the command may have run or not, and whoever must know asks. After a broken connection the next
    ``run`` connects anew. Never blocks the loop.
    """

    name: str

    async def run(self, words: Sequence[str], stdin: bytes = b"", seconds: float = 60.0) -> Ran: ...

    async def put(self, path: str, data: bytes) -> None:
        """A small file, whole or not at all, with the folders above it."""
        ...

    async def get(self, path: str) -> bytes | None:
        """A small file's bytes; ``None`` where there is no such file."""
        ...

    async def close(self) -> None: ...

"""The shell of this host: commands as processes of their own, run and waited for off the loop."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from weftwork.errors import Unavailable
from weftwork.formats.adapters import Adapter
from weftwork.formats.kinds import TEXT, Key, Named, Section
from weftwork.formats.module_keys import VARIABLE
from weftwork.ports import Ran
from weftwork.sites.adapters import Making


class Here:
    """Runs words on this host. See :class:`weftwork.ports.Shell`.

    ``environment`` are variables beside those of this process; one that is ``None`` is taken away.
    """

    name = "this host"

    def __init__(self, environment: Mapping[str, str | None] | None = None) -> None:
        self._environment = dict(environment or {})

    async def run(self, words: Sequence[str], stdin: bytes = b"", seconds: float = 60.0) -> Ran:
        return await asyncio.to_thread(self._run, list(words), stdin, seconds)

    def _run(self, words: list[str], stdin: bytes, seconds: float) -> Ran:
        merged = {**os.environ, **self._environment}
        environment = {name: value for name, value in merged.items() if value is not None}
        try:
            # A session of its own: an interrupt of the terminal must not end a submission half-way.
            done = subprocess.run(
                words, input=stdin, capture_output=True, timeout=seconds, env=environment, start_new_session=True
            )
        except subprocess.TimeoutExpired as error:
            raise Unavailable(f"{words[0]} did not answer within {seconds:g} s") from error
        except OSError as error:
            raise Unavailable(f"{words[0]} cannot be run on this host: {error.strerror or error}") from error
        return Ran(done.returncode, text(done.stdout), text(done.stderr))

    async def put(self, path: str, data: bytes) -> None:
        await asyncio.to_thread(write, Path(path), data)

    async def get(self, path: str) -> bytes | None:
        return await asyncio.to_thread(_read, Path(path))

    async def close(self) -> None:
        """Nothing is held between two commands."""


def text(data: bytes) -> str:
    """What a command printed, as text that can always be shown."""
    return data.decode("utf-8", "backslashreplace")


def write(path: Path, data: bytes) -> None:
    """A file by way of a second name: whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        beside.write_bytes(data)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def adapter() -> Adapter:
    return Adapter(
        "shell",
        "here",
        Section(
            "shell here",
            "This host.",
            {"environment": Key(Named(TEXT, "a variable", VARIABLE), "variables for the commands: SLURM_CONF")},
        ),
    )


def make(making: Making) -> Here:
    return Here(making.options.get("environment"))

"""The shell of a host that one logs in to: the system's ``ssh``, with the user's own configuration, keys and agent.

One connection, held by a master process of ssh's own; each command is a channel of it. A connection that broke is
made anew by the next command. Nothing is ever asked: what would need a password or a yes is refused, with what to do.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import secrets
import shlex
import subprocess
import tempfile
from collections.abc import Sequence

from weftwork.errors import Unavailable
from weftwork.formats.adapters import Adapter
from weftwork.formats.kinds import SOME_TEXT, Key, Section
from weftwork.formats.module_keys import TEXTS
from weftwork.node.home import runtime_directory
from weftwork.ports import Ran
from weftwork.sites.adapters import Making
from weftwork.sites.shells.here import text

_IDLE = 600
"""Seconds after which a connection that nobody uses is closed, also when this process was killed."""

_OPTIONS = ("BatchMode=yes", "ConnectTimeout=15", "ServerAliveInterval=10", "ServerAliveCountMax=3")


class Ssh:
    """Runs words on ``host``, which is whatever ``ssh`` takes: ``name``, ``user@name``, a name of ``~/.ssh/config``.

    ``options`` are further ``-o`` settings, ``Port=2222`` and the like; ``program`` is the client. See :class:`weftwork.ports.Shell`.
    """

    def __init__(self, host: str, options: Sequence[str] = (), program: str = "ssh") -> None:
        self.name = host
        self._program = program
        self._options = [word for option in (*_OPTIONS, *options) for word in ("-o", option)]
        digest = hashlib.sha256("\0".join([host, *options, str(os.getpid()), secrets.token_hex(4)]).encode())
        self._socket = os.path.join(runtime_directory(), f"ssh-{digest.hexdigest()[:16]}")
        self._connecting = asyncio.Lock()

    async def run(self, words: Sequence[str], stdin: bytes = b"", seconds: float = 60.0) -> Ran:
        return await self._run(shlex.join(words), stdin, seconds)

    async def _run(self, command: str, stdin: bytes, seconds: float) -> Ran:
        async with self._connecting:
            await asyncio.to_thread(self._connect)
        return await asyncio.to_thread(self._execute, command, stdin, seconds)

    async def put(self, path: str, data: bytes) -> None:
        folder, target = shlex.quote(os.path.dirname(path)), shlex.quote(path)
        beside = shlex.quote(f"{path}.{secrets.token_hex(4)}")
        # The length says whether all of it arrived: a connection that breaks looks like the end of the file.
        whole = f'[ "$(wc -c < {beside})" -eq {len(data)} ]'
        done = await self._run(
            f"mkdir -p {folder} && cat > {beside} && {whole} && mv -f {beside} {target}", data, 300.0
        )
        if done.exit_code != 0:
            raise Unavailable(
                f"{path} could not be written on {self.name}: {done.stderr.strip() or 'it was cut short'}"
            )

    async def get(self, path: str) -> bytes | None:
        name = shlex.quote(path)
        done = await self._run(f"if [ -e {name} ]; then base64 < {name}; else exit 66; fi", b"", 300.0)
        if done.exit_code == 66:
            return None
        if done.exit_code != 0:
            raise Unavailable(f"{path} could not be read on {self.name}: {done.stderr.strip()}")
        return base64.b64decode(done.stdout)

    def _connect(self) -> None:
        """A master that lives. What it says goes to a file: it goes on in the background and would hold a pipe open."""
        if self._control("check"):
            return
        words = [
            self._program,
            *self._options,
            "-o",
            f"ControlPersist={_IDLE}",
            "-M",
            "-S",
            self._socket,
            "-fN",
            self.name,
        ]
        with tempfile.TemporaryFile() as said:
            try:
                done = subprocess.run(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=said,
                    timeout=60,
                    start_new_session=True,
                )
            except subprocess.TimeoutExpired as error:
                raise Unavailable(f"no connection to {self.name} within 60 s") from error
            except OSError as error:
                raise Unavailable(f"{self._program} cannot be run: {error.strerror or error}") from error
            said.seek(0)
            reason = text(said.read()).strip()
        if done.returncode != 0:
            raise Unavailable(
                f"no connection to {self.name}: {reason or 'ssh says nothing'}; `ssh {self.name}` must work without asking anything"
            )

    def _control(self, what: str) -> bool:
        words = [self._program, "-S", self._socket, "-O", what, self.name]
        try:
            done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0

    def _execute(self, command: str, stdin: bytes, seconds: float) -> Ran:
        """Run a line of ``sh`` there, whatever the login shell is and whatever it prints first."""
        mark = f"weft-{secrets.token_hex(8)}"
        line = f"echo {mark}; ( {command}\n); echo {mark} $? >&2"
        words = [self._program, *self._options, "-o", "ControlMaster=no", "-S", self._socket, "-T", self.name]
        try:
            done = subprocess.run(
                [*words, f"exec sh -c {shlex.quote(line)}"],
                input=stdin,
                capture_output=True,
                timeout=seconds,
                start_new_session=True,
            )
        except subprocess.TimeoutExpired as error:
            # Perhaps the connection hangs: the next command makes a new one.
            self._control("exit")
            raise Unavailable(f"{self.name} did not answer within {seconds:g} s") from error
        except OSError as error:
            raise Unavailable(f"{self._program} cannot be run: {error.strerror or error}") from error
        stdout, stderr = text(done.stdout), text(done.stderr)
        said, ended, code = stderr.rpartition(f"{mark} ")
        if not ended:
            raise Unavailable(f"the connection to {self.name} broke: {stderr.strip() or 'ssh says nothing'}")
        if int(code) == 127:
            raise Unavailable(f"the command cannot be run on {self.name}: {said.strip()}")
        return Ran(int(code), stdout.partition(f"{mark}\n")[2], said)

    async def close(self) -> None:
        """Close the connection, whoever still talks over it."""
        await asyncio.to_thread(self._control, "exit")


def adapter() -> Adapter:
    return Adapter(
        "shell",
        "ssh",
        Section(
            "shell ssh",
            "A host that one logs in to with ssh, as the user's own configuration says.",
            {
                "host": Key(SOME_TEXT, "what ssh takes: name, user@name, or a name of ~/.ssh/config", required=True),
                "options": Key(TEXTS, "further settings, as after ssh -o: Port=2222"),
                "program": Key(SOME_TEXT, "the client; ssh where nothing is said"),
            },
        ),
    )


def make(making: Making) -> Ssh:
    options = making.options
    return Ssh(options["host"], options.get("options", ()), options.get("program", "ssh"))

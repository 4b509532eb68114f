"""What the loop of a polled scheduler knows: its tasks, and what of them is to be ended. One loop writes it."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Iterable
from pathlib import Path

from weftwork.ports import Ran, Report, Shell
from weftwork.sites.schedulers.polled import batches
from weftwork.sites.schedulers.polled.batches import Key
from weftwork.sites.schedulers.polled.dialect import Dialect
from weftwork.sites.schedulers.polled.entries import Entry
from weftwork.sites.schedulers.polled.pace import Bucket, Pace, Settings


class Queue:
    """Tasks by name; ``ending``: those to be ended at the batch system, from a time on, whoever waits for them.

    ``submitting``: names of batches of which nobody knows yet whether they were taken.
    """

    def __init__(self, dialect: Dialect, shell: Shell, home: Path, settings: Settings, pace: Pace) -> None:
        self.dialect = dialect
        self.home = home
        self.settings = settings
        self.pace = pace
        self.entries: dict[str, Entry] = {}
        self.ending: dict[Key, float] = {}
        self.submitting: set[str] = set()
        self.interval = pace.poll
        self._shell = shell
        self._bucket = Bucket(pace.burst, pace.every)
        self._of_batch: collections.Counter[str] = collections.Counter()

    async def command(self, words: list[str], stdin: bytes = b"") -> Ran:
        """Run a command that reaches the controller. Raises Unavailable."""
        await self._bucket.take()
        return await self._shell.run(words, stdin)

    def batch_folder(self, name: str) -> Path:
        return self.home / "batches" / name

    def put(self, entry: Entry, key: Key) -> None:
        """The task is in a batch now."""
        entry.key = key
        self._of_batch[key.batch] += 1

    def take_out(self, entry: Entry) -> None:
        """The task is in no batch any more: that one was refused as a whole."""
        if entry.key is not None:
            self._leave_batch(entry.key.batch)
            entry.key = None

    def in_batches(self) -> int:
        return self._of_batch.total()

    def batch_names(self) -> Iterable[str]:
        return self._of_batch

    def end(self, entry: Entry, report: Report | None) -> None:
        """A task is over here. The files of a batch go with its last task."""
        if self.entries.get(entry.name) is entry:
            del self.entries[entry.name]
            if entry.key is not None:
                self._leave_batch(entry.key.batch)
        entry.end(report)

    def leave(self, entry: Entry) -> None:
        """Others go on with a task: its batch stays as it is."""
        if self.entries.pop(entry.name, None) is not None and entry.key is not None:
            self._of_batch -= collections.Counter([entry.key.batch])
        entry.end(None)

    def _leave_batch(self, name: str) -> None:
        self._of_batch[name] -= 1
        if not self._of_batch[name]:
            del self._of_batch[name]
            asyncio.get_running_loop().run_in_executor(None, _forget, self.batch_folder(name))


def _forget(folder: Path) -> None:
    """Others may have tasks of the same batch: its list stays until each was begun, or never will be."""
    if batches.begun_or_gone(folder):
        batches.forget(folder)

"""A loop on a thread of its own, and the way from synchronous code into it: never a second implementation.

The thread is gone in a forked child: there every call is refused, where it would wait for ever.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from weftwork.errors import Refused

T = TypeVar("T")


class Portal:
    """Runs coroutines on one background loop. Start it before use; stop it after the last."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._pid = os.getpid()
        self._stopped = False

    def start(self) -> None:
        self._thread.start()

    @property
    def forked(self) -> bool:
        """Whether this is a copy in a child of the process that it was made in."""
        return os.getpid() != self._pid

    def check(self) -> None:
        """Raise Refused where no call can be answered: in a forked child, and after the end."""
        if self.forked:
            raise Refused(
                f"this session belongs to the process {self._pid}, of which this one is a fork: ask weft.session() for one "
                "of its own, and submit again"
            )
        if self._stopped:
            raise Refused("this session is closed: open another one")

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def send(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Begin a coroutine; its future. Cancelling the future cancels the coroutine. Raises Refused after the end."""
        try:
            self.check()
            return asyncio.run_coroutine_threadsafe(work, self.loop)
        except BaseException:
            work.close()
            raise

    def call(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run a coroutine to its end. An interrupt of the waiting thread cancels it there."""
        future = self.send(work)
        try:
            return future.result(timeout)
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        """End the loop: what is left on it is cancelled, so that nobody waits for it for ever."""
        if self._stopped or self.forked:
            return
        last = asyncio.run_coroutine_threadsafe(self._drain(), self.loop)
        self._stopped = True
        last.result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        if not self._thread.is_alive():
            self.loop.close()

    async def _drain(self) -> None:
        await asyncio.sleep(0)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self.loop.shutdown_default_executor()

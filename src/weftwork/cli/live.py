"""The live display: one line a step, redrawn in place on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from weftwork.cli.progress import Board, Line
from weftwork.cli.text import headline

_STYLES = {
    "waiting": "dim",
    "running": "cyan",
    "succeeded": "green",
    "failed": "bold red",
    "cancelled": "yellow",
    "skipped": "dim",
}
_ORDER = {"failed": 0, "running": 1, "cancelled": 2, "waiting": 3, "succeeded": 4, "skipped": 5}


class LiveDisplay:
    """Draws the board on standard error. Ten thousand items of a map are one line."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._console = Console(stderr=True)
        self._live = Live(
            console=self._console, auto_refresh=False, transient=False, redirect_stdout=False, redirect_stderr=False
        )
        self._live.start()

    def show(self) -> None:
        self._board.take()
        self._live.update(self._table(), refresh=True)

    def close(self) -> None:
        self.show()
        self._live.stop()

    def _table(self) -> Table:
        grid = Table.grid(padding=(0, 2))
        lines = list(self._board.lines.values())
        room = max(self._console.size.height - 2, 3)
        shown = lines
        if len(lines) > room:
            keep = sorted(lines, key=lambda line: _ORDER.get(line.state, 9))[: room - 1]
            chosen = {line.name for line in keep}
            shown = [line for line in lines if line.name in chosen]
        for line in shown:
            grid.add_row(
                Text(line.name), Text(line.state, style=_STYLES.get(line.state, "")), Text(line.marks()), _detail(line)
            )
        if len(shown) < len(lines):
            grid.add_row(Text(f"… {len(lines) - len(shown):,} more steps", style="dim"))
        return grid


def _detail(line: Line) -> Text:
    return Text(headline(line.detail), style="dim", overflow="ellipsis", no_wrap=True)

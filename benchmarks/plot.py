"""The plot: for each line ours beside the peers, on a logarithmic axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers import SIDES

STYLES = {
    "ours": ("#0b6e4f", "o"),
    "dask": ("#e07a1f", "s"),
    "dask-inf": ("#f2b872", "s"),
    "parsl": ("#3b6fb6", "^"),
    "parsl-checkpoint": ("#9bbce6", "^"),
    "joblib": ("#a0439b", "D"),
    "redun": ("#c8373f", "v"),
    "snakemake": ("#6b4a2b", "p"),
    "bare": ("#8a8a8a", "x"),
    "bare-sqlite": ("#8a8a8a", "+"),
    "bare-files": ("#8a8a8a", "1"),
}


def draw(lines: Sequence[Mapping[str, Any]], path: Path) -> bool:
    """Write the plot of all lines that are times. False where there are none."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    timed = [line for line in lines if line["unit"] == "s"]
    if not timed:
        return False
    pyplot.rcParams.update({"font.family": "sans-serif", "font.size": 10})
    figure, axes = pyplot.subplots(figsize=(10.5, 1.7 + 0.46 * len(timed)), layout="constrained")
    for height, line in enumerate(reversed(timed)):
        _line(axes, height, line)
    _furnish(axes, [_label(line) for line in reversed(timed)])
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
    return True


def _line(axes: Any, height: int, line: Mapping[str, Any]) -> None:
    """One line: a band, the budget as a bar across it, and a mark with its range for each side."""
    if height % 2 == 0:
        axes.axhspan(height - 0.5, height + 0.5, color="#f4f4f1", zorder=0, linewidth=0)
    limit = _limit(line)
    if limit is not None:
        axes.plot([limit, limit], [height - 0.36, height + 0.36], color="#0b6e4f", linewidth=2.2, alpha=0.35, zorder=1)
    for name, side in reversed(line["sides"].items()):
        if side["median"] is None:
            continue
        color, marker = STYLES[name]
        size = 9 if name == "ours" else 7
        axes.plot([side["min"], side["max"]], [height, height], color=color, linewidth=1.6, alpha=0.6, zorder=2)
        edge = {} if marker in "x+1" else {"markeredgecolor": "white", "markeredgewidth": 0.8}
        axes.plot(
            side["median"], height, marker, color=color, markersize=size, zorder=4 if name == "ours" else 3, **edge
        )


def _limit(line: Mapping[str, Any]) -> float | None:
    """Where ours has to be, in seconds."""
    budget = line["budget"]
    if budget is None:
        return None
    related = budget["over"] or budget["times"]
    bare = line["sides"][related]["median"] if related else 0.0
    if bare is None:
        return None
    return float(bare * budget["limit"] if budget["times"] else bare + budget["limit"])


def _label(line: Mapping[str, Any]) -> str:
    return f"{line['title']}\none {line['item']}, N = {line['sides']['ours']['count']:,}"


def _furnish(axes: Any, labels: Sequence[str]) -> None:
    """Axes, grid and legend."""
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter, LogLocator

    axes.set_xscale("log")
    axes.set_yticks(range(len(labels)), labels, fontsize=8.5, linespacing=1.15)
    axes.set_ylim(-0.5, len(labels) - 0.5)
    axes.xaxis.set_major_locator(LogLocator(10, numticks=20))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))
    axes.grid(axis="x", which="major", color="#d8d8d4", linewidth=0.8, zorder=0)
    axes.tick_params(axis="both", length=0)
    axes.set_xlabel("time of one item, median of the rounds; a thin line spans the least and the most (less is better)")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    drawn = {each.get_marker() + each.get_color() for each in axes.get_lines()}
    handles = [
        Line2D([], [], linestyle="", marker=marker, color=color, label=SIDES[name].label)
        for name, (color, marker) in STYLES.items()
        if marker + color in drawn
    ]
    handles.append(Line2D([], [], linestyle="", marker="|", markersize=12, color="#0b6e4f", alpha=0.5, label="budget"))
    axes.figure.legend(handles=handles, loc="outside upper center", ncols=5, frameon=False, fontsize=9)


def _tick(value: float) -> str:
    for size, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")):
        if value >= size * 0.999:
            return f"{value / size:.0f} {name}"
    return ""

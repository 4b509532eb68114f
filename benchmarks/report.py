"""The table: on the terminal, as JSON, and as Markdown between two markers of ``docs/performance.md``."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.peers import SIDES
from benchmarks.rows import Budget, Line, Row
from benchmarks.running import Measured

DOCUMENT = Path(__file__).parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- table: written by make bench -->", "<!-- end of the table -->"


def summary(row: Row, line: Line, measured: Mapping[str, Measured]) -> dict[str, Any]:
    """One line of the table as JSON: everything that was measured, medians, ratios to ours, and the budget."""
    sides = {name: _side(each) for name, each in measured.items()}
    ours = sides["ours"]["median"]
    for name, side in sides.items():
        if name != "ours" and ours and side["median"]:
            side["ratio"] = side["median"] / ours
    return {
        "row": row.name,
        "phase": line.phase,
        "title": line.title,
        "unit": line.unit,
        "item": line.item,
        "budget": _budget(line.budget, sides),
        "sides": sides,
    }


def _side(measured: Measured) -> dict[str, Any]:
    values = measured.values
    found: dict[str, Any] = asdict(measured)
    found["median"] = statistics.median(values) if values else None
    found["min"], found["max"] = (min(values), max(values)) if values else (None, None)
    return found


def _budget(budget: Budget | None, sides: Mapping[str, dict[str, Any]]) -> dict[str, Any] | None:
    """The limit, what is held against it, and their quotient: at most 1 is met."""
    if budget is None:
        return None
    ours = sides["ours"]["median"]
    bare = sides[budget.over or budget.times]["median"] if budget.over or budget.times else 0.0
    found = {**asdict(budget), "value": None, "used": None}
    if ours is None or bare is None:
        return found
    value = ours - bare if budget.over else ours / bare if budget.times else ours
    return {**found, "value": value, "used": value / budget.limit}


# Text


def amount(value: float | None, unit: str) -> str:
    """Seconds or bytes as people read them."""
    if value is None:
        return "–"
    if unit == "B":
        return f"{value / 1e6:.0f} MB"
    for size, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if value >= size:
            return f"{value / size:.3g} {name}"
    return f"{value / 1e-9:.3g} ns"


def spread(side: Mapping[str, Any], unit: str) -> str:
    """The median, with the least and the most."""
    if side["median"] is None:
        return "failed"
    text = amount(side["median"], unit)
    if len(side["values"]) > 1:
        text += f" ({amount(side['min'], unit)} – {amount(side['max'], unit)})"
    if side["failures"]:
        text += f", {len(side['failures'])} rounds failed"
    return text


def times(ratio: float) -> str:
    return f"{ratio:.3g}×" if ratio < 100 else f"{ratio:.0f}×"


def budget_text(line: Mapping[str, Any]) -> str:
    """What is allowed."""
    budget = line["budget"]
    if budget is None:
        return ""
    if budget["times"]:
        return f"{budget['limit']:.2f}× {budget['times']}"
    return amount(budget["limit"], line["unit"]) + (f" over {budget['over']}" if budget["over"] else "")


def verdict(line: Mapping[str, Any]) -> str:
    """Whether the budget is met, or how far away it is."""
    budget = line["budget"]
    if budget is None or budget["used"] is None:
        return ""
    value = times(budget["value"]) if budget["times"] else amount(budget["value"], line["unit"])
    told = f" ({value} over {budget['over']})" if budget["over"] else ""
    return f"met{told}" if budget["used"] <= 1 else f"{budget['used']:.3g}× the budget{told}"


def table(lines: Sequence[Mapping[str, Any]]) -> str:
    """For the terminal: each line with its sides below it."""
    out = []
    for line in lines:
        budget = f"   budget {budget_text(line)}: {verdict(line)}" if line["budget"] else ""
        out.append(f"\n{line['title']}, one {line['item']}{budget}")
        for name, side in line["sides"].items():
            ratio = times(side["ratio"]) if side.get("ratio") else ""
            label = SIDES[name].label
            out.append(f"  {label:22} {spread(side, line['unit']):42} {ratio:>8}   N = {side['count']:,}")
            out += [f"  {'':22} {failure}" for failure in dict.fromkeys(side["failures"])]
    return "\n".join(out)


def markdown(result: Mapping[str, Any], picture: str | None) -> str:
    """For the documentation: a table with one row a line."""
    out = [
        f"Measured {result['date']}, {result['rounds']} rounds. {machine.text_of(result['machine'])}",
        "",
        "| work, for one item | N | budget | Weftwork: median (least – most) | | others: median, times ours |",
        "|---|---|---|---|---|---|",
    ]
    for line in result["lines"]:
        ours = line["sides"]["ours"]
        others = [_other(line, name, side, ours["count"]) for name, side in line["sides"].items() if name != "ours"]
        cells = [f"{line['title']} ({line['item']})", f"{ours['count']:,}", budget_text(line)]
        cells += [spread(ours, line["unit"]), verdict(line), "<br>".join(others)]
        out.append(f"| {' | '.join(cells)} |")
    if picture:
        out += ["", f"![The same as a plot: the time of one item, on a logarithmic axis]({picture})"]
    return "\n".join(out)


def _other(line: Mapping[str, Any], name: str, side: Mapping[str, Any], count: int) -> str:
    fewer = f", N = {side['count']:,}" if side["count"] != count else ""
    if side["median"] is None:
        reason = side["failures"][0].replace("|", " ")[:120] if side["failures"] else "not reached"
        return f"{SIDES[name].label}: failed ({reason}){fewer}"
    ratio = times(side["ratio"]) if side.get("ratio") else "–"
    return f"{SIDES[name].label} {amount(side['median'], line['unit'])}, {ratio}{fewer}"


def write_document(text: str) -> None:
    """Put the table between its markers."""
    page = DOCUMENT.read_text("utf-8")
    before, _, rest = page.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"{DOCUMENT} has lost its markers: {BEGIN} and {END}")
    DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", "utf-8")

"""A workflow as a drawing: boxes in layers, so that every arrow points onwards. Text for a terminal, SVG for a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from weftwork.core.checksum import Checksum
from weftwork.core.condition import steps_of
from weftwork.core.expression import Expression, InputOf, OutputOf, leaves
from weftwork.core.module import Module
from weftwork.core.step import Step
from weftwork.core.workflow import Workflow

_WIDTH, _HEIGHT, _GAP, _BETWEEN, _MARGIN = 190, 56, 36, 64, 24
_LETTER = 6.6


@dataclass(slots=True)
class Box:
    """Something in a drawing. ``reads`` are the boxes whose values it takes, ``waits`` those that its condition looks at."""

    name: str
    title: str
    notes: tuple[str, ...] = ()
    kind: str = "step"
    reads: tuple[str, ...] = ()
    waits: tuple[str, ...] = ()
    layer: int = 0
    x: float = 0.0
    y: float = 0.0
    width: float = _WIDTH
    height: float = field(default=_HEIGHT)


def boxes(workflow: Workflow, modules: Mapping[Checksum, Module]) -> list[Box]:
    """The inputs, steps and outputs of a workflow, each in the first layer after all that it needs."""
    found = [Box(f"${each.name}", each.name, (str(each.type),), "input") for each in workflow.inputs]
    found += [_step(each, modules) for each in workflow.steps]
    found += [
        Box(f"={name}", name, (), "output", tuple(dict.fromkeys(_sources(expression))))
        for name, expression in workflow.outputs.items()
    ]
    _layers(found)
    return found


def _step(step: Step, modules: Mapping[Checksum, Module]) -> Box:
    notes = []
    if step.race is not None:
        notes.append("race: " + " | ".join(each.name for each in step.race.candidates))
        if step.race.accept is not None:
            notes.append(f"accept {step.race.accept}")
    elif step.module is not None:
        module = modules[step.module].name
        notes += [module] if module != step.name else []
    if step.for_each is not None:
        notes.append(f"for each {step.for_each.variable} in {_written(step.for_each.over)}")
    if step.when is not None:
        notes.append(f"when {step.when}")
    expressions = [each for program in step.programs() for each in program.inputs.values()]
    if step.for_each is not None:
        expressions.append(step.for_each.over)
    reads = dict.fromkeys(source for each in expressions for source in _sources(each))
    waits = () if step.when is None else tuple(each for each in steps_of(step.when) if each not in reads)
    kind = "race" if step.race is not None else "map" if step.for_each is not None else "step"
    return Box(step.name, step.name, tuple(notes), kind, tuple(reads), waits)


def _sources(expression: Expression) -> list[str]:
    out = []
    for each in leaves(expression):
        if isinstance(each, OutputOf):
            out.append(each.step)
        elif isinstance(each, InputOf):
            out.append(f"${each.name}")
    return out


def _written(expression: Expression) -> str:
    return str(expression) if isinstance(expression, (OutputOf, InputOf)) else "a list"


def _layers(found: Sequence[Box]) -> None:
    """The longest way to each box, worked out in one pass over an order in which all that a box needs comes first."""
    by_name = {box.name: box for box in found}
    readers: dict[str, list[Box]] = {}
    left: dict[str, int] = {}
    for box in found:
        needs = [each for each in (*box.reads, *box.waits) if each in by_name]
        left[box.name] = len(needs)
        for each in needs:
            readers.setdefault(each, []).append(box)
    ready = [box for box in found if not left[box.name]]
    for box in ready:
        box.layer = max(box.layer, 0 if box.kind == "input" else 1)
        for reader in readers.get(box.name, ()):
            reader.layer = max(reader.layer, box.layer + 1)
            left[reader.name] -= 1
            if not left[reader.name]:
                ready.append(reader)
    last = max((box.layer for box in found if box.kind != "output"), default=0)
    for box in found:
        if box.kind == "output":
            box.layer = last + 1


def text(workflow: Workflow, found: Sequence[Box]) -> str:
    """The drawing for a terminal: a paragraph a layer, a line a box, with what it needs behind an arrow."""
    lines = [workflow.name]
    width = max((len(box.title) for box in found), default=0)
    for layer in sorted({box.layer for box in found}):
        members = [box for box in found if box.layer == layer]
        kind = members[0].kind
        lines += ["", {"input": "inputs", "output": "outputs"}.get(kind, f"layer {layer}")]
        for box in members:
            needs = ", ".join([*box.reads, *(f"({each})" for each in box.waits)])
            notes = "  ".join(box.notes)
            sign = {"map": "×", "race": "≷", "input": "○", "output": "●"}.get(box.kind, "▪")
            arrow = f"  ← {needs}" if needs else ""
            lines.append(f"  {sign} {box.title.ljust(width)}{arrow}{'   ' + notes if notes else ''}".rstrip())
    return "\n".join(lines)


def svg(workflow: Workflow, found: Sequence[Box]) -> str:
    """The drawing as SVG, from top to bottom."""
    width, height = _place(found)
    by_name = {box.name: box for box in found}
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" font-family="system-ui, sans-serif" font-size="12">'
    )
    marker = (
        '<defs><marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#5b6b7b"/></marker></defs>'
    )
    out = [
        head,
        f"<title>{escape(workflow.name)}</title>",
        marker,
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>',
    ]
    for box in found:
        for dashed, needs in ((False, box.reads), (True, box.waits)):
            out += [_arrow(by_name[each], box, dashed=dashed) for each in needs if each in by_name]
    out += [_drawn(box) for box in found]
    return "\n".join([*out, "</svg>", ""])


def _place(found: Sequence[Box]) -> tuple[float, float]:
    """Positions: each layer in the order of what its boxes need (their mean place), centred. The size of the whole."""
    layers: list[list[Box]] = [
        [box for box in found if box.layer == layer] for layer in sorted({box.layer for box in found})
    ]
    by_name = {box.name: box for box in found}
    for box in found:
        longest = max(len(each) for each in (box.title, *box.notes))
        box.width = max(90.0, min(longest * _LETTER + 28, 420.0))
        box.height = 30.0 + 16 * len(box.notes)
    top, widest = float(_MARGIN), max((_row_width(row) for row in layers), default=0.0)
    for row in layers:
        means = {
            box.name: _mean([by_name[each].x for each in (*box.reads, *box.waits) if each in by_name]) for box in row
        }
        row.sort(key=lambda box: means[box.name])
        x = _MARGIN + (widest - _row_width(row)) / 2
        for box in row:
            box.x, box.y = x + box.width / 2, top
            x += box.width + _GAP
        top += max(box.height for box in row) + _BETWEEN
    return widest + 2 * _MARGIN, top - _BETWEEN + _MARGIN


def _row_width(row: Sequence[Box]) -> float:
    return sum(box.width for box in row) + _GAP * (len(row) - 1)


def _mean(places: Sequence[float]) -> float:
    return sum(places) / len(places) if places else 0.0


def _arrow(start: Box, end: Box, *, dashed: bool) -> str:
    x1, y1, x2, y2 = start.x, start.y + start.height, end.x, end.y - 2
    bend = max((y2 - y1) / 2, 12.0)
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return (
        f'<path d="M{x1:.1f} {y1:.1f}C{x1:.1f} {y1 + bend:.1f} {x2:.1f} {y2 - bend:.1f} {x2:.1f} {y2:.1f}" fill="none" '
        f'stroke="#5b6b7b" stroke-width="1.3"{dash} marker-end="url(#end)"/>'
    )


_FILL = {"input": "#eef3f8", "output": "#e8f5ec", "step": "#ffffff", "map": "#ffffff", "race": "#fff8e6"}


def _drawn(box: Box) -> str:
    left = box.x - box.width / 2
    round_ = box.height / 2 if box.kind in ("input", "output") else 6
    shape = (
        f'<rect x="{{x:.1f}}" y="{{y:.1f}}" width="{box.width:.1f}" height="{box.height:.1f}" rx="{round_:.0f}" '
        f'fill="{_FILL[box.kind]}" stroke="#34495e"/>'
    )
    parts = [shape.format(x=left + shift, y=box.y + shift) for shift in ((6, 3, 0) if box.kind == "map" else (0,))]
    parts.append(
        f'<text x="{box.x:.1f}" y="{box.y + 19:.1f}" text-anchor="middle" font-weight="600">{_cut(box.title)}</text>'
    )
    parts += [
        f'<text x="{box.x:.1f}" y="{box.y + 19 + 16 * (row + 1):.1f}" text-anchor="middle" fill="#5b6b7b">{_cut(note)}</text>'
        for row, note in enumerate(box.notes)
    ]
    return f'<g class="{box.kind}">{"".join(parts)}</g>'


def _cut(text: str) -> str:
    return escape(text if len(text) <= 60 else text[:59] + "…")

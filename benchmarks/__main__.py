"""``python -m benchmarks``: run rows, profile one, make the peers' environments, write the table of results."""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import machine, peers, plot, report
from benchmarks.rows import ROWS, Row, chosen
from benchmarks.running import run_row

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    options = _parser().parse_args()
    options.do(options)


def run(options: argparse.Namespace) -> None:
    """Measure, and write what was found. A whole measurement goes into the documentation, a trial does not."""
    rows = chosen(options.rows.split())
    RESULTS.mkdir(exist_ok=True)
    whole = not options.rows and options.scale == 1 and options.rounds >= 5
    scratch = Path(tempfile.mkdtemp(prefix="weft-bench-", dir=options.scratch or None))
    result: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "rounds": options.rounds,
        "scale": options.scale,
        "machine": machine.described(scratch),
        "lines": [],
    }
    print(machine.text_of(result["machine"]))
    path = RESULTS / f"{'' if whole else 'trial-'}{datetime.datetime.now():%Y-%m-%d-%H%M}.json"
    try:
        for row in rows:
            result["lines"] += _row(row, options, scratch)
            path.write_text(json.dumps(result, indent=1) + "\n")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(report.table(result["lines"]))
    tell([path], whole)


def _row(row: Row, options: argparse.Namespace, scratch: Path) -> list[dict[str, Any]]:
    def say(text: str) -> None:
        if not options.quiet:
            print(text, flush=True)

    say(f"{row.name}: {options.rounds} rounds")
    rounds = min(options.rounds, 3) if row.long else options.rounds
    measured = run_row(row, rounds, options.scale, scratch, say)
    return [report.summary(row, line, each) for line, each in zip(row.lines, measured, strict=True)]


def tell(paths: list[Path], document: bool) -> None:
    """The plot beside the first result, and the table in the documentation."""
    results = [json.loads(path.read_text()) for path in paths]
    result = {**results[0], "lines": [line for each in results for line in each["lines"]]}
    picture = paths[0].with_suffix(".png")
    drawn = plot.draw(result["lines"], picture)
    if document:
        report.write_document(report.markdown(result, f"../benchmarks/results/{picture.name}" if drawn else None))
    print(f"\nwritten: {', '.join(str(path) for path in (*paths, *([picture] if drawn else [])))}")


def profile(options: argparse.Namespace) -> None:
    """The top costs of ours in one line."""
    from benchmarks import profiling

    for row in ROWS:
        for line in row.lines:
            if options.line in (row.name, line.phase, line.phase.replace("_", "-")):
                return profiling.profile(row, line, options.scale, options.top, options.rate)
    names = ", ".join(line.phase for row in ROWS for line in row.lines)
    raise SystemExit(f"no line is called {options.line}; the lines are {names}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("run", help="measure rows, ours beside the peers")
    one.add_argument("--rows", default="", help="names of rows; all but the long ones by default")
    one.add_argument("--rounds", type=int, default=5)
    one.add_argument("--scale", type=float, default=1.0, help="a factor for the number of items of each row")
    one.add_argument("--scratch", default="", help="where homes and folders are made; the temporary folder by default")
    one.add_argument("--quiet", action="store_true")
    one.set_defaults(do=run)
    two = commands.add_parser("profile", help="the top costs of ours in a line")
    two.add_argument("line", help="a row or a line of one, such as map or map_cached")
    two.add_argument("--scale", type=float, default=1.0)
    two.add_argument("--top", type=int, default=25)
    two.add_argument("--rate", type=float, default=0.0, help="sample so many times a second, without cProfile")
    two.set_defaults(do=profile)
    three = commands.add_parser("peers", help="make the peers' environments that are missing")
    three.add_argument("names", nargs="*", choices=[*peers.REQUIREMENTS, []])
    three.set_defaults(do=lambda options: peers.install(options.names))
    four = commands.add_parser("report", help="write the documentation's table and the plot from results")
    four.add_argument("results", nargs="+", type=Path)
    four.set_defaults(do=lambda options: tell(options.results, document=True))
    five = commands.add_parser("rows", help="list the rows")
    five.set_defaults(do=lambda _: print(*(f"{row.name:22} N = {row.count:,}" for row in ROWS), sep="\n"))
    return parser


if __name__ == "__main__":
    main()

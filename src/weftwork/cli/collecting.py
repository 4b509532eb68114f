"""``weft gc``: free bytes that can be made again."""

from __future__ import annotations

import click

from weftwork.cli.text import as_json as json_text
from weftwork.cli.text import duration, out, size, table
from weftwork.config import open_home

_DAY = 24 * 3600.0


@click.command(short_help="Free bytes that can be made again, the cheapest first.")
@click.option("--keep", metavar="SIZE", help="Free until the store has at most this, such as 5GB.")
@click.option("--older", type=click.FloatRange(0), metavar="DAYS", help="Free only what was made so many days ago.")
@click.option("--dry-run", is_flag=True, help="Say what would go, and free nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def gc(home: str | None, keep: str | None, older: float | None, dry_run: bool, as_json: bool) -> None:
    """Free bytes of results that can be made again, those first that cost the least time a byte.

    Results stay known: what is freed is calculated again when somebody needs its bytes. Never freed is what is pinned, in
    use, or impossible to make again. Without --keep and --older only scratch outputs go, and what nothing names.
    """
    from weftwork.core.placement import parse_size
    from weftwork.keeping import collect

    opened = open_home(home)
    bytes_ = parse_size(keep)
    done = collect(opened, keep=bytes_, older=None if older is None else older * _DAY, dry_run=dry_run)
    plan = done.plan
    if as_json:
        document = {
            "freed": done.freed,
            "buffers": {str(each): count for each, count in plan.buffers.items()},
            "results": len(plan.units),
            "seconds": plan.seconds,
            "total": plan.total,
            "kept": {reason: {"buffers": count, "bytes": total} for reason, (count, total) in plan.kept.items()},
            "disk": {"before": done.disk[0], "after": done.disk[1]},
            "dry_run": dry_run,
        }
        out(json_text(document))
        return
    what = "would be freed" if dry_run else "freed"
    out(
        f"{what}: {size(done.freed)} of {size(plan.total)}: {len(plan.buffers):,} buffers of {len(plan.units):,} results, "
        f"{duration(plan.seconds)} to make again"
    )
    if not dry_run:
        out(f"on disk: {size(done.disk[0])} before, {size(done.disk[1])} after")
    if plan.kept:
        rows = ((reason, f"{count:,}", size(total)) for reason, (count, total) in sorted(plan.kept.items()))
        out(table(("KEPT", "BUFFERS", "BYTES"), rows))
    if bytes_ is not None and plan.total - plan.size > bytes_:
        out(f"more than {size(bytes_)} stays: the rest is pinned, in use, or cannot be made again")

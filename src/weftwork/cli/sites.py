"""``weft sites``: the places where jobs run, and the proof of one from end to end."""

from __future__ import annotations

from dataclasses import asdict

import click

from weftwork.cli.text import as_json as json_text
from weftwork.cli.text import out, table
from weftwork.config import described_sites, home_folder
from weftwork.core.siting import Rule, SiteDescription


@click.group(invoke_without_command=True, short_help="List the places where jobs run, or prove one from end to end.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def sites(ctx: click.Context, as_json: bool) -> None:
    """List the sites, and the rules that choose among them for a job that names none.

    They are those of sites.yaml (the home's, the working folder's, that of --sites), and those that this machine has by
    itself. Nothing is reached or started.
    """
    if ctx.invoked_subcommand is not None:
        return
    described = described_sites(home_folder(ctx.obj))
    if as_json:
        document = {
            "sites": [asdict(each) for each in described.described.values()],
            "rules": [{**asdict(rule), "bounds": [str(bound) for bound in rule.bounds]} for rule in described.rules],
        }
        out(json_text(document))
        return
    out(table(("SITE", "SCHEDULER", "RUNTIME", "STAGING", "SHELL", "WHAT"), map(_row, described.described.values())))
    out("\nA job that names no site goes to")
    out("\n".join(f"  {' or '.join(rule.at)}{_accepts(rule)}" for rule in described.rules))


def _row(site: SiteDescription) -> tuple[str, ...]:
    return site.name, str(site.scheduler), str(site.runtime), str(site.staging), str(site.shell), site.description


def _accepts(rule: Rule) -> str:
    parts = [
        f"{what} {' or '.join(accepted)}"
        for what, accepted in (
            ("lane", rule.lanes),
            ("environment", rule.environments),
            ("module", rule.modules),
            ("user", rule.users),
        )
        if accepted
    ]
    parts += [str(bound) for bound in rule.bounds]
    return f" where {', '.join(parts)}" if parts else ""


@sites.command(short_help="Prove a site from end to end.")
@click.argument("name", metavar="SITE")
@click.option("--image", metavar="IMAGE", help="The image to run in, where the site runs containers; it needs sh.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def check(home: str | None, name: str, image: str | None, as_json: bool) -> int:
    """Prove a site from end to end: resolve an image, start commands, move bytes both ways, cancel, clean up; and say
    which limits it enforces. The exit code is 1 where something that must hold does not.
    """
    from weftwork.embedded import Embedded
    from weftwork.proving import prove

    looks = []
    with Embedded(home) as session:
        for look in prove(session, name, image):
            looks.append(look)
            if not as_json:
                out(f"{_MARKS[look.verdict]:<6}  {look.name:<16}  {look.detail}".rstrip())
    if as_json:
        out(json_text({"site": name, "looks": [asdict(look) for look in looks]}))
    return 1 if any(look.verdict == "failed" for look in looks) else 0


_MARKS = {"yes": "yes", "no": "no", "failed": "FAILED"}

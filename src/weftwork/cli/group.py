"""The command ``weft`` and its sub-commands, each imported when it is used."""

from __future__ import annotations

import importlib
import os
from typing import Any

import click

from weftwork import __version__
from weftwork.cli.ending import remember_home

COMMANDS = {
    "run": ("run:run", "Run a workflow or module."),
    "do": ("do:do", "Run any command, or replay it where it ran before."),
    "jobs": ("listing:jobs", "List jobs, newest first."),
    "runs": ("listing:runs", "List runs of workflows, newest first."),
    "show": ("show:show", "Show all that is known of a job or run."),
    "logs": ("logs:logs", "Print what a job wrote."),
    "get": ("get:get", "Print or save an output, or anything in the store."),
    "cancel": ("cancel:cancel", "Cancel a job or run, whichever process owns it."),
    "gc": ("collecting:gc", "Free bytes that can be made again, the cheapest first."),
    "verify": ("verify:verify", "Read the whole store back, and name what is damaged."),
    "pin": ("pin:pin", "Keep a result, or all of a run's, from being freed."),
    "unpin": ("pin:unpin", "Let what was pinned be freed again."),
    "pins": ("pin:pins", "List what is pinned."),
    "why": ("why:why", "Say why a job or step ran, or did not."),
    "explain": ("why:explain", "Say what the key of a calculation is made of."),
    "check": ("check:check", "Run a sample of calculations again and compare the results."),
    "sites": ("sites:sites", "List the places where jobs run, or prove one from end to end."),
    "conflicts": ("conflicts:conflicts", "List calculations that gave two different results."),
    "graph": ("graph:graph", "Draw a workflow."),
}
"""Where each command is, below this package, and its line in the help: known without importing it."""


class LazyGroup(click.Group):
    """A group whose commands are imported one at a time."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(importlib.import_module(f"weftwork.cli.{module}"), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from weftwork.core.module import nearest

            raise click.UsageError(f"there is no command {args[0]!r}{nearest(args[0], COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    no_args_is_help=True,
)
@click.version_option(__version__, prog_name="weft", message="%(prog)s %(version)s")
@click.option(
    "--home",
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="The folder of all state. By default WEFT_HOME, else the platform's data directory.",
)
@click.option(
    "--sites",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="A sites.yaml, over the project's and the home's. By default WEFT_SITES.",
)
@click.pass_context
def weft(ctx: click.Context, home: str | None, sites: str | None) -> Any:
    """Describe a scientific calculation once. Run it anywhere, never twice."""
    ctx.obj = home
    if sites is not None:
        os.environ["WEFT_SITES"] = os.path.abspath(sites)
    remember_home(home)

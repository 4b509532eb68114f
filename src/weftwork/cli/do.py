"""The words of ``weft do``; what it does is in :mod:`weftwork.cli.doing`."""

from __future__ import annotations

from typing import Any

import click

from weftwork.cli.doing import do_command


@click.command(
    context_settings={"allow_interspersed_args": False, "ignore_unknown_options": False},
    short_help="Run any command, or replay it where it ran before.",
)
@click.option("-i", "--input", "inputs", multiple=True, metavar="FILE", help="A file or folder that the command reads.")
@click.option(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    metavar="FILE",
    help="A file that the command writes; a folder ends in /.",
)
@click.option("--env", "variables", multiple=True, metavar="VAR[=VALUE]", help="A variable that the command sees.")
@click.option("--name", metavar="NAME", help="The name of the job; by default that of the program.")
@click.option("--trace", is_flag=True, help="Run under strace, and list files that were read and not declared.")
@click.option("--no-cache", is_flag=True, help="Run although the result is known.")
@click.option("--strict", is_flag=True, help="Fail where the result differs from the one that is known.")
@click.option("--cpus", type=int, metavar="N", help="CPUs of this machine to hold while it runs.")
@click.option("--time", "time_limit", metavar="TIME", help="The time limit, such as 90, 10m or 1h30m.")
@click.option("--memory", metavar="SIZE", help="The memory limit, such as 2GB or 512MiB.")
@click.option("--disk", metavar="SIZE", help="The limit of what it writes, such as 10GB.")
@click.argument("command", nargs=-1, required=True, metavar="-- COMMAND...")
@click.pass_context
def do(
    context: click.Context,
    /,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    variables: tuple[str, ...],
    name: str | None,
    trace: bool,
    no_cache: bool,
    strict: bool,
    command: tuple[str, ...],
    time_limit: str | None,
    **limits: Any,
) -> int:
    """Run any command, or replay it where it ran before: its outputs, its streams, its exit code.

    It runs in a fresh folder that holds its inputs under the names they have here. It is not run again while its
    words, its inputs, and the programs that it names have the same content. A COMMAND of one word with spaces is a line for sh.
    A command that fails is never remembered.
    """
    return do_command(
        context.obj,
        command,
        inputs=inputs,
        outputs=outputs,
        variables=variables,
        name=name,
        trace=trace,
        no_cache=no_cache,
        strict=strict,
        limits={"time": time_limit, **limits},
    )

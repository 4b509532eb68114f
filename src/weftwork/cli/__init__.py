"""Floor 7: the command ``weft``. Thin: it reads words, calls what is below, and writes what came out."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; the exit code. See docs/commands.md for what each means."""
    # A command makes much and drops little: looking for rubbish at the usual rate takes a tenth of a replay's time.
    gc.set_threshold(100_000, 20, 20)
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words == ["--version"]:
        # Answered before anything else is imported.
        from weftwork import __version__

        print(f"weft {__version__}")
        return 0
    from weftwork.cli.ending import guarded

    if words[:1] == ["do"]:
        from weftwork.cli.quick import plain_do

        plain = plain_do(words[1:])
        if plain is not None:
            from weftwork.cli.doing import do_command

            return guarded(lambda: do_command(None, plain[0], **plain[1]))
    from weftwork.cli.group import weft

    return guarded(lambda: weft.main(words, prog_name="weft", standalone_mode=False))

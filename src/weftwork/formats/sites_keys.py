"""The keys of ``sites.yaml``: the one table that the reader, the JSON Schema and the reference share.

The options of an adapter are the adapter's own; :func:`sites_section` makes the whole table from those that there are.
"""

from __future__ import annotations

from weftwork.core.siting import COMPARISONS, ENVIRONMENTS, LANES
from weftwork.formats.adapters import CHOICES, Adapters, Choice
from weftwork.formats.kinds import SOME_TEXT, TEXT, Either, Key, Kind, Leaf, Listed, Named, Section, is_number
from weftwork.formats.module_keys import RESOURCES

SITE_NAME = r"[A-Za-z_][A-Za-z0-9_.\-]*"

_WHAT = {
    "scheduler": "how a process starts there",
    "runtime": "what wraps it; none where nothing is said",
    "staging": "how bytes travel; shared where nothing is said: one file system",
    "shell": "where the commands of batch systems and containers are run; here where nothing is said",
}


def _texts(what: str) -> Either:
    return Either((SOME_TEXT, Listed(SOME_TEXT, f"a list of {what}s", least=1)), f"{what} or a list of them")


def _one_of(names: tuple[str, ...], what: str) -> Either:
    leaf = Leaf(f"one of {', '.join(names)}", {"enum": list(names)}, lambda value: value in names)
    return Either((leaf, Listed(leaf, f"a list of {what}s", least=1)), f"one of {', '.join(names)}, or a list of them,")


_BOUND = Leaf(
    f'a number, or a comparison ({", ".join(COMPARISONS)}) such as ">= 1",',
    {"type": ["number", "string"]},
    lambda value: is_number(value) or (isinstance(value, str) and value != ""),
)

SITE_RESOURCES = Section(
    "site resources",
    "The limits of jobs that say none themselves.",
    {name: RESOURCES.keys[name] for name in ("memory", "disk", "time")},
)
RULE = Section(
    "a rule",
    "A row: what it accepts, and the sites for that. A part that is left out accepts all.",
    {
        "at": Key(_texts("a site"), "the site, or the sites, that take what the row accepts", required=True),
        "lane": Key(_one_of(LANES, "lane"), "function: Python calls; command: commands and scripts"),
        "environment": Key(
            _one_of(ENVIRONMENTS, "environment"), "what the module's environment names first of all; none: nothing"
        ),
        "module": Key(_texts("a pattern"), "the module's name, as a pattern: fit*"),
        "user": Key(_texts("a pattern"), "the user's name, as a pattern"),
        "cpus": Key(_BOUND, 'a number or a comparison: ">= 8"'),
        "gpus": Key(_BOUND, 'a number or a comparison: ">= 1"'),
        "memory": Key(_BOUND, 'a size or a comparison: ">= 64 GB"'),
        "disk": Key(_BOUND, 'a size or a comparison: "< 1 TB"'),
        "time": Key(_BOUND, 'a time or a comparison: "<= 4h"'),
    },
)


def _part(choice: Choice, adapters: Adapters) -> Kind:
    """An adapter by its name, or a mapping of that name to its options."""
    names = tuple(adapter.name for adapter in adapters.of(choice))
    name = Leaf(
        f"the name of a {choice} ({', '.join(names)})", {"enum": list(names)}, lambda value: isinstance(value, str)
    )
    options = Section(
        f"a {choice}",
        f"One {choice} by its name, with its options.",
        {adapter.name: Key(adapter.options, adapter.options.description) for adapter in adapters.of(choice)},
        one_of=names,
    )
    return Either((name, options), f"the name of a {choice}, or `NAME: {{options}}`,")


def sites_section(adapters: Adapters) -> Section:
    """The table of the whole document, with these adapters."""
    parts: dict[str, Key] = {choice: Key(_part(choice, adapters), _WHAT[choice]) for choice in CHOICES}
    common = {
        **parts,
        "resources": Key(SITE_RESOURCES, "the limits of memory, disk and time for jobs that say none themselves"),
        "description": Key(TEXT, "a text for people"),
    }
    site = Section(
        "a site",
        "A named place to compute: scheduler, runtime, staging.",
        {"like": Key(SOME_TEXT, "the site whose settings hold here too, unless this one says otherwise"), **common},
    )
    return Section(
        "sites",
        "The places where calculations run, and the rules that choose among them.",
        {
            "sites": Key(
                Named(site, "a site", SITE_NAME, "letters, digits, '_', '-' and '.', not beginning with a digit"),
                "the sites by name",
            ),
            "defaults": Key(
                Section("defaults", "What holds for all sites of this file.", common),
                "what holds for all sites of this file",
            ),
            "rules": Key(Listed(RULE, "a list of rules"), "which sites a job may go to that names none"),
            "default": Key(SOME_TEXT, "the site of jobs that name none and that no rule before takes"),
        },
    )

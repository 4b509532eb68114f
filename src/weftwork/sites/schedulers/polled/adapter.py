"""A batch system in ``sites.yaml``: the options that all of them have, and how one is made of them."""

from __future__ import annotations

from weftwork.core.placement import Resources
from weftwork.formats.adapters import Adapter
from weftwork.formats.kinds import AT_LEAST_ZERO, SOME_TEXT, TEXT, Key, Section, whole
from weftwork.formats.module_keys import RESOURCES, TEXTS
from weftwork.sites.adapters import Making
from weftwork.sites.schedulers.polled.dialect import Dialect
from weftwork.sites.schedulers.polled.pace import ANY, Pace, Settings
from weftwork.sites.schedulers.polled.scheduler import Polled

_PACE = {
    "poll": "seconds between two questions for the states of all tasks, while something changes",
    "slowest": "the same, while nothing changes",
    "gather": "seconds without a new task after which those that wait are submitted together",
    "outcomes": "seconds between two looks at the folders of what runs",
    "patience": "seconds for a task that is not shown any more to leave its outcome",
    "outage": "seconds for which a submission that fails is tried again",
    "grace": "seconds that a cancelled task has to end by itself",
    "burst": "commands at once",
    "every": "seconds for each further command",
}

_COMMON = {
    "options": Key(TEXTS, "further words of every submission: --constraint=skylake"),
    "directives": Key(TEXTS, "further lines at the head of the batch script"),
    "prologue": Key(TEXT, "lines of sh that run on the node before anything else: module load gcc"),
    "python": Key(SOME_TEXT, "Python (3.11 or later) on the nodes; python3 where nothing is said"),
    "array": Key(whole(1), "tasks that are submitted together at most; 1000 where nothing is said"),
    "at_once": Key(whole(1), "tasks in the queue at most; 10000 where nothing is said"),
    "largest": Key(RESOURCES, "the largest task that a node takes; the batch system says it where nothing is said"),
    "pace": Key(
        Section(
            "pace",
            "How often and how patiently the batch system is asked.",
            {name: Key(AT_LEAST_ZERO, text) for name, text in _PACE.items()},
        ),
        "how often and how patiently the batch system is asked",
    ),
}


def described(dialect: Dialect, description: str) -> Adapter:
    """The adapter of a dialect, with an option for each of its words."""
    own = {name: Key(SOME_TEXT, f"becomes {' '.join(words).format('…')}") for name, words in dialect.words.items()}
    return Adapter("scheduler", dialect.name, Section(f"scheduler {dialect.name}", description, {**own, **_COMMON}))


def polled(dialect: Dialect, making: Making) -> Polled:
    """The scheduler of a site."""
    said = making.options
    known = {name: said[name] for name in ("directives", "prologue", "python", "array", "at_once") if name in said}
    own = [word.format(said[name]) for name, words in dialect.words.items() if name in said for word in words]
    settings = Settings(
        options=[*own, *said.get("options", ())],
        capacity=Resources.of(said["largest"]) if "largest" in said else ANY,
        **known,
    )
    return Polled(dialect, making.shell(), making.home, settings, Pace(**said.get("pace", {})), making.store)

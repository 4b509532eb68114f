"""Grid Engine and its descendants (Son of Grid Engine, Univa, Altair), by their commands. States are those of qstat(1).

``qstat`` shows what is queued or runs; what has ended is in ``qacct``'s books alone, and these do not say why a task was killed.
CPUs are slots of a parallel environment ``smp``; memory is asked for as ``mem_free``, which limits nothing: the node program does.
"""

from __future__ import annotations

import collections
import re
from collections.abc import Sequence
from xml.etree import ElementTree

from weftwork.formats.adapters import Adapter
from weftwork.sites.adapters import Making
from weftwork.sites.schedulers.polled.adapter import described, polled
from weftwork.sites.schedulers.polled.dialect import Array, Dialect, Seen, State, numbers, spans
from weftwork.sites.schedulers.polled.scheduler import Polled

_BOOKS = 'for name; do qacct -j "$name" || true; done'
_ENTRY = re.compile(r"^=+\s*$", re.MULTILINE)


def _submit(array: Array) -> list[str]:
    needs = array.needs
    words = ["qsub", "-terse", "-N", array.name, "-t", f"1-{array.count}", "-S", "/bin/sh"]
    words += ["-r", "n", "-o", "/dev/null", "-j", "y"]
    if needs.cpus > 1:
        words += ["-pe", "smp", str(needs.cpus)]
    asked = {
        "mem_free": None if needs.mib is None else f"{needs.mib}M",
        "h_rt": needs.seconds,
        "gpu": needs.gpus or None,
    }
    for resource, amount in asked.items():
        if amount is not None:
            words += ["-l", f"{resource}={amount}"]
    return [*words, *array.options]


def _submitted(printed: str) -> str | None:
    found = re.findall(r"^(\d+)(?:\.\d+-\d+:\d+)?\s*$", printed, re.MULTILINE)
    return found[-1] if found else None


def _ask(names: Sequence[str]) -> list[str]:
    # It cannot be asked by name: all of this user's tasks are shown.
    return ["qstat", "-xml", "-s", "prs", "-g", "d"]


def _past(names: Sequence[str]) -> list[str]:
    return ["sh", "-c", _BOOKS, "qacct", *names]


def _read(printed: str) -> list[Seen]:
    start = printed.find("<?xml")
    if start < 0:
        return _read_books(printed)
    try:
        top = ElementTree.fromstring(printed[start:])
    except ElementTree.ParseError:
        return []
    found = []
    for job in top.iter("job_list"):
        name, number, word = job.findtext("JB_name", ""), job.findtext("JB_job_number", ""), job.findtext("state", "")
        if name.startswith("weft-"):
            tasks = numbers(job.findtext("tasks") or "1")
            found += [Seen(name, task, f"{number}.{task}", _state(word), words=word) for task in tasks]
    return found


def _state(word: str) -> State:
    if "E" in word:
        return "stuck"
    if "q" in word or word in ("hw", "w"):
        return "queued"
    return "running" if set(word) & set("rtRsSTNdP") else "unknown"


def _read_books(printed: str) -> list[Seen]:
    found = []
    for entry in _ENTRY.split(printed):
        fields = {
            line.split(None, 1)[0]: line.split(None, 1)[1].strip()
            for line in entry.splitlines()
            if len(line.split(None, 1)) == 2
        }
        if not fields.get("jobname", "").startswith("weft-") or "jobnumber" not in fields:
            continue
        task = int(fields["taskid"]) if fields.get("taskid", "").isdigit() else 1
        words = f"failed {fields.get('failed', '?')}, exit_status {fields.get('exit_status', '?')}"
        found.append(Seen(fields["jobname"], task, f"{fields['jobnumber']}.{task}", "ended", words=words))
    return found


def _cancel(tasks: Sequence[Seen]) -> list[str]:
    arrays: dict[str, list[int]] = collections.defaultdict(list)
    for task in tasks:
        job, _, number = task.id.partition(".")
        arrays[job].append(int(number))
    return ["qdel", *(f"{job}.{span}" for job, found in arrays.items() for span in spans(found).split(","))]


SGE = Dialect(
    name="sge",
    variable="${SGE_TASK_ID:-1}",
    submit=_submit,
    submitted=_submitted,
    ask=_ask,
    past=_past,
    read=_read,
    cancel=_cancel,
    words={"partition": ("-q", "{}"), "account": ("-P", "{}")},
    refused=re.compile(
        r"rejected|denied:|does not exist|unknown (queue|option|resource)|invalid|illegal", re.IGNORECASE
    ),
    full=re.compile(r"allowed per user|more than \d+ tasks|(job|task)s? limit", re.IGNORECASE),
)


def adapter() -> Adapter:
    return described(SGE, "Grid Engine, by its commands qsub, qstat, qacct and qdel.")


def make(making: Making) -> Polled:
    return polled(SGE, making)

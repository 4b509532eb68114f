"""OpenPBS and PBS Professional, by their commands. States are those of qstat(1B) of OpenPBS 23; exit codes below zero those of
its ``job.h`` and the Administrator's Guide, "Job Exit Status Codes".

An array of one task is none here: PBS refuses it. The server must keep its history (``job_history_enable``) for what has ended to
be seen; without it outcomes must do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from weftwork.formats.adapters import Adapter
from weftwork.sites.adapters import Making
from weftwork.sites.schedulers.polled.adapter import described, polled
from weftwork.sites.schedulers.polled.dialect import Array, Cause, Dialect, Seen, State
from weftwork.sites.schedulers.polled.scheduler import Polled

_STATE: dict[str, State] = {
    **dict.fromkeys("QHWTM", "queued"),
    **dict.fromkeys("RESUB", "running"),
    **dict.fromkeys("FX", "ended"),
}
_KILLED: dict[str, Cause] = {
    "-29": "time",
    "-27": "memory",
    "-26": "memory",
    "-11": "evicted",
    "-6": "evicted",
    "-5": "evicted",
}
_ID = re.compile(r"(\d+)(?:\[(\d*)\])?(\S*)", re.ASCII)
_ASK = 'ids=$(for name; do qselect -x -N "$name" || exit 1; done) || exit 1; [ -z "$ids" ] || exec qstat -x -t -f $ids'


def _submit(array: Array) -> list[str]:
    needs = array.needs
    select = f"select=1:ncpus={needs.cpus}"
    if needs.mib is not None:
        select += f":mem={needs.mib}mb"
    if needs.gpus:
        select += f":ngpus={needs.gpus}"
    words = ["qsub", "-N", array.name, "-r", "n", "-j", "oe", "-o", "/dev/null", "-S", "/bin/sh", "-l", select]
    if array.count > 1:
        words += ["-J", f"1-{array.count}"]
        # PBS runs no array that may not be rerun; a second start of a folder is refused by the node program.
        words[words.index("-r") + 1] = "y"
    if needs.seconds is not None:
        words += ["-l", f"walltime={needs.seconds}"]
    return [*words, *array.options]


def _submitted(printed: str) -> str | None:
    found = re.findall(r"^(\d+(?:\[\])?\.\S+)\s*$", printed, re.MULTILINE)
    return found[-1] if found else None


def _ask(names: Sequence[str]) -> list[str]:
    return ["sh", "-c", _ASK, "qselect", *names]


def _read(printed: str) -> list[Seen]:
    found = []
    for block in re.split(r"^Job Id: ", printed.replace("\n\t", ""), flags=re.MULTILINE)[1:]:
        first, _, rest = block.partition("\n")
        fields = dict(re.findall(r"^\s+(\w+) = (.*)$", rest, re.MULTILINE))
        match = _ID.match(first.strip())
        name = fields.get("Job_Name", "")
        if match is None or match.group(2) == "" or not name.startswith("weft-"):
            # Without a number between its brackets it is the array as a whole.
            continue
        state = _STATE.get(fields.get("job_state", ""), "unknown")
        code = fields.get("Exit_status", "")
        words = f"{fields.get('job_state', '?')} {f'Exit_status {code}' if code else ''} {fields.get('comment', '')}"
        cause = _KILLED.get(code, "") if state == "ended" else ""
        found.append(Seen(name, int(match.group(2) or 1), first.strip(), state, cause, " ".join(words.split())))
    return found


def _cancel(tasks: Sequence[Seen]) -> list[str]:
    return ["qdel", *(task.id for task in tasks)]


PBS = Dialect(
    name="pbs",
    variable="${PBS_ARRAY_INDEX:-1}",
    submit=_submit,
    submitted=_submitted,
    ask=_ask,
    read=_read,
    cancel=_cancel,
    words={"partition": ("-q", "{}"), "account": ("-A", "{}")},
    refused=re.compile(
        r"unknown (queue|resource)|illegal|invalid|unauthorized|access .* denied|bad uid|exceeds queue|usage: qsub"
        r"|resource limits",
        re.IGNORECASE,
    ),
    full=re.compile(
        r"would exceed|maximum number of jobs|limit on (number|resource)|max_array_size|array size", re.IGNORECASE
    ),
)


def adapter() -> Adapter:
    return described(PBS, "OpenPBS or PBS Professional, by its commands qsub, qselect, qstat and qdel.")


def make(making: Making) -> Polled:
    return polled(PBS, making)

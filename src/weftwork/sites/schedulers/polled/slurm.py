"""Slurm, by its commands. States are those of squeue(1) and sacct(1), "JOB STATE CODES", of Slurm 22.05 to 24.11."""

from __future__ import annotations

import collections
import math
import re
from collections.abc import Sequence

from weftwork.formats.adapters import Adapter
from weftwork.sites.adapters import Making
from weftwork.sites.schedulers.polled.adapter import described, polled
from weftwork.sites.schedulers.polled.dialect import Array, Cause, Dialect, Seen, State, numbers, spans
from weftwork.sites.schedulers.polled.scheduler import Polled

_STATES: dict[State, str] = {
    "queued": "PENDING CONFIGURING REQUEUED REQUEUE_FED REQUEUE_HOLD RESV_DEL_HOLD SPECIAL_EXIT POWER_UP_NODE UPDATE_DB",
    "running": "RUNNING COMPLETING SIGNALING STAGE_OUT STOPPED SUSPENDED RESIZING EXPEDITING",
    "ended": "COMPLETED FAILED CANCELLED TIMEOUT DEADLINE OUT_OF_MEMORY NODE_FAIL BOOT_FAIL PREEMPTED REVOKED LAUNCH_FAILED RECONFIG_FAIL",
}
_STATE: dict[str, State] = {word: state for state, words in _STATES.items() for word in words.split()}
_CAUSE: dict[str, Cause] = {
    "OUT_OF_MEMORY": "memory",
    "TIMEOUT": "time",
    "DEADLINE": "time",
    "CANCELLED": "cancelled",
    **dict.fromkeys(("NODE_FAIL", "BOOT_FAIL", "PREEMPTED", "REVOKED", "LAUNCH_FAILED", "RECONFIG_FAIL"), "evicted"),
}
_LINE = re.compile(r"(\d+)(?:_(?:(\d+)|\[([^\]]*)\]))?\|(weft-\w+)\|([A-Z_]+)[^|]*\|(.*)", re.ASCII)


def _submit(array: Array) -> list[str]:
    needs = array.needs
    words = [
        "sbatch",
        "--parsable",
        "--no-requeue",  # a second start of the same folder would be refused: a new attempt is a new folder
        f"--job-name={array.name}",
        f"--array=1-{array.count}",
        f"--chdir={array.folder}",
        "--output=/dev/null",
        "--error=/dev/null",
        "--nodes=1",
        "--ntasks=1",
        f"--cpus-per-task={needs.cpus}",
    ]
    if needs.mib is not None:
        words.append(f"--mem={needs.mib}M")
    if needs.seconds is not None:
        words.append(f"--time={math.ceil(needs.seconds / 60)}")
    if needs.gpus:
        words.append(f"--gres=gpu:{needs.gpus}")
    return [*words, *array.options]


def _submitted(printed: str) -> str | None:
    found = re.findall(r"^(\d+)(?:;\S+)?\s*$", printed, re.MULTILINE)
    return found[-1] if found else None


def _ask(names: Sequence[str]) -> list[str]:
    return ["squeue", "--noheader", "--states=all", "--array", "--format=%i|%j|%T|%r", f"--name={','.join(names)}"]


def _past(names: Sequence[str]) -> list[str]:
    fields = "--format=JobID,JobName,State,ExitCode"
    since = "--starttime=now-30days"
    return ["sacct", "--allocations", "--noheader", "--parsable2", since, fields, f"--name={','.join(names)}"]


def _read(printed: str) -> list[Seen]:
    found = []
    for line in printed.splitlines():
        match = _LINE.search(line)
        if match is None:
            continue
        job, index, several, name, word, rest = match.groups()
        state = _STATE.get(word, "unknown")
        for number in numbers(several) if several else [int(index or 1)]:
            words = f"{word} {rest.strip()}".strip()
            found.append(
                Seen(name, number, f"{job}_{number}" if index or several else job, state, _CAUSE.get(word, ""), words)
            )
    return found


def _cancel(tasks: Sequence[Seen]) -> list[str]:
    arrays: dict[str, list[int]] = collections.defaultdict(list)
    for task in tasks:
        job, _, index = task.id.partition("_")
        arrays[job] += [int(index)] if index else []
    return ["scancel", *(f"{job}_[{spans(found)}]" if found else job for job, found in arrays.items())]


SLURM = Dialect(
    name="slurm",
    variable="${SLURM_ARRAY_TASK_ID:-1}",
    submit=_submit,
    submitted=_submitted,
    ask=_ask,
    past=_past,
    read=_read,
    cancel=_cancel,
    words={"partition": ("--partition={}",), "account": ("--account={}",), "qos": ("--qos={}",)},
    refused=re.compile(
        r"invalid|unrecognized|requested .* (not available|cannot|can not)|can not be satisfied|not permitted"
        r"|access/permission denied|batch script|expired",
        re.IGNORECASE,
    ),
    full=re.compile(r"invalid job array|job violates|submit limit|maximum number of|job count limit", re.IGNORECASE),
)


def adapter() -> Adapter:
    return described(SLURM, "Slurm, by its commands sbatch, squeue, sacct and scancel.")


def make(making: Making) -> Polled:
    return polled(SLURM, making)

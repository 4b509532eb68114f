"""What batch systems print is read for what it says, whatever a site prints around it; the words for them are theirs."""

from __future__ import annotations

import pytest

from weftwork.core.placement import Resources
from weftwork.sites.schedulers.polled.dialect import Array, Needs, Seen, numbers, spans
from weftwork.sites.schedulers.polled.slurm import SLURM

# squeue(1) of Slurm 24.11, "JOB STATE CODES", and those that only sacct(1) or earlier ones have.
SLURM_STATES = {
    "queued": "CONFIGURING PENDING REQUEUED REQUEUE_FED REQUEUE_HOLD RESV_DEL_HOLD SPECIAL_EXIT",
    "running": "COMPLETING RESIZING RUNNING SIGNALING STAGE_OUT STOPPED SUSPENDED",
    "ended": "BOOT_FAIL CANCELLED COMPLETED DEADLINE FAILED LAUNCH_FAILED NODE_FAIL OUT_OF_MEMORY PREEMPTED RECONFIG_FAIL REVOKED TIMEOUT",
}


@pytest.mark.parametrize(
    ("state", "word"), [(state, word) for state, words in SLURM_STATES.items() for word in words.split()]
)
def test_every_documented_state_of_slurm_is_known(state: str, word: str) -> None:
    (seen,) = SLURM.read(f"12_3|weft-ab|{word}|None")
    assert (seen.batch, seen.number, seen.id, seen.state) == ("weft-ab", 3, "12_3", state)


def test_a_state_that_no_page_describes_stays_unknown() -> None:
    (seen,) = SLURM.read("12_3|weft-ab|FROBNICATING|None")
    assert seen.state == "unknown"
    assert not seen.over


@pytest.mark.parametrize(
    ("word", "cause"),
    [
        ("OUT_OF_MEMORY", "memory"),
        ("TIMEOUT", "time"),
        ("NODE_FAIL", "evicted"),
        ("PREEMPTED", "evicted"),
        ("CANCELLED by 1000", "cancelled"),
        ("FAILED", ""),
        ("COMPLETED", ""),
    ],
)
def test_why_a_task_ended_is_told_by_slurm(word: str, cause: str) -> None:
    assert SLURM.read(f"12_3|weft-ab|{word}|0:9")[0].cause == cause


def test_lines_of_the_site_are_no_tasks() -> None:
    printed = "Welcome to the cluster | maintenance | on Monday\n\n7|other|RUNNING|None\n12_1|weft-ab|RUNNING|None\nJOBID|NAME\n"
    assert [seen.id for seen in SLURM.read(printed)] == ["12_1"]


def test_tasks_that_wait_together_are_all_seen() -> None:
    assert [seen.number for seen in SLURM.read("12_[2-4,9%2]|weft-ab|PENDING|Resources")] == [2, 3, 4, 9]


@pytest.mark.parametrize(
    ("printed", "job"),
    [("123\n", "123"), ("123;cluster\n", "123"), ("Hello\nquota: 80\n77\n", "77"), ("", None), ("queued", None)],
)
def test_the_id_is_found_behind_lines_of_the_site(printed: str, job: str | None) -> None:
    assert SLURM.submitted(printed) == job


def test_resources_become_words_of_slurm() -> None:
    needs = Needs.of(Resources(cpus=4, memory=2 * 2**30, gpus=2, time=90))
    words = SLURM.submit(Array("weft-ab", 7, needs, "/a b", ("--partition=gpu",)))
    wanted = {
        "--array=1-7",
        "--job-name=weft-ab",
        "--cpus-per-task=4",
        "--mem=2112M",
        "--gres=gpu:2",
        "--time=3",
        "--partition=gpu",
    }
    assert wanted <= set(words)
    plain = SLURM.submit(Array("weft-ab", 1, Needs.of(Resources()), "/a"))
    assert not [word for word in plain if word.startswith(("--mem", "--gres", "--time"))]


def test_one_command_cancels_tasks_of_many_arrays() -> None:
    tasks = [Seen("weft-a", number, f"12_{number}", "queued") for number in (1, 2, 3, 7)]
    assert SLURM.cancel([*tasks, Seen("weft-b", 1, "13", "running")]) == ["scancel", "12_[1-3,7]", "13"]


@pytest.mark.parametrize(
    "said",
    [
        "sbatch: error: Batch job submission failed: Invalid partition name specified",
        "sbatch: error: Batch job submission failed: Requested node configuration is not available",
        "sbatch: error: Memory specification can not be satisfied",
        "sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified",
    ],
)
def test_what_slurm_will_never_take_is_known(said: str) -> None:
    assert SLURM.refused.search(said)


@pytest.mark.parametrize(
    "said",
    [
        "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
        "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
        "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying",
        "slurm_load_jobs error: Unexpected message received",
    ],
)
def test_what_passes_is_not_taken_for_a_refusal(said: str) -> None:
    assert not SLURM.refused.search(said)


def test_ranges_are_read_as_they_are_written() -> None:
    assert numbers(spans([5, 1, 2, 3, 9])) == [1, 2, 3, 5, 9]
    assert numbers("1-9:4%2") == [1, 5, 9]

"""What batch systems print is read for what it says, whatever a site prints around it; the words for them are theirs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from weftwork.core.placement import Resources
from weftwork.sites.schedulers.polled.dialect import Array, Needs, Seen, numbers, spans
from weftwork.sites.schedulers.polled.pbs import PBS
from weftwork.sites.schedulers.polled.sge import SGE
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


RECORDED = Path(__file__).parent / "recorded"


def _recorded(name: str) -> str:
    return "Welcome to the cluster\n" + (RECORDED / name).read_text()


def test_what_grid_engine_lists_is_read() -> None:
    seen = [(each.batch, each.number, each.id, each.state) for each in SGE.read(_recorded("sge-queue.txt"))]
    assert seen == [
        ("weft-ab12", 1, "1.1", "running"),
        ("weft-ab12", 2, "1.2", "running"),
        ("weft-x", 1, "2.1", "queued"),
    ]


def test_what_grid_engine_has_in_its_books_is_read() -> None:
    (seen,) = SGE.read(_recorded("sge-books.txt"))
    assert (seen.batch, seen.number, seen.state, seen.words) == ("weft-ab12", 1, "ended", "failed 0, exit_status 3")


# qstat(1) of Grid Engine, "state": d(eletion), E(rror), h(old), r(unning), R(estarted), s(uspended), S, T, t(ransfering), w(aiting).
SGE_STATES = {
    "queued": "qw hqw hRwq Rq",
    "running": "r t Rr Rt hr s S T tS dr dt dS",
    "stuck": "Eqw Ehqw EhRqw",
    "unknown": "x",
}


@pytest.mark.parametrize(
    ("state", "word"), [(state, word) for state, words in SGE_STATES.items() for word in words.split()]
)
def test_every_documented_state_of_grid_engine_is_known(state: str, word: str) -> None:
    printed = _recorded("sge-queue.txt").replace("hqw", word)
    assert SGE.read(printed)[-1].state == state


def test_resources_become_words_of_grid_engine() -> None:
    needs = Needs.of(Resources(cpus=4, memory=2 * 2**30, gpus=2, time=90))
    words = " ".join(SGE.submit(Array("weft-ab", 7, needs, "/a b", ("-q", "long.q"))))
    for each in ("-t 1-7", "-N weft-ab", "-pe smp 4", "-l mem_free=2112M", "-l gpu=2", "-l h_rt=150", "-q long.q"):
        assert each in words


@pytest.mark.parametrize(("printed", "job"), [("1.1-3:1\n", "1"), ("quota: ok\n7\n", "7"), ("denied", None)])
def test_the_id_of_grid_engine_is_found(printed: str, job: str | None) -> None:
    assert SGE.submitted(printed) == job


def test_tasks_of_grid_engine_are_cancelled_together() -> None:
    tasks = [Seen("weft-a", number, f"12.{number}", "queued") for number in (1, 2, 3, 7)]
    assert SGE.cancel(tasks) == ["qdel", "12.1-3", "12.7"]


def test_what_grid_engine_refuses_and_what_is_too_much_for_now_are_told_apart() -> None:
    assert SGE.refused.search('Unable to run job: Job was rejected because job requests unknown queue "nope"')
    assert SGE.refused.search('job rejected: the requested parallel environment "nope" does not exist')
    assert SGE.full.search("job rejected: you tried to submit a job with more than 75000 tasks")
    assert SGE.full.search("job rejected: only 10 jobs are allowed per user (current job count: 10)")
    assert not SGE.refused.search("error: commlib error: got select error (Connection refused)")


def test_what_pbs_lists_is_read() -> None:
    (seen,) = PBS.read(_recorded("pbs-running.txt"))
    assert (seen.batch, seen.number, seen.id, seen.state) == ("weft-0123456789ab", 1, "14", "running")
    assert "Job run at Sun Dec 29" in seen.words


PBS_STATES = {"queued": "Q H W T M", "running": "R E S U", "ended": "F X", "unknown": "Z"}


@pytest.mark.parametrize(
    ("state", "word"), [(state, word) for state, words in PBS_STATES.items() for word in words.split()]
)
def test_every_documented_state_of_pbs_is_known_for_tasks_of_an_array(state: str, word: str) -> None:
    one = (RECORDED / "pbs-running.txt").read_text().replace("job_state = R", f"job_state = {word}")
    whole = one.replace("Job Id: 14\n", "Job Id: 14[].server\n")
    task = one.replace("Job Id: 14\n", "Job Id: 14[2].server\n")
    (seen,) = PBS.read(whole + task)
    assert (seen.number, seen.id, seen.state) == (2, "14[2].server", state)


@pytest.mark.parametrize(("code", "cause"), [("0", ""), ("271", ""), ("-27", "memory"), ("-29", "time")])
def test_why_a_task_ended_is_told_by_pbs(code: str, cause: str) -> None:
    text = (RECORDED / "pbs-running.txt").read_text()
    ended = text.replace("job_state = R", "job_state = F").replace(
        "    run_count", f"    Exit_status = {code}\n    run_count"
    )
    assert PBS.read(ended)[0].cause == cause


def test_resources_become_words_of_pbs_and_one_task_is_no_array() -> None:
    needs = Needs.of(Resources(cpus=4, memory=2 * 2**30, gpus=2, time=90))
    words = " ".join(PBS.submit(Array("weft-ab", 7, needs, "/a b", ("-q", "long"))))
    for each in ("-J 1-7", "-N weft-ab", "-l select=1:ncpus=4:mem=2112mb:ngpus=2", "-l walltime=150", "-q long"):
        assert each in words
    assert "-J" not in PBS.submit(Array("weft-ab", 1, needs, "/a b"))


@pytest.mark.parametrize(
    ("printed", "job"), [("14.server\n", "14.server"), ("hi\n14[].server\n", "14[].server"), ("no", None)]
)
def test_the_id_of_pbs_is_found(printed: str, job: str | None) -> None:
    assert PBS.submitted(printed) == job


def test_what_is_asked_of_pbs_is_one_command_that_lists_nothing_where_there_is_nothing(tmp_path: Path) -> None:
    for name, script in {
        "qselect": 'case "$3" in weft-a) echo "14[].server";; esac',
        "qstat": 'echo "qstat $*"',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    ask = [PBS.ask(names) for names in (["weft-a", "weft-b"], ["weft-b"])]
    said = [subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout for words in ask]
    assert said == ["qstat -x -t -f 14[].server\n", ""]

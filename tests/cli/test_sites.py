"""``weft sites``, and what the rules of ``sites.yaml`` do to a run."""

from __future__ import annotations

import pytest
from weft_command import Weft

pytestmark = pytest.mark.slow  # many short ones: together too long for a quick look

MODULE = """
name: count
inputs: {word: str}
outputs: {n: {type: int, from: stdout}}
script: printf %s "$word" | wc -c
"""

SITES = """
sites:
  small: {scheduler: local, description: for small things}
  large: {like: small, resources: {time: 1h}}
rules:
  - {at: large, cpus: ">= 2"}
  - {at: [small, large], module: "cou*"}
"""


@pytest.fixture
def project(weft: Weft) -> Weft:
    weft.write("count.module.yaml", MODULE)
    weft.write("sites.yaml", SITES)
    return weft


def test_the_sites_are_listed_with_their_rules(project: Weft) -> None:
    listed = project("sites").stdout.decode()
    assert "for small things" in listed
    assert listed.splitlines()[-2:] == ["  large where cpus >= 2", "  small or large where module cou*"]
    names = {each["name"] for each in project.json("sites", "--json")["sites"]}
    assert {"small", "large", "local", "docker"} <= names


def test_a_job_goes_where_the_rules_send_it_and_show_says_why(project: Weft) -> None:
    assert project("run", "count.module.yaml", "-i", "word=abc").stdout == b"n = 3\n"
    (job,) = project.json("jobs", "--json")
    shown = project("show", job["job"]).stdout.decode()
    assert "site     small: it comes first of small, large, which lack equally few bytes" in shown


def test_a_result_counts_at_every_site_of_the_same_environment(project: Weft) -> None:
    project("run", "count.module.yaml", "-i", "word=abc", "--at", "large")
    assert b"cached" in project("run", "count.module.yaml", "-i", "word=abc", "--at", "local").stderr


def test_no_row_accepts_is_told_row_by_row(project: Weft) -> None:
    project.write("sites.yaml", SITES.replace("cou*", "fit*"))
    refused = project("run", "count.module.yaml", "-i", "word=abc", code=None)
    assert refused.returncode != 0
    assert b"row 1 (large): it takes cpus >= 2, and the job has 1" in refused.stderr
    assert b"row 2 (small, large): it takes module fit*, and the job's is count" in refused.stderr


def test_a_step_whose_rules_find_no_site_fails_and_no_other(project: Weft) -> None:
    step = "{module: count.module.yaml, inputs: {word: abc}, resources: {cpus: %d}}"
    project.write("two.workflow.yaml", f"name: two\nsteps:\n  a: {step % 1}\n  b: {step % 2}\noutputs: {{a: $a.n}}\n")
    project.write(
        "sites.yaml", SITES.replace("at: large, cpus", "at: docker, cpus").replace('"cou*"', '"cou*", cpus: 1')
    )
    done = project("run", "two.workflow.yaml", code=None)
    assert b"no site takes count" in done.stderr
    assert b"a succeeded" in done.stderr


def test_a_file_is_named_and_what_is_wrong_with_it_is_told_with_its_line(weft: Weft) -> None:
    weft.write("mine.yaml", "sites:\n  big: {scheduler: local, runtime: dcoker}\n")
    told = weft("--sites", "mine.yaml", "sites", code=2).stderr
    assert b"mine.yaml:2: sites.big.runtime: there is no runtime 'dcoker'; did you mean 'docker'?" in told


def test_this_machine_is_proved_from_end_to_end(weft: Weft) -> None:
    found = weft.json("sites", "check", "local", "--json")
    verdicts = {look["name"]: look["verdict"] for look in found["looks"]}
    must = ("bytes both ways", "exit code", "cancel", "time limit", "memory limit", "disk limit", "clean up")
    assert {name: verdicts[name] for name in must} == dict.fromkeys(must, "yes")
    assert verdicts["no network"] == "no"


def test_a_site_that_there_is_not_names_the_nearest(weft: Weft) -> None:
    told = weft("sites", "check", "locl", code=None).stderr
    assert b"there is no site 'locl'; did you mean 'local'" in told

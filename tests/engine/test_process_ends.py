"""The end of a process with work in flight: prompt, clean, nothing left, whatever the main thread was doing."""

from __future__ import annotations

import time

import pytest
from engine_place import Place

pytestmark = pytest.mark.slow

SUBMIT = """
weft.run(work.double, log=LOG, value=0)
jobs = [weft.submit(work.slow, log=LOG, value=n, seconds=60) for n in range(3)]
commands = [weft.submit(work.command, log=LOG, value=n, seconds=60) for n in range(3)]
run = weft.submit(work.chain, log=LOG, value=30, seconds=60)
while not any(line.startswith("slow") for line in open(LOG)): time.sleep(0.01)
"""

ENDS = {
    "it comes to its end": ("", 0),
    "it raises": ("raise RuntimeError('oh')", 1),
    "it exits": ("sys.exit(3)", 3),
    "a thread waits": ("threading.Thread(target=lambda: jobs[0].exception()).start(); time.sleep(0.1)", 0),
    "a thread runs a workflow": (
        "threading.Thread(target=lambda: print(type(run.exception()).__name__)).start(); time.sleep(0.1)",
        0,
    ),
    "a map is half read": (
        "results = work.slow.map([60.0] * 0 + [1, 2, 3, 4], log=LOG, seconds=60.0)\nthreading.Thread(target=lambda: next(results, None), daemon=True).start(); time.sleep(0.3)",
        0,
    ),
    "it closes the session": ("weft.close()", 0),
}


@pytest.mark.parametrize("how", ENDS)
def test_a_process_that_ends_withdraws_and_leaves_nothing(place: Place, how: str) -> None:
    script, code = ENDS[how]
    process = place.start(f"{SUBMIT}\nprint(time.time(), flush=True)\n{script}")
    assert process.stdout is not None
    process.stdout.readline()
    since = time.monotonic()
    process.communicate(timeout=30)
    assert process.returncode == code
    assert time.monotonic() - since < 4
    place.nothing_left()
    states = place.run("for row in weft.session().home.ledger.jobs(): print(row.job.state)").split()
    assert set(states) <= {"cancelled", "succeeded"}
    runs = place.run("for row in weft.session().home.ledger.runs(): print(row.state)").split()
    assert runs == ["cancelled"]


def test_an_end_is_prompt_though_a_command_ignores_it(place: Place) -> None:
    process = place.start(
        "weft.submit(work.stubborn, log=LOG, seconds=60)\nwhile not os.path.exists(LOG): time.sleep(0.01)"
    )
    place.pid_of("stubborn")
    since = time.monotonic()
    place.out(process)
    assert time.monotonic() - since < 4
    place.nothing_left(15)
    out = place.run("print(weft.submit(work.stubborn, log=LOG, seconds=0.0).exception())")
    assert out == "None"
    states = place.run("for row in weft.session().home.ledger.jobs(): print(row.job.state)").split()
    assert states == ["succeeded", "cancelled"]


def test_a_process_killed_leaves_calls_without_a_process(place: Place) -> None:
    process = place.start(f"{SUBMIT}\ntime.sleep(60)")
    place.has("slow 0")
    process.kill()
    process.communicate()
    place.until(lambda: not any("node.worker" in " ".join(each.cmdline()) for each in place.processes()))


def test_a_closed_session_refuses_and_another_is_opened(place: Place) -> None:
    script = """
job = weft.submit(work.double, log=LOG, value=1)
session = weft.session()
weft.close()
try: session.submit(work.double, {"log": LOG, "value": 2})
except weft.Refused as error: print("closed" in str(error))
print(type(job.exception()).__name__ in ("Cancelled", "NoneType"))
print(weft.run(work.double, log=LOG, value=2))
"""
    assert place.run(script).split() == ["True", "True", "4"]

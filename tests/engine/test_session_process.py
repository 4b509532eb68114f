"""What an engine does to the process that it is open in: its interpreter's settings, its memory."""

from __future__ import annotations

import pytest
from engine_place import Place

SETTINGS = """
import gc
def shown():
    return round(sys.getswitchinterval(), 6), gc.get_threshold()[0]
{before}
print(shown())
with weft.use(os.environ["WEFT_HOME"]) as session:
    print(shown())
    {during}
    with type(session)(os.environ["WEFT_HOME"]):
        pass
    print(shown())
print(shown())
"""

STREAMED = """
import resource
import engine_values as values
def peak():
    # On Linux the resource usage has the peak of the parent in it, which was copied to start this process.
    if os.path.exists("/proc/self/status"):
        return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 20
print(sum(values.remembering.map(iter(range(int(sys.argv[2]))))))
print(len(weft.session().engine.lives()), peak())
"""


def test_pythons_own_settings_are_changed_while_an_engine_is_open(place: Place) -> None:
    told = place.run(SETTINGS.format(before="", during="")).splitlines()
    assert told == ["(0.005, 700)", "(0.0005, 10000)", "(0.0005, 10000)", "(0.005, 700)"]


def test_what_the_user_has_set_stays(place: Place) -> None:
    before = "sys.setswitchinterval(0.001); gc.set_threshold(50, 5, 5)"
    assert place.run(SETTINGS.format(before=before, during="")).splitlines() == ["(0.001, 50)"] * 4
    during = "sys.setswitchinterval(0.002); gc.set_threshold(0)"
    told = place.run(SETTINGS.format(before="", during=during)).splitlines()
    assert told == ["(0.005, 700)", "(0.0005, 10000)", "(0.002, 0)", "(0.002, 0)"]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_calls_of_a_map(place: Place) -> None:
    """What grows are the pages that the databases keep, up to a limit: some hundreds of bytes a call are not."""
    peaks = []
    for count in (20_000, 60_000):
        results, left = place.run(STREAMED, count, timeout=300).splitlines()
        lives, megabytes = map(int, left.split())
        assert (int(results), lives) == (count, 0)
        peaks.append(megabytes)
    assert peaks[1] - peaks[0] < 60, peaks
    assert peaks[1] < 180, peaks

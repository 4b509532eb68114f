"""Reading a store back: damage is named, set aside, and made again when it is needed."""

from __future__ import annotations

import json

import engine_values as values
import engine_work as work
import pytest
from engine_place import Place
from test_remaking import damage, lose, sized

import weftwork as weft
from weftwork import keeping
from weftwork.cli import main
from weftwork.core.checksum import Checksum
from weftwork.embedded import Embedded


@pytest.mark.parametrize("large", [True, False])
def test_damage_is_named_set_aside_and_made_again(place: Place, session: Embedded, large: bool) -> None:
    job = weft.submit(values.big, log=place.log, value=3) if large else weft.submit(work.double, log=place.log, value=3)
    expected, ref = job.result(), job.outputs()["result"]
    damage(place, ref.checksum)
    found = keeping.verify(session.home, jobs=2)
    ((trouble,), (aside,)) = found.damaged, found.aside
    assert (trouble.checksum, trouble.again) == (ref.checksum, True)
    assert f"the output 'result' of {job.name}" in trouble.what
    assert aside.read_bytes()[:1] == b"!"
    assert session.home.store.missing([ref.checksum]) == {ref.checksum}
    again = keeping.verify(session.home)
    assert (again.damaged, again.lost, again.freed) == ([], [], 1)
    assert again.count == found.count - 1
    assert weft.run(values.big if large else work.double, log=place.log, value=3) == expected
    assert keeping.verify(session.home).freed == 0


def test_a_damaged_input_is_to_be_given_again(place: Place, session: Embedded) -> None:
    given = b"given" * 40_000
    weft.run(sized, log=place.log, value=given)
    damage(place, Checksum.of(given))
    (trouble,) = keeping.verify(session.home).damaged
    assert not trouble.again
    assert "the input 'value' of sized" in trouble.what
    (lost,) = keeping.verify(session.home).lost
    assert lost.checksum == trouble.checksum
    weft.run(sized, log=place.log, value=given, cache=False)
    assert keeping.verify(session.home).lost == []


def test_the_command_says_it_and_ends_with_one(
    place: Place, session: Embedded, capfd: pytest.CaptureFixture[str]
) -> None:
    job = weft.submit(values.big, log=place.log, value=3)
    ref = job.outputs()["result"]
    home = ("--home", str(place.home))
    assert main([*home, "verify"]) == 0
    assert "sound" in capfd.readouterr().out
    damage(place, ref.checksum)
    assert main([*home, "verify", "--json"]) == 1
    document = json.loads(capfd.readouterr().out)
    assert [each["checksum"] for each in document["damaged"]] == [ref.checksum]
    assert main([*home, "verify", "--jobs", "1"]) == 0
    assert "1 result has been freed" in capfd.readouterr().out
    assert main([*home, "get", ref.checksum, "-o", str(place.folder / "got")]) == 0
    assert (place.folder / "got").read_bytes() == bytes([3]) * 200_000


def test_the_commands_of_collection_and_pins(
    place: Place, session: Embedded, capfd: pytest.CaptureFixture[str]
) -> None:
    job = weft.submit(values.big, log=place.log, value=3)
    other = weft.submit(values.big, log=place.log, value=4)
    home = ("--home", str(place.home))
    job.result(), other.result()
    assert main([*home, "pin", job.id[:6], "--note", "for the paper"]) == 0
    assert main([*home, "pins"]) == 0
    assert "for the paper" in capfd.readouterr().out
    assert main([*home, "gc", "--keep", "0", "--dry-run", "--json"]) == 0
    said = json.loads(capfd.readouterr().out)
    assert main([*home, "gc", "--keep", "0", "--json"]) == 0
    done = json.loads(capfd.readouterr().out)
    assert (done["buffers"], done["freed"]) == (said["buffers"], said["freed"])
    assert set(done["buffers"]) == {other.outputs()["result"].checksum}
    assert done["kept"]["pinned"]["buffers"] == 1
    assert main([*home, "unpin", job.id]) == 0
    assert main([*home, "unpin", job.id]) == 3
    assert main([*home, "gc", "--keep", "1GB"]) == 0
    assert main([*home, "gc", "--keep", "some"]) == 2
    capfd.readouterr()
    assert main([*home, "show", other.id]) == 0
    lose(session, number_of(4))
    assert main([*home, "get", other.id]) == 0


def number_of(value: int) -> Checksum:
    return Checksum.of(bytes([value]) * 200_000)


def test_a_damaged_database_is_told_with_what_to_do(place: Place, session: Embedded) -> None:
    assert list(work.double.map([place.log] * 300, range(1000, 1300))) == [2 * each for each in range(1000, 1300)]
    weft.close()
    path = place.home / "store" / "buffers.sqlite"
    data = bytearray(path.read_bytes())
    data[8192:20480] = b"\xff" * 12288
    path.write_bytes(data)
    from weftwork.config import open_home

    home = open_home(place.home)
    with pytest.raises(weft.Corrupt, match=r"buffers.sqlite is damaged.*restore it from a copy"):
        keeping.verify(home)
    home.close()

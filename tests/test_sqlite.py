"""The rules by which every SQLite file of a home is made, opened and shared."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from weftwork import disk
from weftwork.errors import Conflict, Corrupt, Invalid, Unavailable, WeftError
from weftwork.sqlite import Database, Layout, told

_MAKING = """
from weftwork.sqlite import Database, Layout
def migrate(connection, found):
    if found < 1:
        connection.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT)")
    if found < 2:
        connection.execute("ALTER TABLE item ADD COLUMN size INTEGER")
layout = Layout(0x74657374, 2, migrate)
"""
_names: dict[str, Layout] = {}
exec(_MAKING, _names)
LAYOUT = _names["layout"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "it.sqlite"


@pytest.fixture(params=["local", "network"])
def database(request: pytest.FixtureRequest, path: Path) -> Iterator[Database]:
    database = Database(path, LAYOUT, network=request.param == "network")
    yield database
    database.close()


def ask(path: Path, *statements: str) -> list[tuple[object, ...]]:
    """Without the module under test."""
    connection = sqlite3.connect(path, timeout=30)
    try:
        with connection:
            return [row for statement in statements for row in connection.execute(statement).fetchall()]
    finally:
        connection.close()


def add(database: Database, *names: str) -> None:
    with database.write() as connection:
        connection.executemany("INSERT INTO item (name) VALUES (?)", [(name,) for name in names])


def names(database: Database) -> list[str]:
    with database.read() as connection:
        return [row[0] for row in connection.execute("SELECT name FROM item ORDER BY id")]


def test_a_file_is_made_with_its_layout_and_its_journal(database: Database, path: Path) -> None:
    add(database, "a")
    assert ask(path, "PRAGMA user_version", "PRAGMA application_id") == [(2,), (0x74657374,)]
    assert ask(path, "PRAGMA journal_mode") == [("delete" if database.network else "wal",)]
    with database.write() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_whether_it_lies_on_a_network_is_found_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "_mounts", lambda: iter([("/", "nfs4")]))
    Database(path, LAYOUT).close()
    assert ask(path, "PRAGMA journal_mode") == [("delete",)]


def test_opening_what_is_up_to_date_writes_nothing(database: Database, path: Path) -> None:
    database.close()
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    again = Database(path, LAYOUT, network=database.network)
    assert names(again) == []
    again.close()
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_an_older_layout_is_brought_up_to_date(path: Path) -> None:
    ask(path, "CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT)", "INSERT INTO item VALUES (1, 'old')")
    ask(path, "PRAGMA user_version = 1")
    database = Database(path, LAYOUT)
    assert names(database) == ["old"]
    with database.read() as connection:
        assert connection.execute("SELECT size FROM item").fetchone() == (None,)
    database.close()


def test_a_newer_layout_is_refused_and_not_touched(path: Path) -> None:
    Database(path, LAYOUT).close()
    ask(path, "CREATE TABLE needed (release TEXT)", "INSERT INTO needed VALUES ('7.5')", "PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(Conflict, match=r"newer Weftwork .*99.*up to 2.* install a newer one.*nothing was changed"):
        Database(path, LAYOUT)
    telling = Layout(LAYOUT.application, 2, LAYOUT.migrate, "SELECT release FROM needed")
    with pytest.raises(Conflict, match=r"install weftwork 7\.5 or later"):
        Database(path, telling)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("mark", ["CREATE TABLE recipes (name)", "PRAGMA application_id = 7"])
def test_another_programs_database_is_refused_and_not_touched(path: Path, mark: str) -> None:
    ask(path, mark)
    before = path.read_bytes()
    with pytest.raises(Conflict, match=r"another program.*give another home"):
        Database(path, LAYOUT)
    assert path.read_bytes() == before


def test_a_creation_that_was_cut_short_is_made_good(path: Path) -> None:
    ask(path, "PRAGMA journal_mode = wal")
    database = Database(path, LAYOUT)
    assert names(database) == []
    database.close()


def test_a_file_that_is_no_database_is_corrupt_and_left(path: Path) -> None:
    path.write_bytes(b"this is a letter to my grandmother " * 200)
    with pytest.raises(Corrupt, match=r"it\.sqlite is damaged.*restore it.*move it away"):
        Database(path, LAYOUT)
    assert path.read_bytes().startswith(b"this is a letter")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"missing/it\.sqlite.*folder"):
        Database(tmp_path / "missing" / "it.sqlite", LAYOUT)


def test_a_block_that_raises_changes_nothing(database: Database) -> None:
    def fail() -> None:
        with database.write() as connection:
            connection.execute("INSERT INTO item (name) VALUES ('x')")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert names(database) == []
    add(database, "y")
    assert names(database) == ["y"]


def test_a_failed_statement_undoes_all_and_is_told(database: Database) -> None:
    def fail() -> None:
        with database.write() as connection:
            connection.execute("INSERT INTO item (name) VALUES ('x')")
            connection.execute("SELECT * FROM absent")

    with pytest.raises(WeftError, match=r"it\.sqlite.*no such table"):
        fail()
    assert names(database) == []


def test_what_may_not_be_written_to_is_told(database: Database, path: Path) -> None:
    # What the file's permissions would do to anybody but root.
    with database.write() as connection:
        connection.execute("PRAGMA query_only = 1")
    with pytest.raises(Unavailable, match=rf"{path} may not be written to.*let this user write"):
        add(database, "x")


def test_a_full_disk_is_told_and_work_goes_on_once_there_is_room(database: Database, path: Path) -> None:
    add(database, "before")
    # The database's own limit on its size gives the very error of a full disk.
    with database.write() as connection:
        connection.execute("PRAGMA max_page_count = 3")
    with pytest.raises(Unavailable, match=rf"the disk of {path} is full .* MB free.*free some space"):
        add(database, *["x" * 1000] * 100)
    with database.write() as connection:
        connection.execute("PRAGMA max_page_count = 100000")
    assert names(database) == ["before"]
    add(database, "after")
    assert names(database) == ["before", "after"]


def test_an_io_error_is_told_as_a_full_disk_only_where_it_is_full(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
    assert "reading or writing it failed" in str(told(error, path))
    monkeypatch.setattr(disk, "free_bytes", lambda _: 0)
    assert "is full" in str(told(error, path))


def test_one_that_waits_too_long_for_a_lock_says_who_to_look_for(database: Database, path: Path) -> None:
    with database.write() as connection:
        connection.execute("PRAGMA busy_timeout = 50")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="another process has kept it locked"):
        add(database, "x")
    other.execute("ROLLBACK")
    other.close()
    add(database, "y")


def test_a_writer_waits_for_another_process(database: Database, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    threading.Timer(0.2, other.execute, ("ROLLBACK",)).start()
    begin = time.monotonic()
    add(database, "x")
    assert time.monotonic() - begin > 0.1
    other.close()


def test_readers_do_not_wait_for_a_writer_and_see_what_was_before(path: Path) -> None:
    one, two = Database(path, LAYOUT), Database(path, LAYOUT)
    add(one, "a")
    with one.write() as connection:
        connection.execute("DELETE FROM item")
        begin = time.monotonic()
        assert names(one) == names(two) == ["a"]
        one.version()
        assert time.monotonic() - begin < 5
    with one.read() as view:
        assert view.execute("SELECT count(*) FROM item").fetchone() == (0,)
        add(two, "later")
        assert view.execute("SELECT count(*) FROM item").fetchone() == (0,)
    assert names(one) == ["later"]
    one.close()
    two.close()


def test_the_version_changes_when_anybody_has_written(database: Database, path: Path) -> None:
    before = database.version()
    assert database.version() == before
    ask(path, "INSERT INTO item (name) VALUES ('x')")
    after = database.version()
    assert after != before
    names(database)
    assert database.version() == after


def test_many_threads_read_and_write_at_once(database: Database) -> None:
    failures: list[BaseException] = []

    def work(thread: int) -> None:
        try:
            for turn in range(20):
                add(database, f"{thread}-{turn}")
                assert f"{thread}-{turn}" in names(database)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(names(database)) == 160


def test_a_forked_child_uses_connections_of_its_own(database: Database) -> None:
    add(database, "before")
    names(database)
    database.version()
    # Held while the child begins: it must not wait for a lock that nobody in it will ever give back.
    with database._watching:
        child = os.fork()
    if child == 0:
        try:
            database.version()
            add(database, "from the child")
            good = names(database) == ["before", "from the child"]
            database.close()
            os._exit(0 if good else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    add(database, "after")
    assert names(database) == ["before", "from the child", "after"]


def test_after_closing_it_says_so(database: Database) -> None:
    names(database)
    database.close()
    database.close()
    for use in (lambda: add(database, "x"), lambda: names(database), database.version):
        with pytest.raises(Invalid, match="closed"):
            use()


def test_opening_waits_for_whoever_reads_before_it_sets_the_journal(path: Path) -> None:
    ask(path, "PRAGMA user_version = 0", "VACUUM")
    reader = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM sqlite_master").fetchall()
    threading.Timer(0.3, reader.execute, ("COMMIT",)).start()
    database = Database(path, LAYOUT)
    assert ask(path, "PRAGMA journal_mode") == [("wal",)]
    database.close()
    reader.close()


@pytest.mark.slow
@pytest.mark.parametrize("network", [False, True])
def test_fifty_processes_make_it_at_once_and_all_write(path: Path, network: bool) -> None:
    code = (
        f"{_MAKING}\nimport os, sys\nfrom pathlib import Path\n"
        f"database = Database(Path({str(path)!r}), layout, network={network})\n"
        "for turn in range(5):\n    with database.write() as connection:\n"
        "        count = connection.execute('SELECT count(*) FROM item').fetchone()[0]\n"
        "        connection.execute('INSERT INTO item (name, size) VALUES (?, ?)', (str(os.getpid()), count))\n"
    )
    started = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) for _ in range(50)]
    assert [process.communicate(timeout=120)[1] for process in started] == [""] * 50
    assert ask(path, "SELECT size FROM item ORDER BY id") == [(number,) for number in range(250)]
    assert ask(path, "PRAGMA integrity_check") == [("ok",)]

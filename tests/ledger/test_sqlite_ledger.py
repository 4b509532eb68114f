"""What is SQLite's own: files that are no ledger, a full disk, readers beside a writer, opening at once."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from databases import Sqlite

from weftwork.core.checksum import Checksum
from weftwork.errors import Conflict, Corrupt, Unavailable
from weftwork.ledger import SqliteLedger, documents, owners, sqlite
from weftwork.ports import Ending, RunRow
from weftwork.testing.ledger_samples import LEASE, calculation, claims, elsewhere, record, succeeded


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def _edit(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def test_a_newer_ledger_is_refused_and_not_touched(path: Path) -> None:
    SqliteLedger(path).close()
    _edit(path, "INSERT INTO migration VALUES (99, '7.5')", "PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(Conflict, match=r"newer Weftwork .*99.* install weftwork 7\.5"):
        SqliteLedger(path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_damaged_pages_are_told_with_the_path(path: Path) -> None:
    me = owners.this()
    with SqliteLedger(path) as ledger:
        ledger.register(me, LEASE)
        ledger.claim(me.id, claims(*range(2000)))
    data = bytearray(path.read_bytes())
    data[8192 : len(data) - 4096] = os.urandom(len(data) - 12288)
    path.write_bytes(data)
    with pytest.raises(Corrupt, match=str(path)), SqliteLedger(path) as ledger:
        ledger.claim(me.id, claims(*range(2000)))


def test_a_full_disk_loses_nothing_that_was_told(path: Path) -> None:
    me = owners.this()
    with SqliteLedger(path) as ledger:
        ledger.register(me, LEASE)
        told = ledger.claim(me.id, claims(*range(10)))
        writer = ledger._database.file._writer  # type: ignore[attr-defined]
        pages = writer.execute("PRAGMA page_count").fetchone()[0]
        # The database's own limit on its size gives the very error of a full disk.
        writer.execute(f"PRAGMA max_page_count = {pages + 5}")
        with pytest.raises(Unavailable, match=r"is full .*free some space"):
            ledger.claim(me.id, [replace(claim, run="new") for claim in claims(*range(10, 3000))])
        writer.execute("PRAGMA max_page_count = 1000000")
        assert len(ledger.jobs(limit=5000)) == 10
        again = ledger.claim(me.id, [replace(claim, run="new") for claim in claims(*range(3000))])
        assert [answer.answer for answer in again] == ["waiting"] * 10 + ["mine"] * 2990
        assert [answer.job for answer in again[:10]] == [answer.job for answer in told]
        assert ledger.jobs(limit=1)[0].run == "new"
    assert Sqlite(path.parent).sound()


def test_no_listing_reads_all_jobs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, Any]] = []
    run = sqlite._Transaction.all

    def heard(self: Any, sql: str, parameters: Any = ()) -> list[Any]:
        asked.append((sql, parameters))
        return run(self, sql, parameters)

    me = owners.this()
    with SqliteLedger(path) as ledger:
        ledger.register(me, LEASE)
        ledger.start_run(me.id, RunRow("r", "fit", "running", 1.0, {}))
        jobs = ledger.claim(me.id, claims(*range(100), run="r", step="s"))
        monkeypatch.setattr(sqlite._Transaction, "all", heard)
        for state in ("queued", "running", "failed", "cancelled"):
            ledger.jobs(states=[state])
            ledger.jobs(run="r", states=[state])
        ledger.jobs(run="r")
        ledger.jobs(run="r", states=["succeeded"])
        ledger.previous("double", jobs[50].job, "fit", "s")
        ledger.job(jobs[7].job[:5])
        with ledger._database.read() as tx:
            plans = {sql: [row[3] for row in run(tx, f"EXPLAIN QUERY PLAN {sql}", given)] for sql, given in asked}
    assert len(plans) >= 10
    for sql, plan in plans.items():
        # An index of the live ones alone is read from end to end, and so is nothing else.
        assert not [line for line in plan if line.startswith("SCAN") and "job_live" not in line], (sql, plan)


def test_readers_do_not_wait_for_a_writer(path: Path) -> None:
    me = owners.this()
    with SqliteLedger(path) as ledger, SqliteLedger(path) as other:
        ledger.register(me, LEASE)
        (job,) = ledger.claim(me.id, claims(1))
        ledger.end(me.id, [succeeded(job, calculation(1))])
        with ledger._database.write() as tx:
            tx.run("DELETE FROM record")
            begin = time.monotonic()
            for each in (ledger, other):
                assert each.records([calculation(1).key]) == {calculation(1).key: record(calculation(1))}
                assert each.job(job.job).job.state == "succeeded"
                each.version()
            assert time.monotonic() - begin < 5
            tx.run(
                "INSERT INTO record (id, calculation, rank, body) VALUES (1, 1, 'answer', ?)",
                (documents.record_text(record(calculation(1))),),
            )


def test_many_threads_read_and_write_at_once(path: Path) -> None:
    me = owners.this()
    failures: list[BaseException] = []
    with SqliteLedger(path) as ledger:
        ledger.register(me, LEASE)

        def work(first: int) -> None:
            try:
                for number in range(first, first + 30):
                    (job,) = ledger.claim(me.id, claims(number))
                    ledger.end(me.id, [succeeded(job, calculation(number))])
                    assert ledger.record_of(job.job) == record(calculation(number))
                    assert len(ledger.events(job.job)) == 2
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(first * 100,)) for first in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert len(ledger.jobs(limit=1000)) == 240


def test_on_a_network_file_system_one_host_at_a_time_owns_jobs(tmp_path: Path) -> None:
    Sqlite(tmp_path).open().close()
    database = Sqlite(tmp_path, network=True)
    far, near = elsewhere(), owners.this()
    with database.open() as ledger:
        ledger.register(far, 0.3)
        with pytest.raises(Conflict, match=r"one host at a time.*another-host"):
            ledger.register(near, LEASE)
        time.sleep(0.35)
        ledger.register(near, LEASE)
        with pytest.raises(Conflict, match="network"):
            ledger.register(far, LEASE)
        ledger.release(near.id)
        ledger.register(far, LEASE)


def test_keys_that_begin_alike_are_told_apart(path: Path) -> None:
    me = owners.this()
    with SqliteLedger(path) as ledger:
        ledger.register(me, LEASE)
        made = [replace(calculation(1), key=Checksum("f" * 16 + end * 48)) for end in "0f"]
        asked = [replace(claims(1)[0], calculation=each) for each in made]
        (first,) = ledger.claim(me.id, asked[:1])
        ledger.end(me.id, [Ending(first.job, 1, succeeded(first, made[0]).event, record(made[0]))])
        assert [answer.answer for answer in ledger.claim(me.id, asked)] == ["hit", "mine"]
        assert list(ledger.records([each.key for each in made])) == [made[0].key]


@pytest.mark.parametrize(("output", "kept"), [(2, ["answer", "conflict"]), (1, ["answer"])])
def test_an_answer_that_came_from_elsewhere_meanwhile_stays_the_answer(
    path: Path, output: int, kept: list[str]
) -> None:
    me, made = owners.this(), calculation(1)
    with SqliteLedger(path) as ledger:
        ledger.register(me, LEASE)
        (job,) = ledger.claim(me.id, claims(1))
        _edit(
            path,
            f"INSERT INTO record (id, calculation, rank, body) VALUES (1, 1, 'answer', '{documents.record_text(record(made, 1))}')",
        )
        assert ledger.end(me.id, [succeeded(job, made, output)]) == {job.job: record(made, 1)}
        assert ledger.record_of(job.job) == record(made, output)
        assert ledger.records([made.key]) == {made.key: record(made, 1)}
    assert Sqlite(path.parent).records(made.key) == kept


class TestAlive:
    def test_this_process_lives_and_its_namesakes_do_not(self) -> None:
        me = owners.this()
        assert owners.alive(me) is True
        assert owners.alive(replace(me, started=me.started + 1)) is False
        assert owners.alive(replace(me, boot="another")) is False
        assert owners.alive(replace(me, host="another")) is None

    def test_a_dead_child_that_nobody_has_buried_is_dead(self) -> None:
        child = subprocess.Popen(["sleep", "1000"])
        owner = owners.of_process(child.pid)
        assert owners.alive(owner) is True
        child.kill()
        until = time.monotonic() + 10
        while owners.alive(owner) and time.monotonic() < until:
            time.sleep(0.005)
        assert owners.alive(owner) is False
        child.wait()
        assert owners.alive(owner) is False

    def test_another_users_process_is_alive(self) -> None:
        assert owners.alive(owners.of_process(1)) is True

    def test_without_proc_psutil_tells(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(owners, "PROC", Path("/nowhere"))
        child = subprocess.Popen(["sleep", "1000"])
        owner = owners.of_process(child.pid)
        assert owner.started > 1e9
        assert owners.alive(owner) is True
        assert owners.alive(replace(owner, started=owner.started - 60)) is False
        child.kill()
        child.wait()
        assert owners.alive(owner) is False

"""The directory store: the contract, a state machine against a dict, and what is its own."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from weftwork.core.checksum import Checksum
from weftwork.errors import Corrupt, Invalid, StagingFailed, Unavailable
from weftwork.stores.directory import DirectoryStore
from weftwork.stores.packed import Packed
from weftwork.testing.store import GroundTruth, StoreContract, named, sample
from weftwork.testing.store_machine import StoreMachine
from weftwork.testing.store_processes import ProcessesContract


class Raw:
    """The bytes of a directory store, by sqlite3 and the file system alone."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def _file(self, checksum: Checksum) -> Path:
        return self.root / "files" / checksum[:2] / checksum

    def _sql(self, text: str, *values: object) -> list[tuple[bytes, ...]]:
        connection = sqlite3.connect(self.root / "buffers.sqlite", timeout=30)
        try:
            with connection:
                return connection.execute(text, values).fetchall()
        finally:
            connection.close()

    def put(self, checksum: Checksum, data: bytes) -> None:
        if len(data) > 65536:
            self._file(checksum).parent.mkdir(exist_ok=True)
            self._file(checksum).write_bytes(data)
        else:
            prefix = int.from_bytes(checksum.digest[:4], "big")
            self._sql("INSERT INTO buffer (prefix, digest, data) VALUES (?, ?, ?)", prefix, checksum.digest, data)

    def get(self, checksum: Checksum) -> bytes | None:
        rows = self._sql("SELECT data FROM buffer WHERE digest = ?", checksum.digest)
        assert len(rows) <= 1
        if rows:
            return rows[0][0]
        return self._file(checksum).read_bytes() if self._file(checksum).exists() else None

    def corrupt(self, checksum: Checksum) -> None:
        data = self.get(checksum)
        assert data
        wrong = data[:-1] + bytes([data[-1] ^ 1])
        if self._file(checksum).exists():
            self._file(checksum).chmod(0o644)
            self._file(checksum).write_bytes(wrong)
        else:
            self._sql("UPDATE buffer SET data = ? WHERE digest = ?", wrong, checksum.digest)

    def names(self) -> set[Checksum]:
        packed = {Checksum.of_digest(row[0]) for row in self._sql("SELECT digest FROM buffer")}
        return packed | {Checksum(path.name) for path in self.root.glob("files/*/*")}


@pytest.fixture(params=["local", "network"])
def network(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "network")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "a home" / "store"


@pytest.fixture
def store(root: Path, network: bool) -> Iterator[DirectoryStore]:
    with DirectoryStore(root, network=network) as store:
        yield store


class TestDirectoryStore(StoreContract):
    @pytest.fixture
    def network(self) -> bool:
        return False

    @pytest.fixture
    def store(self, root: Path, network: bool) -> Iterator[DirectoryStore]:  # type: ignore[override]
        with DirectoryStore(root, network=network) as store:
            yield store

    @pytest.fixture
    def ground_truth(self, root: Path) -> GroundTruth:
        return Raw(root)


class TestProcesses(ProcessesContract):
    @pytest.fixture
    def store(self, root: Path, network: bool) -> Iterator[DirectoryStore]:  # type: ignore[override]
        with DirectoryStore(root, network=network) as store:
            yield store

    @pytest.fixture
    def ground_truth(self, root: Path) -> GroundTruth:
        return Raw(root)

    @pytest.fixture
    def opening(self, root: Path, network: bool) -> str:
        return (
            "from pathlib import Path; from weftwork.stores.directory import DirectoryStore\n"
            f"store = DirectoryStore(Path({str(root)!r}), network={network})\n"
        )


class _Machine(StoreMachine):
    def make(self) -> tuple[DirectoryStore, Raw]:
        self.root = Path(tempfile.mkdtemp())
        return self.reopen(), Raw(self.root)

    def reopen(self) -> DirectoryStore:
        return DirectoryStore(self.root, network=False)

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.root)


TestMachine = pytest.mark.slow(_Machine.TestCase)
TestMachine.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def test_threads_share_transactions_and_a_failure_is_its_own(store: DirectoryStore) -> None:
    start = threading.Barrier(12)
    failed: list[BaseException] = []

    def work(thread: int) -> None:
        start.wait()
        for turn in range(20):
            data = b"%d-%d" % (thread, turn)
            try:
                assert store.get(store.put(data)) == data
            except BaseException as error:
                failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(list(store.checksums())) == 240


def test_a_failed_transaction_takes_nobody_elses_buffers_along(tmp_path: Path) -> None:
    packed = Packed(tmp_path / "x.sqlite", network=False)
    packed.put({b"0" * 32: b"before"})
    with packed._database.write() as connection:
        connection.execute("PRAGMA user_version")
    assert packed._database._writer is not None
    packed._database._writer.execute("PRAGMA busy_timeout=300")
    lock = sqlite3.connect(tmp_path / "x.sqlite", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    failed: list[int] = []

    def put(number: int) -> None:
        try:
            packed.put({bytes([number]) * 32: b"%d" % number})
        except Unavailable:
            failed.append(number)

    # The first to have its turn takes the buffers of all three along, and fails for the lock.
    threads = [threading.Thread(target=put, args=(number,)) for number in (1, 2, 3)]
    deadline = time.monotonic() + 20
    with packed._turn:
        for thread in threads:
            thread.start()
        while len(packed._waiting) < 3 and time.monotonic() < deadline:
            time.sleep(0.005)
    while not failed and time.monotonic() < deadline:
        time.sleep(0.005)
    lock.execute("ROLLBACK")
    for thread in threads:
        thread.join()
    found = packed.get([bytes([number]) * 32 for number in (1, 2, 3)])
    assert failed
    assert found == {bytes([number]) * 32: b"%d" % number for number in (1, 2, 3) if number not in failed}
    assert found
    packed.close()


def test_names_that_begin_alike_are_not_taken_for_each_other(store: DirectoryStore, root: Path) -> None:
    name = store.put(b"mine")
    other = Checksum(name[:16] + "0" * 48)
    assert store.missing([other]) == {other}
    assert store.get_many([other]) == {}
    Raw(root).put(other, b"of another that begins alike")
    assert store.get_many([name]) == {name: b"mine"}
    assert store.size(name) == 4
    store.remove([other])
    assert Raw(root).names() == {name}
    assert store.get(name) == b"mine"


def test_leftovers_of_dead_processes_go_and_those_of_live_ones_stay(store: DirectoryStore, root: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from weftwork.stores.directory import DirectoryStore\n"
        f"store = DirectoryStore(Path({str(root)!r}))\n"
        "def broken():\n"
        "    yield bytes(200_000)\n"
        "    os.kill(os.getpid(), 9)\n"
        "store.put_stream(broken())\n"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    assert len(list((root / "tmp").iterdir())) == 1
    old = root / "tmp" / "of-another-host"
    old.write_bytes(b"x")
    os.utime(old, (time.time() - 100_000,) * 2)
    young = root / "tmp" / "of-another-host-too"
    young.write_bytes(b"x")

    def watched() -> Iterator[bytes]:
        yield bytes(200_000)
        DirectoryStore(root).close()
        assert len(list((root / "tmp").iterdir())) == 2
        assert young.exists()

    assert store.put_stream(watched()) == (named(bytes(200_000)), 200_000)


@pytest.mark.parametrize("size", [1000, 3_000_001])
@pytest.mark.parametrize("move", [False, True])
def test_a_file_that_changes_all_the_time_is_refused(
    store: DirectoryStore, tmp_path: Path, size: int, move: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "given"
    path.write_bytes(sample(size))
    moment = [10**18]

    def read(*arguments: object) -> bytes:
        moment[0] += 10**9
        os.utime(path, ns=(moment[0], moment[0]))
        return really(*arguments)  # type: ignore[arg-type]

    # The system's own calls are slowed by a writer: the store's code stays as it is.
    for name in ("lseek",):
        really = getattr(os, name)
        monkeypatch.setattr(os, name, read)
    with pytest.raises(StagingFailed, match="changed each time"):
        store.put_file(path, move=move)
    assert path.read_bytes() == sample(size)
    assert list(store.checksums()) == []


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS, None])
def test_without_a_copy_by_the_kernel_files_are_read_and_written(
    store: DirectoryStore, tmp_path: Path, code: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> int:
        assert code is not None
        raise OSError(code, os.strerror(code))

    if code is None:
        monkeypatch.delattr(os, "copy_file_range", raising=False)
    else:
        monkeypatch.setattr(os, "copy_file_range", refused, raising=False)
    path = tmp_path / "given"
    path.write_bytes(sample(3_000_001))
    name, _ = store.put_file(path)
    assert store.get(name) == sample(3_000_001)


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="needs a second file system")
def test_a_file_of_another_file_system_is_moved_by_copying(store: DirectoryStore) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        path = Path(other) / "given"
        path.write_bytes(sample(3_000_001))
        name, _ = store.put_file(path, move=True)
        assert not path.exists()
    assert store.get(name) == sample(3_000_001)


@pytest.mark.parametrize("garbage", [b"this is not a database" * 400, None])
def test_a_damaged_database_is_told_with_its_path_and_the_next_step(root: Path, garbage: bytes | None) -> None:
    with DirectoryStore(root) as store:
        names = store.put_many([b"%d" % number * 50 for number in range(2000)])
    path = root / "buffers.sqlite"
    if garbage is None:
        whole = path.read_bytes()
        path.write_bytes(whole[:4096] + bytes(len(whole) - 4096))
    else:
        path.write_bytes(garbage)
    with pytest.raises(Corrupt, match=r"buffers\.sqlite is damaged .* move it away"), DirectoryStore(root) as store:
        store.get_many(names)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unavailable, match="file"):
        DirectoryStore(tmp_path / "file" / "store")


def _as_another_user(work: Callable[[], None]) -> bool:
    """Do it as nobody where this is root, who may write anywhere; whether it raised nothing."""
    if os.geteuid() != 0:
        work()
        return True
    child = os.fork()
    if child == 0:
        try:
            os.setgid(65534)
            os.setuid(65534)
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def test_a_folder_that_may_not_be_written_to_is_told() -> None:
    # Not below pytest's own folder, into which nobody else may look.
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        root = Path(place) / "store"
        DirectoryStore(root).close()
        folders = [root, *(each for each in root.rglob("*") if each.is_dir())]
        for path in folders:
            path.chmod(0o555)

        def put() -> None:
            with pytest.raises(Unavailable, match="let this user write"), DirectoryStore(root) as store:
                store.put(b"x")

        try:
            assert _as_another_user(put)
        finally:
            for path in folders:
                path.chmod(0o755)


def test_a_closed_store_says_so(store: DirectoryStore) -> None:
    store.close()
    store.close()
    with pytest.raises(Invalid, match="closed"):
        store.put(b"x")


def test_foreign_files_in_the_folder_are_not_buffers(store: DirectoryStore, root: Path) -> None:
    name = store.put(sample(70_000))
    (root / "files" / "README").write_text("by hand")
    (root / "files" / name[:2] / "notes").write_text("by hand")
    assert dict(store.checksums()) == {name: 70_000}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("needs the right to mount")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_is_told_and_nothing_is_half_written(small_disk: Path, tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.write_bytes(sample(20_000_000))
    with DirectoryStore(small_disk / "store") as store:
        kept = store.put_many([b"small", sample(100_000)])
        ways = [
            lambda: store.put(sample(20_000_000)),
            lambda: store.put_stream(iter([sample(1_000_000)] * 20)),
            lambda: store.put_file(given),
            lambda: store.put_file(given, move=True),
            lambda: store.put_many([sample(60_000, seed) for seed in range(300)]),
        ]
        for way in ways:
            with pytest.raises(Unavailable, match=r"store\S* is full \(.* MB free"):
                way()
            assert {name for name, _ in store.checksums()} == set(kept)
            assert list((small_disk / "store" / "tmp").iterdir()) == []
        assert given.exists()
        assert store.get_many(kept) == dict(zip(kept, [b"small", sample(100_000)], strict=True))
        assert store.get(store.put(b"goes on")) == b"goes on"
    with DirectoryStore(small_disk / "store") as store:
        assert store.missing(kept) == set()

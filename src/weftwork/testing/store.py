"""What every :class:`~weftwork.ports.Store` must do. A backend subclasses :class:`StoreContract` in its own tests.

The ground truth reads and writes where the bytes really are, without the store under test: so a store cannot
certify itself.
"""

from __future__ import annotations

import hashlib
import io
import os
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, Protocol

import pytest

from weftwork.core.checksum import Checksum
from weftwork.errors import Corrupt, Invalid, NotFound
from weftwork.ports import Store

SIZES = (0, 1, 4095, 65535, 65536, 65537, 3_000_001)
"""On both sides of every limit at which a store may begin to keep bytes in another way."""

ABSENT = Checksum.of(b"this is never put")


class GroundTruth(Protocol):
    """The bytes of a store, reached without it."""

    def put(self, checksum: Checksum, data: bytes) -> None:
        """Put bytes under a name, right or wrong, in the place where the store would look for so many of them."""
        ...

    def get(self, checksum: Checksum) -> bytes | None: ...

    def corrupt(self, checksum: Checksum) -> None:
        """Change the bytes that are there under a name, not their number."""
        ...

    def names(self) -> set[Checksum]: ...


def sample(size: int, seed: int = 0) -> bytes:
    """Bytes that do not compress and are the same each time."""
    return hashlib.shake_128(b"%d" % seed).digest(size)


def named(data: bytes) -> Checksum:
    return Checksum(hashlib.sha256(data).hexdigest())


def pieces(data: bytes, size: int = 10_007) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def _read_just(stream: BinaryIO, size: int) -> None:
    while size > 0:
        size -= len(stream.read(min(size, 100_000)))


Put = Callable[[Store, bytes, Path], Checksum]


def _by_file(move: bool, expected: bool) -> Put:
    def put(store: Store, data: bytes, folder: Path) -> Checksum:
        path = folder / "given"
        path.write_bytes(data)
        checksum, size = store.put_file(path, named(data) if expected else None, move=move)
        assert size == len(data)
        assert path.exists() is not move
        return checksum

    return put


def _by_files(move: bool) -> Put:
    def put(store: Store, data: bytes, folder: Path) -> Checksum:
        paths = [folder / "one", folder / "the same"]
        for path in paths:
            path.write_bytes(data)
        store.put_files([(path, named(data)) for path in paths], move=move)
        assert [path.exists() for path in paths] == [not move, not move]
        return named(data)

    return put


PUTS: dict[str, Put] = {
    "put": lambda store, data, _: store.put(data),
    "put_many": lambda store, data, _: store.put_many([data])[0],
    "put_stream": lambda store, data, _: store.put_stream(pieces(data))[0],
    "put_stream expected": lambda store, data, _: store.put_stream(pieces(data), named(data))[0],
    "put_file": _by_file(move=False, expected=False),
    "put_file expected": _by_file(move=False, expected=True),
    "put_file move": _by_file(move=True, expected=False),
    "put_file move expected": _by_file(move=True, expected=True),
    "put_files": _by_files(move=False),
    "put_files move": _by_files(move=True),
}
"""Every way in: what holds of one must hold of all."""

each_put = pytest.mark.parametrize("put", PUTS.values(), ids=PUTS)
each_size = pytest.mark.parametrize("size", SIZES)


class StoreContract:
    """Subclasses define the fixtures ``store`` (empty) and ``ground_truth`` (of the same place)."""

    @pytest.fixture
    def store(self) -> Iterator[Store]:
        raise NotImplementedError

    @pytest.fixture
    def ground_truth(self) -> GroundTruth:
        raise NotImplementedError

    @each_put
    @each_size
    def test_a_put_names_the_bytes_and_keeps_them(
        self, store: Store, ground_truth: GroundTruth, tmp_path: Path, put: Put, size: int
    ) -> None:
        data = sample(size)
        assert put(store, data, tmp_path) == named(data)
        assert ground_truth.get(named(data)) == data
        assert ground_truth.names() == {named(data)}

    @each_size
    def test_what_is_damaged_is_set_aside_and_what_is_sound_stays(
        self, store: Store, ground_truth: GroundTruth, size: int
    ) -> None:
        damaged, sound = sample(size, 1), sample(size, 2)
        names = store.put_many([damaged, sound])
        if not size:
            assert store.set_aside(names) == []
            return
        ground_truth.corrupt(names[0])
        (place,) = store.set_aside([*names, ABSENT])
        assert place.stat().st_size == size
        assert store.missing(names) == {names[0]}
        assert ground_truth.get(names[0]) is None
        assert store.get(names[1]) == sound
        assert store.put(damaged) == names[0]
        assert store.get(names[0]) == damaged

    def test_a_put_counts_also_where_it_was_there(self, store: Store) -> None:
        data = sample(3_000_001)
        name = store.put(data)
        age = store.age(name)
        assert age is None or 0 <= age < 60
        assert store.age(ABSENT) is None
        if age is not None:
            time.sleep(0.05)
            before = time.time()
            store.put(data)
            again = store.age(name)
            assert again is not None
            assert again <= time.time() - before + 0.02

    def test_a_store_is_compacted_beside_who_works(self, store: Store) -> None:
        names = store.put_many([sample(20_000, seed) for seed in range(300)])
        store.remove(names[:290])
        store.compact()
        store.compact()
        assert store.missing(names) == set(names[:290])
        assert store.put(sample(20_000, 3)) == names[3]

    @each_size
    def test_every_way_out_gives_the_bytes(self, store: Store, ground_truth: GroundTruth, size: int) -> None:
        data = sample(size)
        name = named(data)
        ground_truth.put(name, data)
        assert store.get(name) == data
        assert store.get_many([name, ABSENT, name]) == {name: data}
        with store.open(name) as stream:
            assert stream.read() == data
        with store.open(name) as stream:
            assert b"".join(iter(lambda: stream.read(777), b"")) == data
        assert store.size(name) == size
        assert store.missing([name, ABSENT]) == {ABSENT}
        assert dict(store.checksums()) == {name: size}
        path = store.path(name)
        assert path is None or path.read_bytes() == data

    def test_a_local_file_is_not_for_writing(self, store: Store) -> None:
        for size in SIZES:
            path = store.path(store.put(sample(size)))
            assert path is None or path.stat().st_mode & 0o777 == 0o444

    def test_a_name_that_is_not_there_is_not_found(self, store: Store) -> None:
        for look in (store.get, store.open, store.size):
            with pytest.raises(NotFound, match=str(ABSENT)):
                look(ABSENT)
        assert store.path(ABSENT) is None
        assert store.get_many([ABSENT]) == {}
        assert store.missing([ABSENT]) == {ABSENT}
        assert list(store.checksums()) == []
        store.remove([ABSENT])

    def test_many_are_named_in_their_order(self, store: Store, ground_truth: GroundTruth) -> None:
        buffers = [sample(size, seed) for seed in range(40) for size in (10, 65536, 70_000)]
        buffers += [buffers[0], b"", buffers[2]]
        assert store.put_many(buffers) == [named(data) for data in buffers]
        assert ground_truth.names() == {named(data) for data in buffers}
        assert store.get_many([named(data) for data in buffers]) == {named(data): data for data in buffers}
        assert store.put_many([]) == []
        assert store.get_many([]) == {}
        assert store.missing([]) == set()

    def test_at_hand_are_right_bytes_alone_and_nothing_that_was_removed(
        self, store: Store, ground_truth: GroundTruth
    ) -> None:
        buffers = [b"", *(sample(size, seed) for seed in range(200) for size in (10, 30_000, 70_000))]
        mutable = [bytearray(data) for data in buffers]
        names = store.put_many(mutable)  # type: ignore[arg-type]
        for each in mutable:
            each[:] = b"something else"
        for _ in range(2):
            found = store.at_hand([*names, ABSENT])
            assert found == {name: data for name, data in zip(names, buffers, strict=True) if name in found}
            assert store.get_many(names[-3:]) == dict(zip(names[-3:], buffers[-3:], strict=True))
        store.remove(names)
        assert store.at_hand(names) == {}
        # What somebody else put is not known, and is no reason to look.
        ground_truth.put(named(b"theirs"), b"theirs")
        assert store.at_hand([named(b"theirs")]) == {}

    def test_many_thousands_at_once(self, store: Store) -> None:
        buffers = [b"%d" % number for number in range(5000)]
        names = store.put_many(buffers)
        assert store.get_many([*names, ABSENT]) == dict(zip(names, buffers, strict=True))
        assert store.missing([*names, ABSENT]) == {ABSENT}
        assert dict(store.checksums()) == {name: len(data) for name, data in zip(names, buffers, strict=True)}
        store.remove(names[1:])
        assert [name for name, _ in store.checksums()] == names[:1]

    @each_put
    @each_size
    def test_putting_again_changes_nothing(
        self, store: Store, ground_truth: GroundTruth, tmp_path: Path, put: Put, size: int
    ) -> None:
        data = sample(size)
        ground_truth.put(named(data), data)
        assert put(store, data, tmp_path) == named(data)
        assert dict(store.checksums()) == {named(data): size}
        assert ground_truth.get(named(data)) == data

    @pytest.mark.parametrize("size", [1, 65536, 65537, 3_000_001])
    def test_corrupt_bytes_are_told_by_every_way_out(self, store: Store, ground_truth: GroundTruth, size: int) -> None:
        name = store.put(sample(size))
        ground_truth.corrupt(name)
        with pytest.raises(Corrupt):
            store.get(name)
        with pytest.raises(Corrupt):
            store.get_many([name])
        with pytest.raises(Corrupt), store.open(name) as stream:
            stream.read()
        # Who reads just as many bytes as there are must hear it too.
        with pytest.raises(Corrupt), store.open(name) as stream:
            _read_just(stream, size)

    @each_put
    @pytest.mark.parametrize("size", [1, 65536, 65537, 3_000_001])
    def test_putting_again_repairs_what_was_corrupt(
        self, store: Store, ground_truth: GroundTruth, tmp_path: Path, put: Put, size: int
    ) -> None:
        data = sample(size)
        name = store.put(data)
        ground_truth.corrupt(name)
        assert put(store, data, tmp_path) == name
        assert ground_truth.get(name) == data
        assert store.get(name) == data

    @each_put
    def test_truncated_bytes_are_told_and_repaired(
        self, store: Store, ground_truth: GroundTruth, tmp_path: Path, put: Put
    ) -> None:
        data = sample(200_000)
        ground_truth.put(named(data), data[:150_000])
        with pytest.raises(Corrupt):
            store.get(named(data))
        with pytest.raises(Corrupt), store.open(named(data)) as stream:
            stream.read()
        put(store, data, tmp_path)
        assert store.get(named(data)) == data

    @each_size
    def test_unexpected_bytes_are_refused_and_nothing_is_kept(
        self, store: Store, ground_truth: GroundTruth, tmp_path: Path, size: int
    ) -> None:
        path = tmp_path / "given"
        path.write_bytes(sample(size))
        with pytest.raises(Corrupt):
            store.put_stream(pieces(sample(size)), ABSENT)
        for move in (False, True):
            with pytest.raises(Corrupt):
                store.put_file(path, ABSENT, move=move)
            with pytest.raises(Corrupt) as refused:
                store.put_files([(path, ABSENT)], move=move)
            assert refused.value.details["expected"] == ABSENT
        assert path.read_bytes() == sample(size)
        assert ground_truth.names() == set()

    def test_a_stream_that_breaks_leaves_nothing_and_its_own_error(
        self, store: Store, ground_truth: GroundTruth
    ) -> None:
        def broken(size: int) -> Iterator[bytes]:
            yield from pieces(sample(size))
            raise ConnectionResetError("the sender went away")

        for size in SIZES:
            with pytest.raises(ConnectionResetError, match="the sender went away"):
                store.put_stream(broken(size))
        assert ground_truth.names() == set()

    def test_nothing_is_seen_before_a_put_returns(self, store: Store, ground_truth: GroundTruth) -> None:
        data = sample(3_000_001)

        def watched() -> Iterator[bytes]:
            for piece in pieces(data, 500_000):
                yield piece
                assert ground_truth.names() == set()
                assert store.missing([named(data)]) == {named(data)}
                assert list(store.checksums()) == []

        assert store.put_stream(watched()) == (named(data), len(data))
        assert store.missing([named(data)]) == set()

    @each_size
    def test_a_file_given_stays_its_givers(self, store: Store, tmp_path: Path, size: int) -> None:
        path = tmp_path / "given"
        path.write_bytes(sample(size))
        name, _ = store.put_file(path)
        with path.open("r+b") as file:
            file.write(b"changed afterwards")
        assert store.get(name) == sample(size)

    def test_many_files_of_all_sizes_are_given_at_once(self, store: Store, tmp_path: Path) -> None:
        contents = {tmp_path / str(number): sample(size, number) for number, size in enumerate((*SIZES, *SIZES))}
        for path, data in contents.items():
            path.write_bytes(data)
        store.put_files([(path, named(data)) for path, data in contents.items()])
        assert {store.get(named(data)) for data in contents.values()} == set(contents.values())
        store.put_files([])

    def test_a_moved_file_cannot_be_changed_through_another_name(self, store: Store, tmp_path: Path) -> None:
        for size in (1000, 3_000_001):
            path, other = tmp_path / "given", tmp_path / f"other{size}"
            path.write_bytes(sample(size))
            os.link(path, other)
            name, _ = store.put_file(path, move=True)
            assert not path.exists()
            with other.open("r+b") as file:
                file.write(b"changed afterwards")
            assert store.get(name) == sample(size)

    def test_only_a_regular_file_can_be_given(self, store: Store, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(NotFound):
            store.put_file(tmp_path / "absent")
        for path in (tmp_path, tmp_path / "pipe"):
            with pytest.raises(Invalid):
                store.put_file(path)

    @pytest.mark.parametrize("size", [1, 65536, 3_000_001])
    def test_a_removed_buffer_is_gone_and_can_come_back(
        self, store: Store, ground_truth: GroundTruth, size: int
    ) -> None:
        data = sample(size)
        name, kept = store.put(data), store.put(b"another")
        store.path(name)
        store.remove([name, ABSENT])
        assert ground_truth.names() == {kept}
        assert store.path(name) is None
        with pytest.raises(NotFound):
            store.get(name)
        assert store.put(data) == name
        assert store.get(name) == data

    def test_a_local_file_that_was_changed_is_made_again(self, store: Store) -> None:
        name = store.put(b"small")
        path = store.path(name)
        if path is not None:
            path.chmod(0o644)
            path.write_bytes(b"wrong")
            assert store.get(name) == b"small"
            again = store.path(name)
            assert again is not None
            assert again.read_bytes() == b"small"

    def test_huge_streams_need_little_memory(self, store: Store, tmp_path: Path) -> None:
        chunk = sample(1 << 20)
        path = tmp_path / "huge"
        path.write_bytes(chunk * 48)
        tracemalloc.start()
        try:
            name, _ = store.put_stream(chunk for _ in range(48))
            store.put_file(path)
            with store.open(name) as stream, path.open("wb") as out:
                while piece := stream.read(1 << 20):
                    out.write(piece)
            assert tracemalloc.get_traced_memory()[1] < 12 << 20
        finally:
            tracemalloc.stop()

    def test_threads_put_and_get_at_once(self, store: Store) -> None:
        start = threading.Barrier(8)
        shared = [sample(size, seed) for seed, size in enumerate((10, 5000, 65536, 70_000))]

        def work(thread: int) -> None:
            start.wait()
            for turn in range(12):
                own = b"%d of %d" % (turn, thread)
                names = store.put_many([own, *shared])
                assert store.get_many(names) == dict(zip(names, [own, *shared], strict=True))
                name, _ = store.put_stream(io.BytesIO(shared[turn % 4]))
                assert store.get(name) == shared[turn % 4]

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        assert len(list(store.checksums())) == 8 * 12 + len(shared)

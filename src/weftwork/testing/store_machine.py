"""A store against a dict: Hypothesis drives both with the same puts, removals and corruptions, and compares them."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from weftwork.core.checksum import Checksum
from weftwork.errors import Corrupt, NotFound
from weftwork.ports import Store
from weftwork.testing.store import GroundTruth, named, pieces, sample

_DATA = st.one_of(
    st.binary(max_size=200),
    st.builds(sample, st.sampled_from([65535, 65536, 65537, 200_000]), st.integers(0, 3)),
)


class StoreMachine(RuleBasedStateMachine):
    """A subclass says how a store is made."""

    names = Bundle("names")

    def make(self) -> tuple[Store, GroundTruth]:
        """An empty store and its ground truth."""
        raise NotImplementedError

    def reopen(self) -> Store:
        """The same store again, after it was closed."""
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.store, self.truth = self.make()
        self.model: dict[Checksum, bytes] = {}
        self.bad: set[Checksum] = set()

    def _was_put(self, data: bytes) -> Checksum:
        self.model[named(data)] = data
        self.bad.discard(named(data))
        return named(data)

    @rule(target=names, data=_DATA)
    def put(self, data: bytes) -> Checksum:
        assert self.store.put(data) == named(data)
        return self._was_put(data)

    @rule(buffers=st.lists(_DATA, max_size=6))
    def put_many(self, buffers: list[bytes]) -> None:
        assert self.store.put_many(buffers) == [self._was_put(data) for data in buffers]

    @rule(target=names, data=_DATA, told=st.booleans())
    def put_stream(self, data: bytes, told: bool) -> Checksum:
        expected = named(data) if told else None
        assert self.store.put_stream(pieces(data), expected) == (named(data), len(data))
        return self._was_put(data)

    @rule(name=names)
    def get(self, name: Checksum) -> None:
        try:
            assert self.store.get(name) == self.model[name]
            assert name not in self.bad
        except Corrupt:
            assert name in self.bad
        except NotFound:
            assert name not in self.model

    @rule(some=st.lists(names, max_size=4))
    def get_many(self, some: list[Checksum]) -> None:
        good = [name for name in some if name not in self.bad]
        assert self.store.get_many(good) == {name: self.model[name] for name in good if name in self.model}

    @rule(some=st.lists(names, max_size=4))
    def at_hand(self, some: list[Checksum]) -> None:
        # Bytes in memory are as they were put, whatever has become of those on the disk.
        for name, data in self.store.at_hand(some).items():
            assert data == self.model[name]

    @rule(name=names)
    def path(self, name: Checksum) -> None:
        if name not in self.bad:
            path = self.store.path(name)
            assert (path.read_bytes() if path else None) == self.model.get(name)

    @rule(some=st.lists(names, max_size=3))
    def remove(self, some: list[Checksum]) -> None:
        self.store.remove(some)
        for name in some:
            self.model.pop(name, None)
            self.bad.discard(name)

    @rule(name=names)
    def corrupt(self, name: Checksum) -> None:
        if self.model.get(name) and name not in self.bad:
            self.truth.corrupt(name)
            self.bad.add(name)

    @rule()
    def close_and_open(self) -> None:
        self.store.close()
        self.store = self.reopen()

    @invariant()
    def same_names(self) -> None:
        assert dict(self.store.checksums()) == {name: len(data) for name, data in self.model.items()}
        assert self.store.missing(self.model) == set()

    def teardown(self) -> None:
        self.store.close()

"""A state machine that holds a :class:`~weftwork.ports.Ledger` to a simple model while owners claim, write, die and return.

Owners are of this host and live as the machine says; a dead one may still write, as a process that was only thought
dead would, and what it then does is decided by its epochs alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from weftwork.core.job import Event
from weftwork.core.placement import Placement
from weftwork.ledger import owners
from weftwork.ports import Claim, Claimed, Ending, Ledger, Owner
from weftwork.testing.ledger import GroundTruth
from weftwork.testing.ledger_samples import FRESH, calculation, record

KEYS = 4
OWNERS = 3

_owner = st.integers(0, OWNERS - 1)
_some = st.integers(0, 3)
_how = st.sampled_from(("shared", "shared", "fresh", "lost"))


@dataclass
class ModelJob:
    """What the model knows of a job."""

    key: int
    owner: str
    epoch: int = 1
    private: bool = False
    lost: bool = False
    live: bool = True
    events: list[str] = field(default_factory=lambda: ["queued"])
    waiters: set[str] = field(default_factory=set)


class LedgerMachine(RuleBasedStateMachine):
    """Subclasses define :meth:`open`, which makes two connections to one empty ledger."""

    def open(self, alive: owners.Alive) -> tuple[Ledger, Ledger, GroundTruth]:
        raise NotImplementedError

    @initialize()
    def begin(self) -> None:
        self.living: set[str] = set()
        self.serial = 0
        self.jobs: dict[str, ModelJob] = {}
        self.answers: dict[int, int] = {}
        self.ranks: dict[int, list[str]] = {key: [] for key in range(KEYS)}
        self.leases: list[tuple[str, str, int]] = []
        *self.ledgers, self.truth = self.open(lambda owner: owner.id in self.living)
        self.owners = [self.arrive() for _ in range(OWNERS)]

    def arrive(self) -> str:
        self.serial += 1
        owner = Owner(f"owner-{self.serial}", owners.host(), owners.boot(), self.serial, 0.0)
        self.living.add(owner.id)
        self.ledgers[self.serial % 2].register(owner, 600.0)
        return owner.id

    def ledger(self, at: int) -> Ledger:
        return self.ledgers[at % 2]

    def live(self, key: int) -> str | None:
        return next((name for name, job in self.jobs.items() if job.key == key and job.live and not job.private), None)

    @rule(at=_owner, wanted=st.lists(st.tuples(st.integers(0, KEYS - 1), _how), min_size=1, max_size=5))
    def claim(self, at: int, wanted: list[tuple[int, str]]) -> None:
        owner = self.owners[at]
        asked = [
            Claim(calculation(key), FRESH if how == "fresh" else Placement(), lost=how == "lost") for key, how in wanted
        ]
        answers = self.ledger(at).claim(owner, asked)
        for (key, how), answer in zip(wanted, answers, strict=True):
            self.claimed(owner, key, how, answer)

    def claimed(self, owner: str, key: int, how: str, answer: Claimed) -> None:
        live, known = self.live(key), key in self.answers and how != "lost"
        if how == "fresh" or (not known and live is None):
            assert answer == Claimed("mine", answer.job, 1)
            assert answer.job not in self.jobs
            self.jobs[answer.job] = ModelJob(key, owner, private=how == "fresh", lost=how == "lost", waiters={owner})
            self.leases.append((owner, answer.job, 1))
        elif known:
            assert answer == Claimed("hit", answer.job, record=record(calculation(key), self.answers[key]))
            assert answer.job not in self.jobs
            self.jobs[answer.job] = ModelJob(key, owner, live=False, events=["queued", "succeeded"])
        else:
            assert live is not None
            self.joined(owner, live, answer)

    @rule(at=_owner, key=st.integers(0, KEYS - 1))
    def answered(self, at: int, key: int) -> None:
        owner, made = self.owners[at], calculation(key)
        known = self.ledger(at).records([made.key])
        assert known == ({made.key: record(made, self.answers[key])} if key in self.answers else {})
        if known:
            (told,) = self.ledger(at + 1).claim(owner, [Claim(made, Placement(), answered=True)])
            assert told == Claimed("hit", told.job)
            assert told.job not in self.jobs
            self.jobs[told.job] = ModelJob(key, owner, live=False, events=["queued", "succeeded"])

    def joined(self, owner: str, name: str, answer: Claimed) -> None:
        job = self.jobs[name]
        if job.owner == owner or job.owner in self.living:
            assert answer == Claimed("waiting", name, job.epoch)
        else:
            self.taken(owner, name, answer)
        job.waiters.add(owner)

    def taken(self, owner: str, name: str, answer: Any) -> None:
        job = self.jobs[name]
        assert job.owner not in self.living, "a living owner lost its job"
        job.owner, job.epoch = owner, job.epoch + 1
        job.events.append("taken over")
        job.waiters.add(owner)
        assert answer == Claimed("mine", name, job.epoch, 0)
        self.leases.append((owner, name, job.epoch))

    def holds(self, owner: str, name: str, epoch: int) -> bool:
        job = self.jobs[name]
        return job.live and job.owner == owner and job.epoch == epoch

    @rule(data=st.data(), many=_some)
    def append(self, data: st.DataObject, many: int) -> None:
        for owner, name, epoch in self.some_leases(data, many):
            expected = {name} if self.holds(owner, name, epoch) else set()
            note = Event("noted", 1.0, {"text": "…"})
            assert self.ledger(many).append(owner, [(name, epoch, note), (name, epoch, note)]) == expected
            if expected:
                self.jobs[name].events += ["noted", "noted"]

    @rule(data=st.data(), many=_some, good=st.booleans(), output=st.integers(0, 1))
    def end(self, data: st.DataObject, many: int, good: bool, output: int) -> None:
        for owner, name, epoch in self.some_leases(data, many):
            job = self.jobs[name]
            kind = "succeeded" if good else "failed"
            made = record(calculation(job.key), output) if good else None
            ending = Ending(name, epoch, Event("succeeded" if good else "failed", 2.0), made, job.lost)
            holds = self.holds(owner, name, epoch)
            assert self.ledger(many).end(owner, [ending]) == ({name: made} if holds else {})
            if holds:
                job.live = False
                job.events.append(kind)
                job.waiters.clear()
                if good:
                    self.recorded(job, output)

    def recorded(self, job: ModelJob, output: int) -> None:
        answered = self.answers.get(job.key)
        if not job.private:
            assert answered is None or job.lost, "what had a record was done again"
            if answered != output:
                # What is made again and differs takes the place of what is lost.
                self.ranks[job.key] = ["conflict" if rank == "answer" else rank for rank in self.ranks[job.key]]
                self.ranks[job.key].append("answer")
            self.answers[job.key] = output
        else:
            self.ranks[job.key].append("own" if answered in (None, output) else "conflict")

    def some_leases(self, data: st.DataObject, many: int) -> list[tuple[str, str, int]]:
        """Leases that were ever given, stale ones too."""
        if not self.leases:
            return []
        return data.draw(st.lists(st.sampled_from(self.leases[-12:]), max_size=many, unique=True))

    @rule(at=_owner)
    def die(self, at: int) -> None:
        self.living.discard(self.owners[at])
        self.owners[at] = self.arrive()

    @rule(at=_owner)
    def leave(self, at: int) -> None:
        owner = self.owners[at]
        self.ledger(at).release(owner)
        self.living.discard(owner)
        self.leases = [lease for lease in self.leases if lease[0] != owner]
        self.owners[at] = self.arrive()

    @rule(at=_owner)
    def follow(self, at: int) -> None:
        owner = self.owners[at]
        names = list(self.jobs)[-8:]
        for name, answer in self.ledger(at).follow(owner, names).items():
            job = self.jobs[name]
            if not job.live:
                assert not isinstance(answer, Claimed)
                assert answer.job.state == job.events[-1]
            elif job.owner == owner or job.owner in self.living:
                assert answer == Claimed("waiting", name, job.epoch)
            else:
                self.taken(owner, name, answer)

    @rule(at=_owner, data=st.data())
    def withdraw(self, at: int, data: st.DataObject) -> None:
        live = [name for name, job in self.jobs.items() if job.live]
        names = data.draw(st.lists(st.sampled_from(live), unique=True)) if live else []
        expected = set()
        for name in names:
            self.jobs[name].waiters.discard(self.owners[at])
            if not self.jobs[name].waiters & self.living:
                expected.add(name)
        assert self.ledger(at).withdraw(self.owners[at], names) == expected

    @invariant()
    def facts_are_those_of_the_model(self) -> None:
        for key in range(KEYS):
            live = self.live(key)
            expected = [] if live is None else [(live, self.jobs[live].epoch)]
            assert self.truth.live(calculation(key).key) == expected
            assert self.truth.records(calculation(key).key) == self.ranks[key]
        assert self.truth.count("job") == len(self.jobs)

    def teardown(self) -> None:
        for name, job in getattr(self, "jobs", {}).items():
            assert self.truth.events(name) == job.events
            read = self.ledgers[0].events(name)
            assert [(number, event.kind) for number, event in read] == list(enumerate(job.events, 1))
        for ledger in getattr(self, "ledgers", []):
            ledger.close()

"""What a `StateStore` promises: the fake, and the real one on a broker."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
from confluent_kafka import KafkaError

from processor.components import Pending, StateStore
from processor.domain.clock import Deadline, SystemClock
from processor.domain.errors import InvariantError
from processor.simulator.broker import Api, EmbeddedBroker
from processor.state.person import Person, PersonKey
from processor.state.state_store import ChangelogStateStore
from tests.support.fakes import FakeStateStore
from tests.support.state import CHANGELOG, INPUTS, delivered, event_of, open_store, person_with
from tests.support.waiting import until

ANN, BOB = (0, b"ECID|ann"), (1, b"ECID|bob")
BOTH = (0, 1)


class World(Protocol):
    """The state stores of replicas, and the changelog they share."""

    def state_store(self) -> StateStore:
        """Return the state store of another replica, without partitions yet."""
        ...

    def refuse(self) -> None:
        """Make every write fail."""
        ...

    def heal(self) -> None:
        """Make writes succeed again."""
        ...


class FakeWorld:
    """Fakes that share what is durable."""

    def __init__(self) -> None:
        self._first = FakeStateStore([])
        self._all: list[FakeStateStore] = []

    def state_store(self) -> FakeStateStore:
        self._all.append(self._first.successor())
        return self._all[-1]

    def refuse(self) -> None:
        for each in self._all:
            each.unavailable_reason = "the changelog cannot be written"

    def heal(self) -> None:
        for each in self._all:
            each.unavailable_reason = None


class RealWorld:
    """State stores with a folder each, and a broker."""

    def __init__(self, broker: EmbeddedBroker, folder: Path) -> None:
        self._broker = broker
        self._folder = folder
        self._all: list[ChangelogStateStore] = []

    def state_store(self) -> ChangelogStateStore:
        folder = self._folder / str(len(self._all))
        self._all.append(open_store(self._broker.bootstrap, folder))
        return self._all[-1]

    def refuse(self) -> None:
        self._broker.fail_requests(Api.PRODUCE, *[KafkaError.TOPIC_AUTHORIZATION_FAILED] * 1000)

    def heal(self) -> None:
        self._broker.heal_requests(Api.PRODUCE)


@pytest.fixture(params=["fake", "real"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    if request.param == "fake":
        yield FakeWorld()
        return
    with EmbeddedBroker(dict.fromkeys((*INPUTS, CHANGELOG), 2)) as broker:
        yield RealWorld(broker, tmp_path)


@pytest.fixture
def state_store(world: World) -> Iterator[StateStore]:
    state_store = restored(world.state_store(), *BOTH)
    yield state_store
    state_store.close(0.2)


def restored(state_store: StateStore, *partitions: int) -> StateStore:
    state_store.assign(partitions)

    def done() -> bool:
        state_store.poll()
        return not state_store.restoring and all(map(state_store.ready, partitions))

    until(done, seconds=9, every=0.001, what="the partitions are restored")
    return state_store


def wait_durable(state_store: StateStore, *writes: Pending) -> None:
    def durable() -> bool:
        state_store.poll()
        return all(write.done for write in writes)

    until(
        durable,
        seconds=9,
        every=0.001,
        what="it is durable",
        tell=lambda: state_store.unavailable_reason,
    )


def durable(world: World) -> dict[PersonKey, Person]:
    """Return the two persons as another replica restores them from the changelog."""
    other = restored(world.state_store(), *BOTH)
    found = other.load([ANN, BOB])
    other.close(1)
    return found


def test_staged_changes_are_loaded_at_once_and_unknown_persons_are_left_out(
    state_store: StateStore,
) -> None:
    state_store.stage({ANN: person_with(1)})

    assert state_store.load([ANN, BOB]) == {ANN: person_with(1)}
    assert state_store.load([]) == {}


def test_staged_changes_are_durable_when_they_are_stored_and_not_before(
    world: World, state_store: StateStore
) -> None:
    ticket = state_store.stage({ANN: person_with(1), BOB: person_with(2)})
    assert durable(world) == {}

    wait_durable(state_store, state_store.store(ticket))

    assert (
        durable(world) == state_store.load([ANN, BOB]) == {ANN: person_with(1), BOB: person_with(2)}
    )


def test_a_ticket_without_changes_can_be_stored(state_store: StateStore) -> None:
    wait_durable(state_store, state_store.store(state_store.stage({})))


def test_a_ticket_is_stored_without_the_changes_of_a_later_one(
    world: World, state_store: StateStore
) -> None:
    first = state_store.stage({ANN: person_with(1, scores=(1,))})
    state_store.stage({ANN: person_with(1, scores=(1, 2))})

    wait_durable(state_store, state_store.store(first))

    assert state_store.load([ANN]) == {ANN: person_with(1, scores=(1, 2))}
    assert durable(world) == {ANN: person_with(1, scores=(1,))}


def test_the_last_of_many_tickets_stays(world: World, state_store: StateStore) -> None:
    tickets = [state_store.stage({ANN: person_with(*range(1, days))}) for days in range(2, 9)]

    wait_durable(state_store, *map(state_store.store, tickets))

    assert durable(world) == {ANN: person_with(*range(1, 8))}


def test_a_withdrawn_score_is_neither_loaded_nor_stored(
    world: World, state_store: StateStore
) -> None:
    first = state_store.stage({ANN: person_with(1, scores=(1, 2))})
    second = state_store.stage({ANN: person_with(1, scores=(1, 2, 3))})

    state_store.withdraw(first, [event_of(ANN, delivered(2))])
    assert state_store.load([ANN]) == {ANN: person_with(1, scores=(1, 3))}
    wait_durable(state_store, state_store.store(first), state_store.store(second))

    assert durable(world) == {ANN: person_with(1, scores=(1, 3))}


def test_a_score_of_a_person_that_is_not_staged_can_be_withdrawn(state_store: StateStore) -> None:
    ticket = state_store.stage({ANN: person_with(1)})

    state_store.withdraw(ticket, [event_of(BOB, delivered(2))])

    assert state_store.load([ANN, BOB]) == {ANN: person_with(1)}


def test_staged_changes_of_a_revoked_partition_are_dropped(
    world: World, state_store: StateStore
) -> None:
    ticket = state_store.stage({ANN: person_with(1), BOB: person_with(1)})
    state_store.revoke([0])

    wait_durable(state_store, state_store.store(ticket))
    restored(state_store, 0)

    assert state_store.load([ANN, BOB]) == durable(world) == {BOB: person_with(1)}


def test_only_assigned_and_restored_partitions_are_loaded(state_store: StateStore) -> None:
    assert state_store.ready(0)
    state_store.revoke([0])

    assert not state_store.ready(0)
    assert state_store.ready(1)
    assert not state_store.restoring
    with pytest.raises(InvariantError):
        state_store.load([ANN])


def test_a_partition_assigned_twice_keeps_its_staged_changes(state_store: StateStore) -> None:
    state_store.stage({ANN: person_with(1)})

    state_store.assign(BOTH)

    assert state_store.load([ANN]) == {ANN: person_with(1)}


def test_a_new_owner_has_what_the_former_one_stored(world: World, state_store: StateStore) -> None:
    wait_durable(
        state_store,
        state_store.store(state_store.stage({ANN: person_with(1), BOB: person_with(1)})),
    )
    state_store.revoke([0])
    other = restored(world.state_store(), 0)
    wait_durable(other, other.store(other.stage({ANN: person_with(1, 2)})))
    other.close(1)

    restored(state_store, 0)

    assert state_store.load([ANN, BOB]) == {ANN: person_with(1, 2), BOB: person_with(1)}


def test_a_write_outlasts_an_outage(world: World, state_store: StateStore) -> None:
    world.refuse()
    write = state_store.store(state_store.stage({ANN: person_with(1)}))

    def unavailable() -> bool:
        state_store.poll()
        return state_store.unavailable_reason is not None

    until(unavailable, seconds=9, every=0.001, what="the state store is unavailable")
    assert not write.done
    assert state_store.load([ANN]) == {ANN: person_with(1)}

    world.heal()
    wait_durable(state_store, write)

    assert state_store.unavailable_reason is None
    assert durable(world) == {ANN: person_with(1)}


def test_closing_writes_stored_tickets_and_nothing_else(world: World) -> None:
    state_store = restored(world.state_store(), *BOTH)
    state_store.store(state_store.stage({ANN: person_with(1)}))
    state_store.stage({BOB: person_with(1)})

    state_store.close(5)

    assert durable(world) == {ANN: person_with(1)}


def test_closing_is_over_in_time_while_writes_fail(
    world: World,
) -> None:
    state_store = restored(world.state_store(), *BOTH)
    world.refuse()
    state_store.store(state_store.stage({ANN: person_with(1)}))

    deadline = Deadline(SystemClock(), 3)
    state_store.close(0.5)

    assert not deadline.over()
    world.heal()
    assert durable(world) == {}

"""What memory promises (`StateStore`), of the fake and of the real one on a broker."""

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
from tests.support.fakes import FakeMemory
from tests.support.state import CHANGELOG, INPUTS, delivered, event_of, knows, opened
from tests.support.waiting import until

ANN, BOB = (0, b"ECID|ann"), (1, b"ECID|bob")
BOTH = (0, 1)


class World(Protocol):
    """Replicas' memories, and the changelog between them."""

    def state_store(self) -> StateStore:
        """Return the memory of another replica, without partitions yet."""
        ...

    def refuse(self) -> None:
        """Let nothing become durable."""
        ...

    def heal(self) -> None:
        """Let it."""
        ...


class FakeWorld:
    """Fakes that share what is durable."""

    def __init__(self) -> None:
        self._first = FakeMemory([])
        self._all: list[FakeMemory] = []

    def state_store(self) -> FakeMemory:
        self._all.append(self._first.successor())
        return self._all[-1]

    def refuse(self) -> None:
        for each in self._all:
            each.unavailable_reason = "the changelog cannot be written"

    def heal(self) -> None:
        for each in self._all:
            each.unavailable_reason = None


class RealWorld:
    """Memories with a folder each, and a broker."""

    def __init__(self, broker: EmbeddedBroker, folder: Path) -> None:
        self._broker = broker
        self._folder = folder
        self._all: list[ChangelogStateStore] = []

    def state_store(self) -> ChangelogStateStore:
        folder = self._folder / str(len(self._all))
        self._all.append(opened(self._broker.bootstrap, folder))
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

    def back() -> bool:
        state_store.poll()
        return not state_store.restoring and all(map(state_store.ready, partitions))

    until(back, seconds=9, every=0.001, what="what is known is here")
    return state_store


def finished(state_store: StateStore, *waiting: Pending) -> None:
    def durable() -> bool:
        state_store.poll()
        return all(one.done for one in waiting)

    until(
        durable,
        seconds=9,
        every=0.001,
        what="it is durable",
        tell=lambda: state_store.unavailable_reason,
    )


def durable(world: World) -> dict[PersonKey, Person]:
    """Return what another replica, that has nothing but the changelog, knows of the two."""
    other = restored(world.state_store(), *BOTH)
    found = other.load([ANN, BOB])
    other.close(1)
    return found


def test_what_is_staged_is_recalled_at_once_and_the_unknown_are_left_out(
    state_store: StateStore,
) -> None:
    state_store.stage({ANN: knows(1)})

    assert state_store.load([ANN, BOB]) == {ANN: knows(1)}
    assert state_store.load([]) == {}


def test_what_is_staged_is_durable_when_it_is_remembered_and_not_before(
    world: World, state_store: StateStore
) -> None:
    ticket = state_store.stage({ANN: knows(1), BOB: knows(2)})
    assert durable(world) == {}

    finished(state_store, state_store.store(ticket))

    assert durable(world) == state_store.load([ANN, BOB]) == {ANN: knows(1), BOB: knows(2)}


def test_nothing_staged_is_remembered_too(state_store: StateStore) -> None:
    finished(state_store, state_store.store(state_store.stage({})))


def test_a_ticket_is_remembered_without_what_a_later_one_changes(
    world: World, state_store: StateStore
) -> None:
    first = state_store.stage({ANN: knows(1, scores=(1,))})
    state_store.stage({ANN: knows(1, scores=(1, 2))})

    finished(state_store, state_store.store(first))

    assert state_store.load([ANN]) == {ANN: knows(1, scores=(1, 2))}
    assert durable(world) == {ANN: knows(1, scores=(1,))}


def test_the_last_of_many_tickets_is_what_stays(world: World, state_store: StateStore) -> None:
    tickets = [state_store.stage({ANN: knows(*range(1, days))}) for days in range(2, 9)]

    finished(state_store, *map(state_store.store, tickets))

    assert durable(world) == {ANN: knows(*range(1, 8))}


def test_a_withdrawn_score_is_neither_recalled_nor_remembered(
    world: World, state_store: StateStore
) -> None:
    first = state_store.stage({ANN: knows(1, scores=(1, 2))})
    second = state_store.stage({ANN: knows(1, scores=(1, 2, 3))})

    state_store.withdraw(first, [event_of(ANN, delivered(2))])
    assert state_store.load([ANN]) == {ANN: knows(1, scores=(1, 3))}
    finished(state_store, state_store.store(first), state_store.store(second))

    assert durable(world) == {ANN: knows(1, scores=(1, 3))}


def test_a_score_of_somebody_who_is_not_staged_may_be_withdrawn(state_store: StateStore) -> None:
    ticket = state_store.stage({ANN: knows(1)})

    state_store.withdraw(ticket, [event_of(BOB, delivered(2))])

    assert state_store.load([ANN, BOB]) == {ANN: knows(1)}


def test_what_is_staged_for_a_partition_that_left_is_forgotten(
    world: World, state_store: StateStore
) -> None:
    ticket = state_store.stage({ANN: knows(1), BOB: knows(1)})
    state_store.revoke([0])

    finished(state_store, state_store.store(ticket))
    restored(state_store, 0)

    assert state_store.load([ANN, BOB]) == durable(world) == {BOB: knows(1)}


def test_only_what_is_ours_and_restored_is_recalled(state_store: StateStore) -> None:
    assert state_store.ready(0)
    state_store.revoke([0])

    assert not state_store.ready(0)
    assert state_store.ready(1)
    assert not state_store.restoring
    with pytest.raises(InvariantError):
        state_store.load([ANN])


def test_a_partition_that_is_ours_already_keeps_what_is_staged(state_store: StateStore) -> None:
    state_store.stage({ANN: knows(1)})

    state_store.assign(BOTH)

    assert state_store.load([ANN]) == {ANN: knows(1)}


def test_a_new_owner_knows_what_the_former_one_remembered(
    world: World, state_store: StateStore
) -> None:
    finished(state_store, state_store.store(state_store.stage({ANN: knows(1), BOB: knows(1)})))
    state_store.revoke([0])
    other = restored(world.state_store(), 0)
    finished(other, other.store(other.stage({ANN: knows(1, 2)})))
    other.close(1)

    restored(state_store, 0)

    assert state_store.load([ANN, BOB]) == {ANN: knows(1, 2), BOB: knows(1)}


def test_an_outage_holds_and_ends_no_remembering(world: World, state_store: StateStore) -> None:
    world.refuse()
    waiting = state_store.store(state_store.stage({ANN: knows(1)}))

    def held() -> bool:
        state_store.poll()
        return state_store.unavailable_reason is not None

    until(held, seconds=9, every=0.001, what="memory holds")
    assert not waiting.done
    assert state_store.load([ANN]) == {ANN: knows(1)}

    world.heal()
    finished(state_store, waiting)

    assert state_store.unavailable_reason is None
    assert durable(world) == {ANN: knows(1)}


def test_closing_flushes_what_is_to_be_remembered_and_nothing_else(world: World) -> None:
    state_store = restored(world.state_store(), *BOTH)
    state_store.store(state_store.stage({ANN: knows(1)}))
    state_store.stage({BOB: knows(1)})

    state_store.close(5)

    assert durable(world) == {ANN: knows(1)}


def test_closing_is_over_in_time_where_nothing_becomes_durable(
    world: World,
) -> None:
    state_store = restored(world.state_store(), *BOTH)
    world.refuse()
    state_store.store(state_store.stage({ANN: knows(1)}))

    deadline = Deadline(SystemClock(), 3)
    state_store.close(0.5)

    assert not deadline.over()
    world.heal()
    assert durable(world) == {}

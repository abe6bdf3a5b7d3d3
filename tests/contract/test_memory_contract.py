"""What memory promises (`Remembers`), of the fake and of the real one on a broker."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
from confluent_kafka import KafkaError

from processor.clock import Deadline, SystemClock
from processor.errors import InvariantError
from processor.person import Person
from processor.ports import Key, Pending, Remembers
from processor.sandbox.broker import Api, EmbeddedBroker
from processor.state.memory import Memory
from tests.support.doors import FakeMemory
from tests.support.state import CHANGELOG, INPUTS, delivered, event_of, knows, opened
from tests.support.waiting import until

ANN, BOB = (0, b"ECID|ann"), (1, b"ECID|bob")
BOTH = (0, 1)


class World(Protocol):
    """Replicas' memories, and the changelog between them."""

    def memory(self) -> Remembers:
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

    def memory(self) -> FakeMemory:
        self._all.append(self._first.successor())
        return self._all[-1]

    def refuse(self) -> None:
        for each in self._all:
            each.holding = "the changelog can not be written"

    def heal(self) -> None:
        for each in self._all:
            each.holding = None


class RealWorld:
    """Memories with a folder each, and a broker."""

    def __init__(self, broker: EmbeddedBroker, folder: Path) -> None:
        self._broker = broker
        self._folder = folder
        self._all: list[Memory] = []

    def memory(self) -> Memory:
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
def memory(world: World) -> Iterator[Remembers]:
    memory = restored(world.memory(), *BOTH)
    yield memory
    memory.close(0.2)


def restored(memory: Remembers, *partitions: int) -> Remembers:
    memory.assign(partitions)

    def back() -> bool:
        memory.poll()
        return not memory.restoring and all(map(memory.ready, partitions))

    until(back, seconds=9, every=0.001, what="what is known is here")
    return memory


def finished(memory: Remembers, *waiting: Pending) -> None:
    def durable() -> bool:
        memory.poll()
        return all(one.done for one in waiting)

    until(durable, seconds=9, every=0.001, what="it is durable", tell=lambda: memory.holding)


def durable(world: World) -> dict[Key, Person]:
    """Return what another replica, that has nothing but the changelog, knows of the two."""
    other = restored(world.memory(), *BOTH)
    found = other.recall([ANN, BOB])
    other.close(1)
    return found


def test_what_is_staged_is_recalled_at_once_and_the_unknown_are_left_out(
    memory: Remembers,
) -> None:
    memory.stage({ANN: knows(1)})

    assert memory.recall([ANN, BOB]) == {ANN: knows(1)}
    assert memory.recall([]) == {}


def test_what_is_staged_is_durable_when_it_is_remembered_and_not_before(
    world: World, memory: Remembers
) -> None:
    ticket = memory.stage({ANN: knows(1), BOB: knows(2)})
    assert durable(world) == {}

    finished(memory, memory.remember(ticket))

    assert durable(world) == memory.recall([ANN, BOB]) == {ANN: knows(1), BOB: knows(2)}


def test_nothing_staged_is_remembered_too(memory: Remembers) -> None:
    finished(memory, memory.remember(memory.stage({})))


def test_a_ticket_is_remembered_without_what_a_later_one_changes(
    world: World, memory: Remembers
) -> None:
    first = memory.stage({ANN: knows(1, scores=(1,))})
    memory.stage({ANN: knows(1, scores=(1, 2))})

    finished(memory, memory.remember(first))

    assert memory.recall([ANN]) == {ANN: knows(1, scores=(1, 2))}
    assert durable(world) == {ANN: knows(1, scores=(1,))}


def test_the_last_of_many_tickets_is_what_stays(world: World, memory: Remembers) -> None:
    tickets = [memory.stage({ANN: knows(*range(1, days))}) for days in range(2, 9)]

    finished(memory, *map(memory.remember, tickets))

    assert durable(world) == {ANN: knows(*range(1, 8))}


def test_a_withdrawn_score_is_neither_recalled_nor_remembered(
    world: World, memory: Remembers
) -> None:
    first = memory.stage({ANN: knows(1, scores=(1, 2))})
    second = memory.stage({ANN: knows(1, scores=(1, 2, 3))})

    memory.withdraw(first, [event_of(ANN, delivered(2))])
    assert memory.recall([ANN]) == {ANN: knows(1, scores=(1, 3))}
    finished(memory, memory.remember(first), memory.remember(second))

    assert durable(world) == {ANN: knows(1, scores=(1, 3))}


def test_a_score_of_somebody_who_is_not_staged_may_be_withdrawn(memory: Remembers) -> None:
    ticket = memory.stage({ANN: knows(1)})

    memory.withdraw(ticket, [event_of(BOB, delivered(2))])

    assert memory.recall([ANN, BOB]) == {ANN: knows(1)}


def test_what_is_staged_for_a_partition_that_left_is_forgotten(
    world: World, memory: Remembers
) -> None:
    ticket = memory.stage({ANN: knows(1), BOB: knows(1)})
    memory.revoke([0])

    finished(memory, memory.remember(ticket))
    restored(memory, 0)

    assert memory.recall([ANN, BOB]) == durable(world) == {BOB: knows(1)}


def test_only_what_is_ours_and_restored_is_recalled(memory: Remembers) -> None:
    assert memory.ready(0)
    memory.revoke([0])

    assert not memory.ready(0)
    assert memory.ready(1)
    assert not memory.restoring
    with pytest.raises(InvariantError):
        memory.recall([ANN])


def test_a_partition_that_is_ours_already_keeps_what_is_staged(memory: Remembers) -> None:
    memory.stage({ANN: knows(1)})

    memory.assign(BOTH)

    assert memory.recall([ANN]) == {ANN: knows(1)}


def test_a_new_owner_knows_what_the_former_one_remembered(world: World, memory: Remembers) -> None:
    finished(memory, memory.remember(memory.stage({ANN: knows(1), BOB: knows(1)})))
    memory.revoke([0])
    other = restored(world.memory(), 0)
    finished(other, other.remember(other.stage({ANN: knows(1, 2)})))
    other.close(1)

    restored(memory, 0)

    assert memory.recall([ANN, BOB]) == {ANN: knows(1, 2), BOB: knows(1)}


def test_an_outage_holds_and_ends_no_remembering(world: World, memory: Remembers) -> None:
    world.refuse()
    waiting = memory.remember(memory.stage({ANN: knows(1)}))

    def held() -> bool:
        memory.poll()
        return memory.holding is not None

    until(held, seconds=9, every=0.001, what="memory holds")
    assert not waiting.done
    assert memory.recall([ANN]) == {ANN: knows(1)}

    world.heal()
    finished(memory, waiting)

    assert memory.holding is None
    assert durable(world) == {ANN: knows(1)}


def test_closing_flushes_what_is_to_be_remembered_and_nothing_else(world: World) -> None:
    memory = restored(world.memory(), *BOTH)
    memory.remember(memory.stage({ANN: knows(1)}))
    memory.stage({BOB: knows(1)})

    memory.close(5)

    assert durable(world) == {ANN: knows(1)}


def test_closing_is_over_in_time_where_nothing_becomes_durable(
    world: World,
) -> None:
    memory = restored(world.memory(), *BOTH)
    world.refuse()
    memory.remember(memory.stage({ANN: knows(1)}))

    deadline = Deadline(SystemClock(), 3)
    memory.close(0.5)

    assert not deadline.over()
    world.heal()
    assert durable(world) == {}

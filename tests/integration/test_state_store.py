"""The state store on an embedded broker: durable, restored, correct with two writers."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, Producer
from structlog.testing import capture_logs

from processor.domain.clock import SystemClock
from processor.domain.errors import InvariantError, SettingsError, UnavailableError
from processor.settings import KafkaSettings
from processor.simulator.broker import Api, EmbeddedBroker, Request
from processor.state.format.person import encode
from processor.state.person import Person, merge
from processor.state.state_store import ChangelogStateStore, open_state_store
from processor.telemetry.catalogue import CHANGELOG_DISTURBANCES, CHANGELOG_WRITES
from processor.telemetry.labels import AttemptResult
from processor.telemetry.metrics import Metrics
from tests.support.failing_state_store import PERSON
from tests.support.paths import ROOT
from tests.support.state import (
    CHANGELOG,
    INPUTS,
    LIMITS,
    delivered,
    event_of,
    join_settings,
    open_store,
    person_with,
    restored,
    store_and_wait,
    wait_idle,
)
from tests.support.waiting import until

ANN, BOB = PERSON, (3, b"ECID|bob")
ALL = (0, 1, 2, 3)


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(dict.fromkeys((*INPUTS, CHANGELOG), 4)) as broker:
        yield broker


@pytest.fixture
def state_store(broker: EmbeddedBroker, tmp_path: Path) -> Iterator[ChangelogStateStore]:
    state_store = restored(open_store(broker.bootstrap, tmp_path / "mine"), *ALL)
    yield state_store
    state_store.close(5)


def write(broker: EmbeddedBroker, key: tuple[int, bytes], value: bytes | None) -> None:
    """Write to the changelog as a former owner, or an erasure, does."""
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    producer.produce(CHANGELOG, value, key[1], key[0])
    assert producer.flush(10) == 0


def restored_elsewhere(broker: EmbeddedBroker, folder: Path) -> dict[tuple[int, bytes], Person]:
    """Return the two persons as another replica with an empty disk restores them."""
    other = restored(open_store(broker.bootstrap, folder), *ALL)
    try:
        return other.load([ANN, BOB])
    finally:
        other.close(5)


def poll_until(state_store: ChangelogStateStore, done: Callable[[], object], what: str) -> None:
    def polled() -> bool:
        state_store.poll()
        return bool(done())

    until(polled, seconds=20, every=0.001, what=what, tell=lambda: state_store.unavailable_reason)


def test_staged_changes_are_seen_at_once_and_by_other_replicas_when_durable(
    broker: EmbeddedBroker, state_store: ChangelogStateStore, tmp_path: Path
) -> None:
    ticket = state_store.stage({ANN: person_with(1)})

    assert state_store.load([ANN, BOB]) == {ANN: person_with(1)}
    assert restored_elsewhere(broker, tmp_path / "before") == {}
    store_and_wait(state_store, ticket)
    assert state_store.load([ANN, BOB]) == {ANN: person_with(1)}
    assert restored_elsewhere(broker, tmp_path / "after") == {ANN: person_with(1)}


def test_a_batch_is_durable_without_the_scores_of_a_later_batch(
    broker: EmbeddedBroker, state_store: ChangelogStateStore, tmp_path: Path
) -> None:
    first = state_store.stage({ANN: person_with(1, scores=(1,))})
    state_store.stage({ANN: person_with(1, scores=(1, 2))})

    store_and_wait(state_store, first)

    assert state_store.load([ANN]) == {ANN: person_with(1, scores=(1, 2))}
    assert restored_elsewhere(broker, tmp_path / "other") == {ANN: person_with(1, scores=(1,))}


def test_many_batches_are_durable_with_the_newest_version_of_each_person(
    broker: EmbeddedBroker, state_store: ChangelogStateStore, tmp_path: Path
) -> None:
    tickets = [state_store.stage({ANN: person_with(*range(1, n + 1))}) for n in range(1, 20)]

    store_and_wait(state_store, *tickets)

    assert (
        state_store.load([ANN])
        == restored_elsewhere(broker, tmp_path / "other")
        == {ANN: person_with(*range(1, 20))}
    )


def test_a_refused_score_is_not_stored_as_delivered(
    broker: EmbeddedBroker, state_store: ChangelogStateStore, tmp_path: Path
) -> None:
    ticket = state_store.stage({ANN: person_with(1, scores=(1, 2))})
    later = state_store.stage({ANN: person_with(1, scores=(1, 2, 3))})

    state_store.withdraw(ticket, [event_of(ANN, delivered(2))])
    store_and_wait(state_store, ticket, later)

    assert state_store.load([ANN]) == {ANN: person_with(1, scores=(1, 3))}
    assert restored_elsewhere(broker, tmp_path / "other") == {ANN: person_with(1, scores=(1, 3))}


@pytest.mark.parametrize(("when", "days"), [("sent", {(1,), (1, 2)}), ("acknowledged", {(1, 2)})])
def test_a_kill_between_changelog_and_store_loses_nothing_that_was_acknowledged(
    broker: EmbeddedBroker, tmp_path: Path, when: str, days: set[tuple[int, ...]]
) -> None:
    died = subprocess.run(  # noqa: S603  our own code
        [
            *(sys.executable, "-m", "tests.support.failing_state_store"),
            *(broker.bootstrap, str(tmp_path / "mine"), when),
        ],
        cwd=ROOT,
        check=False,
        timeout=60,
    )
    assert died.returncode == -signal.SIGKILL

    state_store = restored(open_store(broker.bootstrap, tmp_path / "mine"), *ALL)

    assert state_store.load([ANN])[ANN] in [person_with(*some) for some in days]
    state_store.close(5)


def test_a_restart_on_the_same_disk_reads_only_the_tail(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    state_store = restored(open_store(broker.bootstrap, tmp_path / "mine"), *ALL)
    store_and_wait(
        state_store, state_store.stage({(2, b"%d" % n): person_with(1) for n in range(500)})
    )
    state_store.close(5)
    write(broker, BOB, encode(person_with(7)))

    with capture_logs() as logs:
        state_store = restored(open_store(broker.bootstrap, tmp_path / "mine"), *ALL)

    assert [line["records"] for line in logs if line["event"] == "State is restored."] == [1]
    assert state_store.load([BOB, (2, b"499")]) == {
        BOB: person_with(7),
        (2, b"499"): person_with(1),
    }
    state_store.close(5)


def test_a_lost_disk_is_restored_from_the_changelog(broker: EmbeddedBroker, tmp_path: Path) -> None:
    state_store = restored(open_store(broker.bootstrap, tmp_path / "mine"), *ALL)
    persons = {(n % 4, b"%d" % n): person_with(n % 5 + 1) for n in range(1_000)}
    store_and_wait(state_store, state_store.stage(persons))
    state_store.close(5)
    shutil.rmtree(tmp_path / "mine")

    state_store = restored(open_store(broker.bootstrap, tmp_path / "mine"), *ALL)

    assert state_store.load(persons) == persons
    state_store.close(5)


def test_a_partition_moves_to_another_replica_and_back_with_its_state(
    broker: EmbeddedBroker, state_store: ChangelogStateStore, tmp_path: Path
) -> None:
    store_and_wait(state_store, state_store.stage({ANN: person_with(1), BOB: person_with(1)}))
    state_store.revoke([2])
    other = restored(open_store(broker.bootstrap, tmp_path / "other"), 2)
    assert other.load([ANN]) == {ANN: person_with(1)}
    store_and_wait(other, other.stage({ANN: person_with(1, 2)}))
    other.revoke([2])

    restored(state_store, 2)

    assert state_store.load([ANN, BOB]) == {ANN: person_with(1, 2), BOB: person_with(1)}
    other.close(5)


def test_a_partition_that_is_not_restored_cannot_be_loaded(
    state_store: ChangelogStateStore,
) -> None:
    state_store.revoke([2])
    assert not state_store.ready(2)

    with pytest.raises(InvariantError):
        state_store.load([ANN])

    state_store.assign([2])
    assert state_store.restoring
    with pytest.raises(InvariantError):
        state_store.load([ANN])


def test_staged_changes_of_a_revoked_partition_are_not_stored(
    broker: EmbeddedBroker, state_store: ChangelogStateStore, tmp_path: Path
) -> None:
    ticket = state_store.stage({ANN: person_with(1), BOB: person_with(1)})
    state_store.revoke([2])
    restored(state_store, 2)

    store_and_wait(state_store, ticket)

    assert state_store.load([ANN, BOB]) == {BOB: person_with(1)}
    assert restored_elsewhere(broker, tmp_path / "other") == {BOB: person_with(1)}


def test_a_former_owner_that_still_writes_loses_no_state_of_either(
    broker: EmbeddedBroker, state_store: ChangelogStateStore, tmp_path: Path
) -> None:
    store_and_wait(state_store, state_store.stage({ANN: person_with(1, scores=(1,))}))
    write(broker, ANN, encode(person_with(5, scores=(5,))))
    write(broker, BOB, encode(person_with(6)))

    staged = state_store.stage({ANN: person_with(1, 2, scores=(1, 2))})
    store_and_wait(state_store, staged)
    wait_idle(state_store)

    both = merge(person_with(1, 2, scores=(1, 2)), person_with(5, scores=(5,)), LIMITS)
    assert state_store.load([ANN]) == {ANN: both}
    assert restored_elsewhere(broker, tmp_path / "other")[ANN] == both


def test_batches_staged_before_a_catch_up_get_the_other_writers_state(
    broker: EmbeddedBroker, state_store: ChangelogStateStore, tmp_path: Path
) -> None:
    write(broker, ANN, encode(person_with(5)))
    first = state_store.stage({ANN: person_with(1)})
    second = state_store.stage({ANN: person_with(1, 2)})

    store_and_wait(state_store, first)
    wait_idle(state_store)
    assert state_store.load([ANN]) == {ANN: person_with(1, 2, 5)}
    store_and_wait(state_store, second)
    wait_idle(state_store)

    assert restored_elsewhere(broker, tmp_path / "other")[ANN] == person_with(1, 2, 5)


def test_a_person_erased_meanwhile_stays_erased(
    broker: EmbeddedBroker, state_store: ChangelogStateStore, tmp_path: Path
) -> None:
    store_and_wait(state_store, state_store.stage({ANN: person_with(1), BOB: person_with(1)}))
    write(broker, ANN, None)

    store_and_wait(state_store, state_store.stage({ANN: person_with(1, 2)}))
    wait_idle(state_store)

    assert state_store.load([ANN, BOB]) == {BOB: person_with(1)}
    assert restored_elsewhere(broker, tmp_path / "other") == {BOB: person_with(1)}


def test_a_write_outlasts_an_outage_of_the_changelog(
    broker: EmbeddedBroker, state_store: ChangelogStateStore, tmp_path: Path
) -> None:
    broker.fail_requests(Api.PRODUCE, *[KafkaError.TOPIC_AUTHORIZATION_FAILED] * 2)
    write = state_store.store(state_store.stage({ANN: person_with(1)}))

    def unavailable() -> bool:
        state_store.poll()
        return state_store.unavailable_reason is not None

    until(unavailable, seconds=10, every=0.001, what="the state store is unavailable")
    assert not write.done
    wait_idle(state_store)

    assert state_store.unavailable_reason is None
    assert restored_elsewhere(broker, tmp_path / "other") == {ANN: person_with(1)}


def test_values_written_twice_after_a_fatal_error_are_read_again_and_change_nothing(
    tmp_path: Path,
) -> None:
    """A new producer writes what the old one had no answer for, so offsets have a hole."""
    metrics = Metrics()
    with EmbeddedBroker(dict.fromkeys((*INPUTS, CHANGELOG), 4), brokers=2) as broker:
        broker.move_leader(CHANGELOG, ANN[0], 1)
        broker.move_leader(CHANGELOG, BOB[0], 2)
        state_store = restored(open_store(broker.bootstrap, tmp_path / "mine", metrics), *ALL)
        store_and_wait(state_store, state_store.stage({ANN: person_with(1), BOB: person_with(1)}))
        broker.rtt(6_000, 1)
        broker.broker_down(2)
        broker.track_requests()
        broker.fail_requests(Api.PRODUCE, 0, KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER)

        write = state_store.store(
            state_store.stage({ANN: person_with(1, 2), BOB: person_with(1, 2)})
        )
        until(
            lambda: Request(1, Api.PRODUCE) in broker.requests(),
            seconds=10,
            what="one value is in the changelog without an answer",
        )
        broker.broker_up(2)
        with capture_logs() as logs:
            poll_until(
                state_store,
                lambda: "kafka_producer_replaced" in [line.get("code") for line in logs],
                "the producer is replaced",
            )
        broker.rtt(0, 1)
        poll_until(state_store, lambda: write.done, "both values are durable")
        wait_idle(state_store)

        assert metrics.value(CHANGELOG_DISTURBANCES) == 1
        assert metrics.value(CHANGELOG_WRITES, AttemptResult.OK) == 4
        assert state_store.load([ANN, BOB]) == {ANN: person_with(1, 2), BOB: person_with(1, 2)}
        store_and_wait(state_store, state_store.stage({ANN: person_with(1, 2, 3)}))
        assert metrics.value(CHANGELOG_DISTURBANCES) == 1
        assert restored_elsewhere(broker, tmp_path / "other") == {
            ANN: person_with(1, 2, 3),
            BOB: person_with(1, 2),
        }
        state_store.close(5)


def test_closing_without_brokers_is_over_in_time_and_keeps_the_store(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    state_store = restored(open_store(broker.bootstrap, tmp_path / "mine"), *ALL)
    store_and_wait(state_store, state_store.stage({ANN: person_with(1)}))
    broker.broker_down()
    state_store.store(state_store.stage({ANN: person_with(1, 2)}))

    state_store.close(1)

    broker.broker_up()
    state_store = restored(open_store(broker.bootstrap, tmp_path / "mine"), *ALL)
    assert state_store.load([ANN]) == {ANN: person_with(1)}
    state_store.close(5)


def test_a_write_of_a_former_owner_is_counted(broker: EmbeddedBroker, tmp_path: Path) -> None:
    metrics = Metrics()
    state_store = restored(open_store(broker.bootstrap, tmp_path / "mine", metrics), *ALL)
    write(broker, ANN, encode(person_with(5)))

    store_and_wait(state_store, state_store.stage({ANN: person_with(1), BOB: person_with(1)}))
    wait_idle(state_store)

    assert metrics.value(CHANGELOG_DISTURBANCES) == 1
    assert metrics.value(CHANGELOG_WRITES, AttemptResult.OK) == 3
    state_store.close(5)


@pytest.mark.parametrize("counts", [(4, 6, 4), (4, 4, 3)])
def test_topics_with_unequal_partition_counts_are_refused(
    tmp_path: Path, counts: tuple[int, int, int]
) -> None:
    topics = dict(zip((*INPUTS, CHANGELOG), counts, strict=True))

    with EmbeddedBroker(topics) as broker, pytest.raises(SettingsError, match="equally many"):
        open_store(broker.bootstrap, tmp_path)


def test_missing_input_topics_are_an_outage(tmp_path: Path) -> None:
    with EmbeddedBroker({CHANGELOG: 4}) as broker, pytest.raises(UnavailableError, match="input"):
        open_store(broker.bootstrap, tmp_path)


def test_a_full_store_drops_unassigned_partitions_and_continues(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    clock, kafka = SystemClock(), KafkaSettings(bootstrap_servers=broker.bootstrap)
    small = join_settings(tmp_path / "mine", max_store_bytes=1 << 20)
    state_store = restored(open_state_store(small, kafka, Metrics(), clock), *ALL)
    persons = {
        number: {(number, b"%d" % n): person_with(*range(60)) for n in range(100)} for number in ALL
    }
    store_and_wait(state_store, state_store.stage(persons[2]))
    state_store.revoke([2])

    store_and_wait(state_store, state_store.stage(persons[3]))

    assert state_store.unavailable_reason is None
    assert state_store.load(persons[3]) == persons[3]
    state_store.close(5)


def test_a_store_too_small_for_assigned_partitions_is_unavailable(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    clock, kafka = SystemClock(), KafkaSettings(bootstrap_servers=broker.bootstrap)
    small = join_settings(tmp_path / "mine", max_store_bytes=1 << 20)
    state_store = restored(open_state_store(small, kafka, Metrics(), clock), *ALL)
    write = state_store.store(
        state_store.stage({(2, b"%d" % n): person_with(*range(60)) for n in range(900)})
    )

    def unavailable() -> bool:
        state_store.poll()
        return state_store.unavailable_reason is not None

    until(unavailable, seconds=10, every=0.001, what="the state store is unavailable")

    assert "join.max_store_bytes is used up" in str(state_store.unavailable_reason)
    assert not write.done
    state_store.close(1)

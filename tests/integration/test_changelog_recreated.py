"""A changelog that was deleted and created anew while no replica ran, or that lost records.

The broker is embedded and has no topic ids, so the ids are given by hand; a second broker is the
new changelog.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
import structlog
from confluent_kafka import KafkaError

from processor.domain.clock import SystemClock
from processor.kafka.admin import KafkaAdmin, TopicLayout
from processor.kafka.internal_topic import OwnTopicWatch
from processor.kafka.topic_reader import TopicReader
from processor.settings import KafkaSettings
from processor.settings.kafka_client import connection
from processor.simulator.broker import Api, EmbeddedBroker
from processor.state.changelog import ChangelogWriter
from processor.state.format.store import Origin
from processor.state.local_store import LocalStore, StoreFolder
from processor.state.partitions import changelog_topic
from processor.state.person import Person, PersonKey, PersonLimits
from processor.state.restore import Restore
from processor.state.state_store import ChangelogStateStore
from processor.telemetry.catalogue import CHANGELOG_DISTURBANCES
from processor.telemetry.metrics import Metrics
from tests.support.state import (
    CHANGELOG,
    INPUTS,
    join_settings,
    person_with,
    restored,
    store_and_wait,
    wait_idle,
)

ALL = (0, 1, 2, 3)
PERSONS: dict[PersonKey, Person] = {
    (number, b"ECID|%d-%d" % (number, each)): person_with(number, scores=(each,))
    for number in ALL
    for each in (1, 2, 3)
}

Open = Callable[..., ChangelogStateStore]


@pytest.fixture
def brokers() -> Iterator[list[EmbeddedBroker]]:
    """Return the broker of the old changelog, and that of the new one."""
    topics = dict.fromkeys((*INPUTS, CHANGELOG), len(ALL))
    with EmbeddedBroker(topics) as old, EmbeddedBroker(topics) as new:
        yield [old, new]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def opened(brokers: list[EmbeddedBroker], metrics: Metrics, tmp_path: Path) -> Open:
    """Return a function that opens the store of a folder on the old or on the new changelog."""

    def open_(folder: str, which: int) -> ChangelogStateStore:
        join, clock = join_settings(tmp_path / folder), SystemClock()
        kafka = KafkaSettings(bootstrap_servers=brokers[which].bootstrap)
        store = LocalStore(
            StoreFolder(tmp_path / folder),
            Origin(CHANGELOG, "cluster", f"id-{which}"),
            partitions=len(ALL),
            max_bytes=64 << 20,
        )
        reader = TopicReader(kafka, CHANGELOG, part="changelog", clock=clock)
        limits = PersonLimits.of(join)
        layout = TopicLayout(KafkaAdmin(kafka, "state", clock), clock)
        client = connection(kafka.bootstrap_servers, "state", {})
        return ChangelogStateStore(
            store,
            ChangelogWriter(client, CHANGELOG, metrics, clock),
            Restore(reader, store, limits, metrics=metrics, clock=clock),
            join,
            metrics=metrics,
            clock=clock,
            watch=OwnTopicWatch(layout, changelog_topic(join, len(ALL)), clock),
        )

    return open_


def stored(state_store: ChangelogStateStore) -> None:
    store_and_wait(state_store, state_store.stage(PERSONS))
    state_store.close(5)


def content(
    opened: Open, folder: str, keys: Iterable[PersonKey] = PERSONS
) -> dict[PersonKey, Person]:
    """Return what a replica in this folder restores from the new changelog."""
    state_store = restored(opened(folder, 1), *ALL)
    found = state_store.load(keys)
    state_store.close(5)
    return found


def of(*numbers: int) -> dict[PersonKey, Person]:
    return {key: person for key, person in PERSONS.items() if key[0] in numbers}


def test_every_person_of_the_local_store_is_written_to_the_new_changelog_once(
    opened: Open, metrics: Metrics
) -> None:
    stored(restored(opened("mine", 0), *ALL))

    state_store = restored(opened("mine", 1), *ALL)
    assert state_store.load(PERSONS) == PERSONS
    wait_idle(state_store)
    state_store.close(5)
    assert metrics.value(CHANGELOG_DISTURBANCES) == len(ALL)

    for folder in ("another", "mine"):
        assert content(opened, folder) == PERSONS
    assert metrics.value(CHANGELOG_DISTURBANCES) == len(ALL)


def test_what_no_replica_has_begins_empty_and_that_is_said(opened: Open) -> None:
    stored(restored(opened("first", 0), *ALL))
    first = restored(opened("first", 1), 0, 1)
    with structlog.testing.capture_logs() as lines:
        second = restored(opened("second", 1), 2, 3)
    for each in (first, second):
        wait_idle(each)
        each.close(5)

    assert [line["partitions"] for line in lines if line["code"] == "state_begins_empty"] == [
        [2, 3]
    ]
    assert content(opened, "third") == of(0, 1)

    # The first replica has the others still, and writes them as soon as it gets them.
    first = restored(opened("first", 1), *ALL)
    wait_idle(first)
    first.close(5)
    assert content(opened, "fourth") == PERSONS


def test_a_new_changelog_that_is_longer_than_the_position_is_merged(opened: Open) -> None:
    mine = restored(opened("mine", 0), *ALL)
    stored(mine)
    other = restored(opened("other", 1), *ALL)
    changed = {(number, b"ECID|%d-1" % number): person_with(9, scores=(9,)) for number in ALL}
    added = {(number, b"ECID|new-%d" % n): person_with(n) for number in ALL for n in range(20)}
    store_and_wait(other, other.stage({**changed, **added}))
    other.close(5)

    with structlog.testing.capture_logs() as lines:
        state_store = restored(opened("mine", 1), *ALL)
    wait_idle(state_store)
    found = state_store.load([*PERSONS, *added])
    state_store.close(5)

    assert found.keys() == {*PERSONS, *added}
    written = [line["persons"] for line in lines if line["code"] == "changelog_rewritten"]
    assert sum(written) == len(PERSONS) - len(changed)
    both = found[0, b"ECID|0-1"]
    assert both == content(opened, "third")[0, b"ECID|0-1"]
    assert both not in (PERSONS[0, b"ECID|0-1"], changed[0, b"ECID|0-1"])


def test_a_restart_before_everything_is_written_begins_again(
    opened: Open, brokers: list[EmbeddedBroker]
) -> None:
    stored(restored(opened("mine", 0), *ALL))
    other = restored(opened("other", 1), *ALL)
    store_and_wait(other, other.stage({(n, b"ECID|new"): person_with(n) for n in ALL}))
    other.close(5)
    brokers[1].fail_requests(Api.PRODUCE, *[KafkaError.TOPIC_AUTHORIZATION_FAILED] * 1000)
    state_store = restored(opened("mine", 1), *ALL)
    assert state_store.load(PERSONS) == PERSONS
    state_store.close(0.2)
    brokers[1].heal_requests(Api.PRODUCE)

    state_store = restored(opened("mine", 1), *ALL)
    wait_idle(state_store)
    state_store.close(5)

    assert content(opened, "another") == PERSONS

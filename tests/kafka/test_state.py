"""The changelog topic on a real broker: created with its configuration, refused with another."""

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
import structlog
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from processor.domain.clock import SystemClock
from processor.domain.errors import SettingsError, UnavailableError
from processor.settings import KafkaSettings
from processor.state.state_store import ChangelogStateStore, open_state_store
from processor.telemetry.metrics import Metrics
from tests.support.kafka_cluster import RealKafka
from tests.support.state import join_settings, person_with, restored, store_and_wait, wait_idle
from tests.support.waiting import until

ANN = (2, b"ECID|ann")
ALL = (0, 1, 2, 3)


@pytest.fixture
def opened(kafka: RealKafka, tmp_path: Path) -> Callable[..., ChangelogStateStore]:
    name = f"state-{uuid4().hex[:8]}"
    kafka.create_topics({f"{name}-scores": 4, f"{name}-events": 4})

    def open_(folder: str = "mine", **join: object) -> ChangelogStateStore:
        topics = {kind: {"topics": [f"{name}-{kind}"]} for kind in ("scores", "events")}
        settings = KafkaSettings.model_validate({"bootstrap_servers": kafka.bootstrap, **topics})
        page = {"changelog_topic": f"{name}-state", "changelog_replication": 1, **join}
        return open_state_store(
            join_settings(tmp_path / folder, **page), settings, Metrics(), SystemClock()
        )

    open_.name = f"{name}-state"  # type: ignore[attr-defined]
    return open_


def config_of(kafka: RealKafka, topic: str) -> dict[str, str]:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    admin = kafka.admin()
    found = admin.describe_configs([resource])[resource].result(10)
    return {name: entry.value for name, entry in found.items()}


def test_missing_changelog_is_created_compacted_with_the_partitions_of_the_inputs(
    kafka: RealKafka, opened: Callable[..., ChangelogStateStore]
) -> None:
    opened().close(5)

    topic = opened.name  # type: ignore[attr-defined]
    config = config_of(kafka, topic)
    assert config["cleanup.policy"] == "compact"
    assert config["min.insync.replicas"] == "1"
    assert int(config["delete.retention.ms"]) == 7 * 86_400_000
    assert len(kafka.admin().list_topics(timeout=10).topics[topic].partitions) == 4


def test_missing_repartition_topic_is_created_with_the_partitions_of_the_scores(
    kafka: RealKafka, opened: Callable[..., ChangelogStateStore]
) -> None:
    changelog: str = opened.name  # type: ignore[attr-defined]
    topic = changelog.replace("-state", "-facts")
    opened(repartition_topic=topic).close(5)

    config = config_of(kafka, topic)
    assert (config["cleanup.policy"], int(config["retention.ms"])) == ("delete", 7 * 86_400_000)
    layout = kafka.admin().list_topics(timeout=10).topics
    assert len(layout[topic].partitions) == len(layout[changelog].partitions) == 4


def test_repartition_topic_with_another_partition_count_is_refused(
    kafka: RealKafka, opened: Callable[..., ChangelogStateStore]
) -> None:
    kafka.create_topics({"odd-facts": 3})

    with pytest.raises(SettingsError, match="odd-facts has 3 partitions"):
        opened(repartition_topic="odd-facts")


def test_stored_state_is_restored_with_and_without_the_disk(
    opened: Callable[..., ChangelogStateStore],
) -> None:
    state_store = restored(opened(), *ALL)
    store_and_wait(state_store, state_store.stage({ANN: person_with(1, scores=(1,))}))
    state_store.close(5)

    for folder in ("mine", "another"):
        state_store = restored(opened(folder), *ALL)
        assert state_store.load([ANN]) == {ANN: person_with(1, scores=(1,))}
        state_store.close(5)


def test_changelog_that_must_not_be_created_has_to_exist(
    opened: Callable[..., ChangelogStateStore],
) -> None:
    with pytest.raises(UnavailableError, match="does not exist"):
        opened(create_changelog=False)


@pytest.mark.parametrize("policy", ["delete", "compact,delete"])
def test_changelog_that_deletes_by_time_is_refused(
    kafka: RealKafka, opened: Callable[..., ChangelogStateStore], policy: str
) -> None:
    kafka.create_topics({opened.name: 4}, {"cleanup.policy": policy})  # type: ignore[attr-defined]

    with pytest.raises(SettingsError, match=f"cleanup.policy={policy}"):
        opened()


def test_changelog_recreated_while_nothing_ran_is_written_again_from_the_local_store(
    kafka: RealKafka, opened: Callable[..., ChangelogStateStore]
) -> None:
    persons = {(number, b"ECID|ann"): person_with(number, scores=(1,)) for number in ALL}
    state_store = restored(opened(), *ALL)
    store_and_wait(state_store, state_store.stage(persons))
    state_store.close(5)
    admin = kafka.admin()
    admin.delete_topics([opened.name])[opened.name].result(10)  # type: ignore[attr-defined]

    with structlog.testing.capture_logs() as lines:
        state_store = restored(opened(), *ALL)
    wait_idle(state_store)
    assert state_store.load(persons) == persons
    state_store.close(5)

    assert ("changelog_recreated", "error") in {(line["code"], line["log_level"]) for line in lines}
    other = restored(opened("another"), *ALL)
    assert other.load(persons) == persons
    other.close(5)


def test_changelog_recreated_with_wrong_settings_is_refused_until_they_are_right(
    kafka: RealKafka, opened: Callable[..., ChangelogStateStore]
) -> None:
    state_store = restored(opened(), *ALL)
    store_and_wait(state_store, state_store.stage({ANN: person_with(1)}))
    topic, admin = opened.name, kafka.admin()  # type: ignore[attr-defined]
    admin.delete_topics([topic])[topic].result(10)
    kafka.create_topics({topic: 4}, {"cleanup.policy": "delete"})

    def refused() -> bool:
        state_store.poll()
        return "cleanup.policy=delete" in str(state_store.unavailable_reason)

    until(refused, seconds=10, what="it is refused", tell=lambda: state_store.unavailable_reason)
    entry = ConfigEntry("cleanup.policy", "compact", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin.incremental_alter_configs([resource])[resource].result(10)

    with structlog.testing.capture_logs() as lines:

        def written_again() -> bool:
            state_store.poll()
            seen = "changelog_recreated" in {line["code"] for line in lines}
            return seen and not (state_store.restoring or state_store.busy)

        until(written_again, seconds=10, what="the changelog is written again")
    assert state_store.unavailable_reason is None
    state_store.close(5)
    other = restored(opened("another"), *ALL)
    assert other.load([ANN]) == {ANN: person_with(1)}
    other.close(5)


@pytest.mark.parametrize("written_at_once", [True, False])
def test_changelog_recreated_while_it_is_written_is_written_again_from_the_local_store(
    kafka: RealKafka, opened: Callable[..., ChangelogStateStore], *, written_at_once: bool
) -> None:
    state_store = restored(opened(), *ALL)
    bob = (1, b"ECID|bob")
    store_and_wait(state_store, state_store.stage({ANN: person_with(1), bob: person_with(2)}))
    topic, admin = opened.name, kafka.admin()  # type: ignore[attr-defined]
    admin.delete_topics([topic])[topic].result(10)
    kafka.create_topics({topic: 4}, {"cleanup.policy": "compact"})
    if written_at_once:
        store_and_wait(state_store, state_store.stage({ANN: person_with(1, scores=(1,))}))

    with structlog.testing.capture_logs() as lines:

        def written_again() -> bool:
            state_store.poll()
            seen = "changelog_recreated" in {line["code"] for line in lines}
            return seen and not (state_store.restoring or state_store.busy)

        until(written_again, seconds=15, what="the changelog is written again", tell=lambda: lines)
    state_store.close(5)

    other = restored(opened("another"), *ALL)
    ann = person_with(1, scores=(1,)) if written_at_once else person_with(1)
    assert other.load([ANN, bob]) == {ANN: ann, bob: person_with(2)}
    other.close(5)

"""The memory, opened: topic prepared, folder locked, store and clients made."""

from pathlib import Path

from confluent_kafka.admin import AdminClient

from processor.clock import Clock
from processor.settings import JoinSettings, KafkaSettings
from processor.settings.client import Property, connection
from processor.state.changelog import Changelog
from processor.state.folder import Folder
from processor.state.memory import Memory
from processor.state.names import Origin
from processor.state.reader import Reader
from processor.state.restore import Restore
from processor.state.store import Store
from processor.state.topic import prepare
from processor.telemetry.metrics import Metrics
from processor.telemetry.quiet import client_logger

__all__ = ["open_changelog", "open_memory", "open_reader", "open_scratch"]


def open_memory(join: JoinSettings, kafka: KafkaSettings, metrics: Metrics, clock: Clock) -> Memory:
    """Open the local store and the changelog topic, which is created where settings say so.

    Blocks for seconds at most. Raises SettingsError where the topics, or the folder, can not be
    used as they are, and UnavailableError where broker or disk do not answer now.
    """
    properties = _properties(kafka)
    topic = join.changelog_topic
    layout = prepare(_admin(properties, clock), kafka, join, clock)
    store = Store(
        Folder(Path(join.directory)),
        Origin(topic, layout.cluster, layout.topic_id),
        partitions=layout.partitions,
        max_bytes=join.max_store_bytes,
    )
    reader = Reader(properties, topic, metrics, clock)
    restore = Restore(reader, store, join.limits(), metrics=metrics, clock=clock)
    changelog = Changelog(properties, topic, metrics, clock)
    return Memory(store, changelog, restore, join, metrics=metrics, clock=clock)


def open_reader(join: JoinSettings, kafka: KafkaSettings, clock: Clock) -> tuple[Reader, int]:
    """Open the changelog topic to look at it; return its partition count too."""
    properties = _properties(kafka)
    layout = prepare(_admin(properties, clock), kafka, _as_it_is(join), clock)
    return Reader(properties, join.changelog_topic, Metrics(), clock), layout.partitions


def open_changelog(join: JoinSettings, kafka: KafkaSettings, clock: Clock) -> tuple[Changelog, int]:
    """Open the changelog topic to write to it from outside; return its partition count too."""
    properties = _properties(kafka)
    layout = prepare(_admin(properties, clock), kafka, _as_it_is(join), clock)
    return Changelog(properties, join.changelog_topic, Metrics(), clock), layout.partitions


def open_scratch(folder: Path, join: JoinSettings, partitions: int) -> Store:
    """Open an empty store to be thrown away."""
    origin = Origin(join.changelog_topic, "scratch")
    return Store(Folder(folder), origin, partitions=partitions, max_bytes=join.max_store_bytes)


def _admin(properties: dict[str, Property], clock: Clock) -> AdminClient:
    return AdminClient(properties, logger=client_logger("changelog-admin", clock))


def _properties(kafka: KafkaSettings) -> dict[str, Property]:
    return connection(kafka.bootstrap_servers, f"{kafka.group_id}-state", kafka.client)


def _as_it_is(join: JoinSettings) -> JoinSettings:
    return join.model_copy(update={"create_changelog": False})

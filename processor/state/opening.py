"""The memory, opened: topic prepared, folder locked, store and clients made."""

from pathlib import Path

from confluent_kafka.admin import AdminClient

from processor.clock import Clock
from processor.settings import JoinSettings, KafkaSettings
from processor.settings.client import connection
from processor.state.changelog import Changelog
from processor.state.folder import Folder
from processor.state.memory import Memory
from processor.state.reader import Reader
from processor.state.restore import Restore
from processor.state.store import Origin, Store
from processor.state.topic import prepare
from processor.telemetry.metrics import Metrics

__all__ = ["open_memory"]


def open_memory(join: JoinSettings, kafka: KafkaSettings, metrics: Metrics, clock: Clock) -> Memory:
    """Open the local store and the changelog topic, which is created where settings say so.

    Blocks for seconds at most. Raises SettingsError where the topics, or the folder, can not be
    used as they are, and UnavailableError where broker or disk do not answer now.
    """
    properties = connection(kafka.bootstrap_servers, f"{kafka.group_id}-state", kafka.client)
    topic = join.changelog_topic
    layout = prepare(AdminClient(properties), kafka, join)
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

"""The control topic: a compacted topic with few small facts, which every replica follows.

A key is a JSON array of the consumer group and the fact's key, so that groups may share the topic;
a value is a JSON object with the version of this form, the id of the write, and the fact.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Final
from uuid import uuid4

import msgspec
import structlog

from processor.domain.clock import Clock, Deadline
from processor.domain.control import ControlValue
from processor.domain.errors import SettingsError, UnavailableError
from processor.domain.retry import Retry, RetryPolicy
from processor.kafka.admin import KafkaAdmin, TopicLayout
from processor.kafka.internal_topic import (
    COMPACTED,
    InternalTopic,
    OwnTopicWatch,
    check_topic,
    create_missing,
)
from processor.kafka.producer import KafkaProducer, OutgoingMessage, ProducerConfig
from processor.kafka.topic_reader import TopicReader
from processor.kafka.topics import Topics
from processor.settings import Settings
from processor.settings.kafka_client import connection
from processor.telemetry.catalogue import CONTROL_WRITES
from processor.telemetry.log_limiter import LogLimiter
from processor.telemetry.metrics import Metrics

_VERSION: Final = 1
_PARTITION: Final = 0
_READ_SECONDS: Final = 0.2
"""Between looks at what others wrote."""
_OPEN_SECONDS: Final = 30.0
_SILENCE_SECONDS: Final = 10.0
_READ_RETRY: Final = RetryPolicy(first_seconds=1.0, max_seconds=5.0)
_UNREAD_SECONDS: Final = 5.0
"""How long nothing can be read before intake is paused: most lost connections are back sooner."""

log = structlog.get_logger()


class _Stored(msgspec.Struct):
    """A value of the control topic; `write` tells writes with equal content apart."""

    version: int
    value: dict[str, Any] = {}
    write: str = ""


_encode: Final = msgspec.json.Encoder().encode
_decode_key: Final = msgspec.json.Decoder(tuple[str, str]).decode
_decode: Final = msgspec.json.Decoder(_Stored).decode


class KafkaControlStore:
    """The facts of one consumer group in the control topic; see `ControlStore`.

    The order of the topic decides between writers. A fact that was written here is shown at once,
    and what others wrote before it is not shown any more. While the topic cannot be read, or has a
    fact in the form of a newer version, a pause could be missed: the store is unavailable.
    """

    def __init__(
        self,
        reader: TopicReader,
        producer: KafkaProducer,
        watch: OwnTopicWatch,
        group_id: str,
        *,
        clock: Clock,
    ) -> None:
        self._watch = watch
        self._reader = reader
        self._producer = producer
        self._group_id = group_id
        self._clock = clock
        self._values: dict[str, ControlValue] = {}
        self._unread: dict[str, bytes | None] = {}
        """The values that were written here last and were not read back yet."""
        self._writer = uuid4().hex[:12]
        self._writes = 0
        self._read_due = Deadline(clock, 0)
        self._limiter = LogLimiter(clock)
        self._newer: dict[str, tuple[str, bytes]] = {}
        """The facts that a newer version wrote: a sentence, and the bytes."""
        self._lost: set[str] | None = None
        """While a topic that lost its records is read anew: the known facts it does not have."""
        self._next_offset = 0
        self._unread_since: float | None = None
        self._read_retry = Retry(_READ_RETRY, clock)

    @property
    def unavailable_reason(self) -> str | None:
        """Return why facts cannot be read or written now; None while they can."""
        if self._newer:
            return next(iter(self._newer.values()))[0]
        since, now = self._unread_since, self._clock.monotonic()
        if since is not None and now - since >= _UNREAD_SECONDS:
            return f"the control topic cannot be read: {self._reader.unavailable_reason}"
        return self._watch.fault or self._producer.unavailable_reason

    def get(self, key: str) -> ControlValue | None:
        """Return the newest value of a key, None where there is none."""
        return self._values.get(key)

    def items(self, prefix: str) -> Mapping[str, ControlValue]:
        """Return the newest values of all keys that start with a prefix, by key."""
        return {key: value for key, value in self._values.items() if key.startswith(prefix)}

    def put(self, key: str, value: ControlValue | None) -> None:
        """Write a value, or delete the key; `get` shows it at once, replicas soon after."""
        self._show(key, value)
        self._writes += 1
        write = f"{self._writer}-{self._writes}"
        encoded = None if value is None else _encode(_Stored(_VERSION, dict(value), write))
        self._unread[key] = encoded
        self._send(key, encoded)

    def poll(self) -> None:
        """Serve writes, and read what others wrote when it is time to."""
        if self._producer.unwritten:
            self._producer.poll()
        if not self._read_due.over():
            return
        self._read_due = Deadline(self._clock, _READ_SECONDS)
        self._producer.poll()
        topic_id = self._watch.new_id()
        if topic_id is not None:
            self._watch.accept(topic_id)
            self._read_anew()
        piece = self._reader.read(0).get(_PARTITION)
        self._note_readable()
        if piece is None:
            return
        self._next_offset = piece.next_offset or self._next_offset
        self.take(piece.records)
        if piece.out_of_range and self._lost is None:
            self._read_anew()
        elif piece.ended:
            self._write_lost()

    def close(self, seconds: float) -> bool:
        """Write what is left within so many seconds; returns whether nothing is left."""
        self._producer.close(seconds)
        self._reader.close()
        return not self._producer.unwritten

    def read_to_end(self) -> None:
        """Read the topic from its beginning to where it ends now, and follow it from there.

        Takes half a minute at most; raises UnavailableError where that is not enough, and
        SettingsError where a newer version of the processor wrote a fact in another form.
        """
        deadline = Deadline(self._clock, _OPEN_SECONDS)
        ranges = {_PARTITION: self._reader.ranges()[_PARTITION]}
        for records, left in self._reader.scan(ranges, _SILENCE_SECONDS):
            self.take((each.key or b"", each.value) for each in records)
            if left and deadline.over():
                raise UnavailableError("control", f"it was not read in {_OPEN_SECONDS:g} seconds")
        if self._newer:
            raise SettingsError([sentence for sentence, _ in self._newer.values()])
        self._next_offset = ranges[_PARTITION].stop
        self._reader.begin(_PARTITION, self._next_offset)

    def take(self, records: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Show what was read, but for what was overwritten here since."""
        for full_key, encoded in records:
            key = self._own_key(full_key)
            if key is None:
                continue
            if self._lost is not None:
                self._lost.discard(key)
            if key in self._unread:
                if self._unread[key] == encoded:
                    del self._unread[key]
                continue
            with suppress(_UnreadableError):
                self._show(key, None if encoded is None else self._decoded(key, encoded))

    def _send(self, key: str, encoded: bytes | None) -> None:
        full_key = _encode((self._group_id, key))
        self._producer.send([OutgoingMessage(full_key, encoded, partition=_PARTITION)])

    def _own_key(self, full_key: bytes) -> str | None:
        try:
            group_id, key = _decode_key(full_key)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self._report_unreadable(full_key.decode(errors="replace"))
            return None
        return key if group_id == self._group_id else None

    def _decoded(self, key: str, encoded: bytes) -> ControlValue:
        try:
            stored = _decode(encoded)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self._report_unreadable(key)
            raise _UnreadableError from None
        if stored.version > _VERSION:
            sentence = (
                f"kafka.control_topic: `{key}` was written in version {stored.version} of its "
                f"form, and this processor reads up to {_VERSION}: run the newer processor."
            )
            self._newer[key] = sentence, encoded
            raise _UnreadableError
        return stored.value

    def _note_readable(self) -> None:
        """Keep since when nothing can be read; ask again, since an idle topic shows no recovery."""
        if self._reader.unavailable_reason is None:
            self._unread_since = None
            self._read_retry.succeeded()
            return
        if self._unread_since is None:
            self._unread_since = self._clock.monotonic()
            self._read_retry.failed()
        elif self._read_retry.due:
            self._read_retry.failed()
            self._reader.begin(_PARTITION, self._next_offset)

    def _show(self, key: str, value: ControlValue | None) -> None:
        self._newer.pop(key, None)
        if value is None:
            self._values.pop(key, None)
        else:
            self._values[key] = value

    def _read_anew(self) -> None:
        """Begin anew with a topic that lost its records, to write into it what it does not have."""
        log.error(
            "The control topic has lost its records, as if it was deleted and created anew. The "
            "facts that this replica knows and the topic does not have are written again.",
            code="control_topic_lost",
            facts=len(self._values) + len(self._newer),
        )
        self._lost = {*self._values, *self._newer}
        self._unread.clear()
        self._next_offset = 0
        self._reader.begin(_PARTITION, None)

    def _write_lost(self) -> None:
        """Write the known facts that the topic does not have, once all of it was read."""
        lost, self._lost = self._lost, None
        for key in lost or ():
            if key in self._newer:
                self._send(key, self._newer[key][1])
            elif key in self._values:
                self.put(key, self._values[key])

    def _report_unreadable(self, key: str) -> None:
        suppressed = self._limiter.due("unreadable")
        if suppressed is not None:
            log.warning(
                "A record of the control topic cannot be read and is ignored.",
                code="control_record_unreadable",
                record=key[:100],
                suppressed=suppressed,
            )


class _UnreadableError(Exception):
    """A value is not of this form."""


def open_control_store(
    settings: Settings, metrics: Metrics, clock: Clock, *, create: bool = True
) -> KafkaControlStore:
    """Open the control topic, which is created where settings say so, and read it to its end.

    Raises SettingsError where the topic cannot be used as it is, and UnavailableError where the
    broker does not answer in time. Without `create` the topic must exist.
    """
    kafka, join = settings.kafka, settings.join
    topic = kafka.control_topic
    admin = KafkaAdmin(kafka, "control", clock)
    watch = _watched(settings, admin, clock, create=create and join.create_changelog)
    reader = TopicReader(kafka, topic, part="control", clock=clock, metrics=metrics)
    client = connection(kafka.bootstrap_servers, f"{kafka.group_id}-control", kafka.client)
    config = ProducerConfig(part="control", topic=topic, writes=CONTROL_WRITES, client=client)
    producer = KafkaProducer(config, metrics, clock)
    store = KafkaControlStore(reader, producer, watch, kafka.group_id, clock=clock)
    try:
        store.read_to_end()
        if watch.by_id and not store.items(""):
            _report_empty(settings, admin)
    except (SettingsError, UnavailableError):
        store.close(0)
        raise
    return store


def _report_empty(settings: Settings, admin: KafkaAdmin) -> None:
    """Say so where a group without facts has committed: the first commit comes after a fact."""
    topics = Topics(settings.kafka, settings.join.repartition_topic)
    # The client crashes where it is asked for all offsets of a group that has none.
    partitions = topics.partitions(admin.cluster().layout)
    if partitions and admin.committed(partitions).with_metadata():
        log.error(
            "The control topic has no fact of this consumer group, which has committed offsets: it "
            "was deleted, or created anew. Its pauses and skips are gone.",
            code="control_topic_empty",
            topic=settings.kafka.control_topic,
        )


def _watched(settings: Settings, admin: KafkaAdmin, clock: Clock, *, create: bool) -> OwnTopicWatch:
    """Create the topic unless it exists, check it, and watch it from then on.

    Where no controller answers, as in the embedded broker, it is taken as it is.
    """
    cluster = admin.cluster()
    topic = InternalTopic(
        key="kafka.control_topic",
        name=settings.kafka.control_topic,
        partitions=1,
        replication=settings.join.changelog_replication,
        config=COMPACTED,
        content="pauses, skips and the layout of the topics",
    )
    topic_id = ""
    if cluster.has_controller:
        cluster = create_missing(admin, cluster, topic, create=create)
        check_topic(admin, cluster, topic)
        topic_id = admin.topic_id(topic.name)
    return OwnTopicWatch(TopicLayout(admin, clock), topic, clock, topic_id)

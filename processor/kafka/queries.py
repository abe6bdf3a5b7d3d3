"""Queries to Kafka in progress: they return at once, and are read when they are answered."""

from collections.abc import Mapping
from concurrent.futures import Future, wait
from typing import Any, Final, NamedTuple, Protocol

from confluent_kafka import KafkaError, KafkaException

from processor.domain.errors import UnavailableError
from processor.domain.record import Partition

SHORT_WAIT_SECONDS: Final = 0.02
"""A broker nearby answers within this time; an answer that takes longer is not waited for."""
_NO_ID: Final = "A" * 22
"""The id of a topic whose broker has no topic ids: sixteen zero bytes in base64."""
_MISSING: Final = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION})  # noqa: SLF001  a public constant


class TopicDescription(NamedTuple):
    """What a broker knows of a topic: `id` differs from that of any other topic of this name.

    The id is empty, and the count 0, where the broker does not tell.
    """

    id: str
    partitions: int


class OffsetQuery(Protocol):
    """A query in progress; what has been answered can be read at any time."""

    def wait(self, seconds: float = SHORT_WAIT_SECONDS) -> bool:
        """Wait at most so long; return whether every partition is answered, or has failed."""
        ...

    def done(self) -> bool:
        """Return True once every partition is answered, or has failed."""
        ...

    def failed(self) -> bool:
        """Return True where Kafka answered nothing for some partition."""
        ...

    def offsets(self) -> dict[Partition, int]:
        """Return the offsets that are known."""
        ...


class IdleQuery:
    """A query in progress whether a member of the group has no partition, and will get none."""

    def __init__(self, future: "Future[Any]", member_id: str) -> None:
        self._future = future
        self._member_id = member_id

    def done(self) -> bool:
        """Return True once it is answered, or has failed."""
        return bool(self._future.done())

    def is_idle(self) -> bool:
        """Return the answer; False where Kafka does not say."""
        if self._future.exception() is not None:
            return False
        for member in self._future.result().members:
            if member.member_id == self._member_id:
                target = member.target_assignment
                return target is not None and not target.topic_partitions
        return False


class TopicQuery:
    """A query for topics, answered for each topic by itself."""

    def __init__(self, futures: Mapping[str, "Future[Any]"]) -> None:
        self._futures = futures

    def done(self) -> bool:
        """Return True once every topic is answered, or has failed."""
        return all(future.done() for future in self._futures.values())

    def wait(self) -> "TopicQuery":
        """Wait until every topic is answered, or has failed; the client bounds how long."""
        wait(self._futures.values())
        return self

    def topics(self) -> dict[str, TopicDescription | None]:
        """Return what is answered: None for a topic that does not exist, nothing for a failure."""
        answered: dict[str, TopicDescription | None] = {}
        for name, future in self._futures.items():
            if not future.done():
                continue
            error = future.exception()
            if error is None:
                found = future.result()
                topic_id = str(found.topic_id)
                answered[name] = TopicDescription(
                    "" if topic_id == _NO_ID else topic_id, len(found.partitions)
                )
            elif isinstance(error, KafkaException):
                code = error.args[0].code()
                if code == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    answered[name] = None
                elif code == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                    answered[name] = TopicDescription("", 0)
        return answered


class ConfigQuery:
    """A query for the configuration of one topic."""

    def __init__(self, future: "Future[Any]") -> None:
        self._future = future

    def wait(self) -> bool:
        """Wait until it is answered, or has failed; the client bounds how long."""
        wait([self._future])
        return self.done()

    def done(self) -> bool:
        """Return True once it is answered, or has failed."""
        return self._future.done()

    def config(self) -> Mapping[str, str]:
        """Return the values by key; raises UnavailableError where there is no answer."""
        error = self._future.exception()
        if error is not None:
            raise UnavailableError("kafka", str(error)) from error
        return {key: str(entry.value) for key, entry in self._future.result().items()}


class RangeQuery:
    """A query for starts or ends, answered for each partition by itself."""

    def __init__(self, futures: Mapping[Partition, "Future[Any]"]) -> None:
        self._futures = futures

    def wait(self, seconds: float = SHORT_WAIT_SECONDS) -> bool:
        """Wait at most so long; return whether every partition is answered, or has failed."""
        wait(self._futures.values(), timeout=seconds)
        return self.done()

    def done(self) -> bool:
        """Return True once every partition is answered, or has failed."""
        return all(future.done() for future in self._futures.values())

    def failed(self) -> bool:
        """Return True where a partition has no answer."""
        return self.done() and len(self.offsets()) < len(self._futures)

    def offsets(self) -> dict[Partition, int]:
        """Return what is known: 0 for a partition that does not exist, nothing for a failure."""
        known = {partition: _offset(future) for partition, future in self._futures.items()}
        return {partition: offset for partition, offset in known.items() if offset is not None}


class CommittedQuery:
    """A query for a group's offsets, answered for all partitions at once."""

    def __init__(self, future: "Future[Any]") -> None:
        self._future = future

    def wait(self, seconds: float = SHORT_WAIT_SECONDS) -> bool:
        """Wait at most so long; return whether it is answered, or has failed."""
        wait([self._future], timeout=seconds)
        return self.done()

    def done(self) -> bool:
        """Return True once it is answered, or has failed."""
        return self._future.done()

    def failed(self) -> bool:
        """Return True where there is no answer, or none for a partition."""
        if not self._future.done():
            return False
        if self._future.exception() is not None:
            return True
        return any(one.error for one in self._future.result().topic_partitions)

    def offsets(self) -> dict[Partition, int]:
        """Return what is known; a partition without a committed offset is left out."""
        if self.failed() or not self._future.done():
            return {}
        found = self._future.result().topic_partitions
        return {Partition(one.topic, one.partition): one.offset for one in found if one.offset >= 0}

    def with_metadata(self) -> bool:
        """Return True where an offset was committed with metadata, as the processor does.

        Raises UnavailableError where Kafka does not answer now.
        """
        error = self._future.exception()
        if error is None:
            return any(one.metadata for one in self._future.result().topic_partitions)
        if isinstance(error, KafkaException) and not error.args[0].retriable():
            return False
        raise UnavailableError("kafka", str(error)) from error


def _offset(future: "Future[Any]") -> int | None:
    if not future.done():
        return None
    error = future.exception()
    if error is None:
        offset = int(future.result().offset)
        # When the connection is cut meanwhile, the client reports success and the offset -1001.
        return offset if offset >= 0 else None
    if isinstance(error, KafkaException) and error.args[0].code() in _MISSING:
        return 0
    return None

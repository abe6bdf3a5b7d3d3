"""What must outlive a process and is not person state: small facts that all replicas share.

Such as the layout of the topics, their ids, that the group has been here, pauses and skips. A
replica reads and writes them through a `ControlStore`; the compacted control topic is the durable
one. Keys are slash-separated texts, values are small JSON objects.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from processor.domain.record import Partition

ControlValue = Mapping[str, Any]


class ControlStore(Protocol):
    """Shared small facts by key. No call blocks; all calls come from the loop's thread."""

    @property
    def unavailable_reason(self) -> str | None:
        """Return why facts cannot be written now; None while they can."""
        ...

    def get(self, key: str) -> ControlValue | None:
        """Return the newest value of a key, None where there is none."""
        ...

    def items(self, prefix: str) -> Mapping[str, ControlValue]:
        """Return the newest values of all keys that start with a prefix, by key."""
        ...

    def put(self, key: str, value: ControlValue | None) -> None:
        """Write a value, or delete the key; `get` shows it at once, replicas soon after."""
        ...

    def poll(self) -> None:
        """Read what others wrote and serve writes; called on every turn of the loop."""
        ...

    def close(self, seconds: float) -> bool:
        """Write what is left within so many seconds; returns whether nothing is left."""
        ...


class GroupPosition(Protocol):
    """Up to where the group is: what decides whether a fact about records is done with."""

    def topic_id(self, topic: str) -> str:
        """Return the id of a topic that is read; empty where it is unknown or there is none."""
        ...

    def committed_offset(self, partition: Partition) -> int | None:
        """Return the group's offset of an assigned partition, as Kafka confirmed it.

        None where it is unknown, is lost, or belongs to an earlier topic of this name.
        """
        ...


class InMemoryControlStore:
    """A control store that nothing outlives: for dry runs and replays."""

    unavailable_reason: str | None = None

    def __init__(self) -> None:
        self._values: dict[str, ControlValue] = {}

    def get(self, key: str) -> ControlValue | None:
        """Return the newest value of a key, None where there is none."""
        return self._values.get(key)

    def items(self, prefix: str) -> Mapping[str, ControlValue]:
        """Return the values of all keys that start with a prefix, by key."""
        return {key: value for key, value in self._values.items() if key.startswith(prefix)}

    def put(self, key: str, value: ControlValue | None) -> None:
        """Keep a value, or delete the key."""
        if value is None:
            self._values.pop(key, None)
        else:
            self._values[key] = value

    def poll(self) -> None:
        """Do nothing: there are no others."""

    def close(self, seconds: float) -> bool:
        """Return True: nothing is left to write."""
        del seconds
        return True

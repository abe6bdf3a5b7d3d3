"""What Kafka is asked about partitions without a valid offset."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from processor.domain.record import Partition
from processor.kafka.admin import KafkaAdmin


class InvalidOffset(NamedTuple):
    """An offset that Kafka refused; `wanted` is None where the group has none.

    `truncated` says that Kafka has other records below it than those that were read.
    """

    wanted: int | None
    truncated: bool = False


class StartQuery:
    """What Kafka is asked about partitions without a valid offset, until it has answered."""

    def __init__(
        self,
        admin: KafkaAdmin,
        invalid: Mapping[Partition, InvalidOffset],
        group: Sequence[Partition],
        changelog: Collection[Partition],
        *,
        all_ends: bool,
    ) -> None:
        new = [partition for partition, each in invalid.items() if each.wanted is None]
        old = invalid.keys() - set(new)
        self.partitions = frozenset(invalid)
        self._starts = admin.starts(invalid)
        self._all = frozenset(group) if all_ends and new else frozenset[Partition]()
        self._ends = admin.ends(self._all | set(new))
        self._high_watermarks = admin.high_watermarks(old)
        self._group = admin.committed(group) if new and group else None
        numbers = {each.number for each in new}
        self._changelog = {each.number: each for each in changelog if each.number in numbers}
        self._state = admin.ends(self._changelog.values())

    def done(self) -> bool:
        """Return True once everything is answered, or has failed."""
        queries = (self._starts, self._ends, self._high_watermarks, self._group, self._state)
        return all(each is None or each.done() for each in queries)

    def ranges(self) -> dict[Partition, tuple[int, int]]:
        """Return the first offset and the end of each partition, as far as is known."""
        starts, ends = self._starts.offsets(), self._ends.offsets()
        ends |= self._high_watermarks.offsets()
        return {each: (starts[each], ends[each]) for each in starts.keys() & ends.keys()}

    def group_ends(self) -> dict[Partition, int] | None:
        """Return where all partitions of the group end, if asked; None while one is unknown."""
        ends = self._ends.offsets()
        return None if self._all - ends.keys() else {each: ends[each] for each in self._all}

    def committed(self) -> Mapping[Partition, int] | None:
        """Return the group's offsets in its topics; None where that is unknown."""
        if self._group is None:
            return {}
        return None if self._group.failed() else self._group.offsets()

    def has_state(self, number: int) -> bool | None:
        """Return whether the changelog has anything of a number; None where that is unknown."""
        if number not in self._changelog:
            return False
        end = self._state.offsets().get(self._changelog[number])
        return None if end is None else end > 0

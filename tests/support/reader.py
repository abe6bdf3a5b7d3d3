"""A changelog reader over lists in memory."""

from processor.kafka.topic_reader import PartitionSlice


class FakeReader:
    """Serves what `logs` holds, `slice_records` at a time; offsets are indexes of the list."""

    def __init__(self, slice_records: int = 1_000) -> None:
        self.logs: dict[int, list[tuple[bytes, bytes | None]]] = {}
        self.begun: list[tuple[int, int | None]] = []
        self.unavailable_reason: str | None = None
        self._slice = slice_records
        self._next: dict[int, int] = {}

    def begin(self, partition: int, offset: int | None) -> None:
        self.begun.append((partition, offset))
        self._next[partition] = offset or 0

    def end(self, partition: int) -> None:
        self._next.pop(partition, None)

    def read(self, seconds: float) -> dict[int, PartitionSlice]:
        assert seconds >= 0
        return {partition: self._read(partition) for partition in list(self._next)}

    def remaining(self, partition: int, offset: int) -> int:
        return len(self.logs.get(partition, [])) - offset

    def close(self) -> None:
        self._next.clear()

    def _read(self, partition: int) -> PartitionSlice:
        log, start = self.logs.get(partition, []), self._next[partition]
        if start > len(log):
            return PartitionSlice(out_of_range=True)
        end = self._next[partition] = min(start + self._slice, len(log))
        return PartitionSlice(log[start:end], end, ended=end == len(log))

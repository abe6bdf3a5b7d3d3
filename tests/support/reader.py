"""A changelog that is a list in memory."""

from processor.kafka.topic_reader import PartitionSlice

__all__ = ["FakeReader"]


class FakeReader:
    """Reads `logs`, `slice_records` at a time; offsets are indexes of the list."""

    def __init__(self, slice_records: int = 1_000) -> None:
        self.logs: dict[int, list[tuple[bytes, bytes | None]]] = {}
        self.begun: list[tuple[int, int | None]] = []
        self.unavailable_reason: str | None = None
        self._slice = slice_records
        self._positions: dict[int, int] = {}

    def begin(self, partition: int, offset: int | None) -> None:
        self.begun.append((partition, offset))
        self._positions[partition] = offset or 0

    def end(self, partition: int) -> None:
        self._positions.pop(partition, None)

    def read(self, seconds: float) -> dict[int, PartitionSlice]:
        assert seconds >= 0
        return {partition: self._read(partition) for partition in list(self._positions)}

    def remaining(self, partition: int, offset: int) -> int:
        return len(self.logs.get(partition, [])) - offset

    def close(self) -> None:
        self._positions.clear()

    def _read(self, partition: int) -> PartitionSlice:
        log, start = self.logs.get(partition, []), self._positions[partition]
        if start > len(log):
            return PartitionSlice(nowhere=True)
        end = self._positions[partition] = min(start + self._slice, len(log))
        return PartitionSlice(log[start:end], end, ended=end == len(log))

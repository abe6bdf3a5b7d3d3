"""How much the store holds, and what it keeps of partitions that are not ours."""

from collections.abc import Set as AbstractSet

from processor.state.store import Store
from processor.telemetry.metrics import Metrics

__all__ = ["measure", "trim"]


def trim(store: Store, ours: AbstractSet[int], limit_bytes: int) -> None:
    """Drop other partitions, longest left alone first, until the store is within a limit."""

    def left_at(partition: int) -> int:
        mark = store.mark(partition)
        return 0 if mark is None else mark.at_ms

    for partition in sorted(set(store.partitions()) - ours, key=left_at):
        if store.size(store.partitions()) <= limit_bytes:
            return
        store.drop(partition)


def measure(store: Store, ours: AbstractSet[int], metrics: Metrics) -> None:
    """Set the gauges of persons (of ours) and bytes (of all)."""
    metrics.gauge("state_entries").set(store.entries(ours))
    metrics.gauge("state_bytes").set(store.size(store.partitions()))

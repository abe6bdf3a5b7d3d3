"""What the store keeps of partitions that are not ours, in case they come back."""

from collections.abc import Set as AbstractSet

from processor.state.store import Store

__all__ = ["trim"]


def trim(store: Store, ours: AbstractSet[int], limit_bytes: int) -> None:
    """Drop other partitions, longest left alone first, until the store is within a limit."""

    def left_at(partition: int) -> int:
        mark = store.mark(partition)
        return 0 if mark is None else mark.at_ms

    for partition in sorted(set(store.partitions()) - ours, key=left_at):
        if store.size(store.partitions()) <= limit_bytes:
            return
        store.drop(partition)

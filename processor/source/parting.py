"""Parting with partitions: what is released is counted, what was not committed is told."""

from collections.abc import Iterable

import structlog

from processor.record import Partition
from processor.source.ledger import Account, Ledger
from processor.telemetry.metrics import Metrics

__all__ = ["names", "part"]

log = structlog.get_logger()


def names(partitions: Iterable[Partition]) -> list[str]:
    """Return partitions as logs name them."""
    return [f"{topic}/{number}" for topic, number in sorted(partitions)]


def part(ledger: Ledger, partitions: Iterable[Partition], cause: str, *, metrics: Metrics) -> None:
    """End the epochs of these partitions; every record of them that may come again is told of.

    Unsettled ones are counted as released. Settled ones whose commit Kafka did not confirm are
    listed: what is remembered of them merges when they come again, the rest is sent twice.
    """
    for partition in partitions:
        account = ledger.accounts.get(partition)
        if account is not None:
            _tell(partition, account, cause)
        metrics.counter("records_released", partition.topic, cause).inc(ledger.drop(partition))


def _tell(partition: Partition, account: Account, cause: str) -> None:
    first, end = account.committed or 0, account.position or 0
    if first < end and account.settled_ms:
        log.warning(
            "The commit of settled records was not confirmed; they may be read again.",
            places=f"{partition.topic}/{partition.number}/{first}-{end - 1}",
            cause=cause,
            always=True,
        )

"""The loss of an offset in words: log lines, and the sentence with which intake stops."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import structlog

from processor.source.beginning import Start
from processor.telemetry.labels import OffsetLoss

log = structlog.get_logger()

_LOST: Final = {
    OffsetLoss.BELOW_START: (
        "Kafka has deleted records of {names} that were not read yet: {missing} are missing. "
        "Resuming goes on with the oldest that are left."
    ),
    OffsetLoss.BEYOND_END: (
        "The group's offset of {names} is beyond the end of the log, which was truncated or "
        "restored, or the offset was set by hand. Resuming reads all {again} records that are "
        "there. {repeated}"
    ),
    OffsetLoss.TOPIC_RECREATED: (
        "The topic of {names} was deleted and created anew: what was not read of the old one is "
        "gone. Resuming reads the new topic from its start: {again} records by now."
    ),
    OffsetLoss.GROUP_OFFSETS_GONE: (
        "The group has been here, and its committed offsets of {names} are gone: they expired or "
        "were deleted. Resuming reads all {again} records that are there. {repeated}"
    ),
}
_JOIN: Final = "Scores that were delivered before are recognised as duplicates."
_NO_JOIN: Final = (
    "Without join.enabled they are sent again. To skip them instead, stop all replicas and set the "
    "offsets with kafka-consumer-groups --reset-offsets --to-latest."
)


def stop_sentence(
    loss: OffsetLoss, names: str, *, missing: int, again: int, recognised: bool
) -> str:
    """Return what happened to some partitions, and what resuming does.

    `recognised` says whether scores that are read again are recognised as duplicates.
    """
    repeated = _JOIN if recognised else _NO_JOIN
    return _LOST[loss].format(names=names, missing=missing, again=again, repeated=repeated)


def needs_choice(start: Start, *, recognised: bool) -> bool:
    """Return True where reading on may send events again, which a setting cannot decide ahead.

    The records of a new topic are other ones, although some may have been copied from the old one.
    """
    same_records = start.loss is not OffsetLoss.TOPIC_RECREATED
    return same_records and start.again > 0 and not recognised


class LostOffset(NamedTuple):
    """A partition that could not be read on at `wanted`, and where reading would begin."""

    partition: str
    wanted: int | None
    start: Start
    on_gap: str


def _log_below_start(lost: LostOffset) -> None:
    log.error(
        "Kafka deleted records before they were read.",
        code="records_deleted_unread",
        partition=lost.partition,
        wanted=lost.wanted,
        begin=lost.start.offset,
        missing=lost.start.missing,
        on_gap=lost.on_gap,
    )


def _log_beyond_end(lost: LostOffset) -> None:
    log.error(
        "The offset of the group is beyond the end of the log: the log was truncated or restored, "
        "or the offset was set by hand.",
        code="offset_beyond_end",
        partition=lost.partition,
        wanted=lost.wanted,
        begin=lost.start.offset,
        again=lost.start.again,
        on_gap=lost.on_gap,
    )


def _log_recreated(lost: LostOffset) -> None:
    log.error(
        "A topic that is read was deleted and created anew; its offsets begin again.",
        code="input_topic_recreated",
        partition=lost.partition,
        wanted=lost.wanted,
        begin=lost.start.offset,
        again=lost.start.again,
        on_gap=lost.on_gap,
    )


def _log_gone(lost: LostOffset) -> None:
    log.error(
        "The group has been here, and its committed offset is gone: it expired or was deleted.",
        code="group_offset_gone",
        partition=lost.partition,
        begin=lost.start.offset,
        again=lost.start.again,
        on_gap=lost.on_gap,
    )


LOG_LOSS: Final[Mapping[OffsetLoss, Callable[[LostOffset], None]]] = {
    OffsetLoss.BELOW_START: _log_below_start,
    OffsetLoss.BEYOND_END: _log_beyond_end,
    OffsetLoss.TOPIC_RECREATED: _log_recreated,
    OffsetLoss.GROUP_OFFSETS_GONE: _log_gone,
}
"""How each loss is logged."""

"""Pauses that outlive a process: by hand, and at a limit until an operator resumes intake.

They are facts in the control store, so that every replica obeys them, also after a restart:

    pause                             {since, reason, by}    `pause`; deleted by `resume`
    paused/reject_limit               {since, sentence, by}  too many rejects; deleted by `resume`
    paused/reject_limit/TOPIC/NUMBER  {.., id, until}        the batch that hit the limit
    paused/gap/TOPIC/NUMBER           {.., cause, id, wanted, start}  `kafka.on_gap: stop`
    resumed                           {since, by}            the last `resume`

`resume` adds `resumed` to the facts of a partition: it accepts exactly what they name. The batch
that hit the limit (up to the offset `until`) is not counted again, and the gap is passed. Once the
group has committed beyond it, the replica that has the partition deletes the fact, so that a later
loss, or the same offsets read once more, are not accepted by it.
"""

import socket
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import structlog

from processor.domain.clock import Clock, rfc3339
from processor.domain.control import ControlStore, ControlValue, GroupPosition
from processor.domain.errors import Gap, StopCause, StopError
from processor.domain.record import Partition, Record
from processor.telemetry.labels import PauseCause

PAUSE: Final = "pause"
RESUMED: Final = "resumed"
PAUSED: Final = "paused/"
_REJECT_LIMIT: Final = f"{PAUSED}{StopCause.REJECT_LIMIT}"
_PLACE: Final = len(Partition._fields)

log = structlog.get_logger()


class StoredPause(NamedTuple):
    """Why intake is paused, as a sentence without its full stop, and since when (epoch ms).

    `since_ms` is None where the fact does not say; a restart does not change it.
    """

    sentence: str
    since_ms: int | None


class Pauses:
    """The pauses of the group: `reasons` by cause, as of the last `refresh`."""

    def __init__(self, control: ControlStore, position: GroupPosition, clock: Clock) -> None:
        self._control = control
        self._position = position
        self._clock = clock
        self._gaps: dict[Partition, Gap] = {}
        self._sentences: dict[Partition, str] = {}
        self._logged: dict[str, object] = {}
        self._ended: set[PauseCause] = set()
        self.reasons: Mapping[PauseCause, StoredPause] = {}

    def refresh(self) -> frozenset[PauseCause]:
        """Read the pauses again; return, once each, the causes whose pause has ended."""
        self._read()
        ended, self._ended = frozenset(self._ended), set()
        return ended

    def stop(self, error: StopError, held: Iterable[Record] = ()) -> None:
        """Pause at a limit; `held` are the records of the batch that hit it and is not planned."""
        self._gaps |= error.gaps
        self._sentences |= dict.fromkeys(error.gaps, str(error))
        self._put_gaps()
        if error.cause is StopCause.REJECT_LIMIT:
            self._stop_at_reject_limit(self._fact(str(error)), _ends(held))
        self._read()

    def accepts(self, records: Iterable[Record]) -> bool:
        """Return whether `resume` accepted a batch with these records, whatever it holds."""
        until: dict[Partition, int] = {}
        for key, fact in self._control.items(f"{_REJECT_LIMIT}/").items():
            partition = _partition(key)
            now = self._position.topic_id(partition.topic)
            if "resumed" in fact and (fact.get("id") == now or not now):
                until[partition] = fact.get("until", 0)
        return any(each.offset < until.get(_place(each), 0) for each in records)

    def take_accepted_gaps(self, assigned: Iterable[Partition]) -> list[Partition]:
        """Return, once each, the partitions with a gap here that `resume` accepted."""
        self._gaps = {each: self._gaps[each] for each in self._gaps.keys() & set(assigned)}
        accepted = [each for each, gap in self._gaps.items() if self._is_accepted(each, gap)]
        for partition in accepted:
            del self._gaps[partition]
        self._put_gaps()
        return accepted

    def delete_passed(self, assigned: Iterable[Partition]) -> None:
        """Delete what `resume` accepted, once the group has committed beyond it."""
        here = set(assigned)
        for key, fact in self._control.items(PAUSED).items():
            if "resumed" in fact and (partition := _partition(key)) in here:
                offset = self._position.committed_offset(partition)
                same_topic = fact.get("id") == self._position.topic_id(partition.topic)
                if offset is not None and same_topic and _is_beyond(fact, offset):
                    self._control.put(key, None)

    def _read(self) -> None:
        reasons: dict[PauseCause, StoredPause] = {}
        by_hand = self._control.get(PAUSE)
        if by_hand is not None:
            sentence = (
                f"an operator paused intake ({by_hand.get('by')}, since {_time(by_hand)}): "
                f"{by_hand.get('reason')}"
            )
            reasons[PauseCause.OPERATOR] = StoredPause(sentence, _since_ms([by_hand]))
        stopped = stopped_at_limits(self._control)
        self._log_new(stopped)
        for cause in StopCause:
            values = [value for key, value in stopped.items() if key.split("/")[1] == cause]
            if values:
                since = min(map(_time, values))
                sentences = " ".join(dict.fromkeys(str(each.get("sentence")) for each in values))
                sentence = f"{sentences} Paused since {since} until the command `resume`"
                reasons[PauseCause(cause)] = StoredPause(sentence, _since_ms(values))
        self._ended |= self.reasons.keys() - reasons.keys()
        self.reasons = reasons

    def _fact(self, sentence: str) -> dict[str, Any]:
        return {"since": self._clock.now_ms(), "sentence": sentence, "by": socket.gethostname()}

    def _put_gaps(self) -> None:
        """Write the gaps that are not in the store; one that has grown is paused since before."""
        for partition, gap in self._gaps.items():
            known = self._control.get(_gap_key(partition))
            if known is not None and _gap(known) == gap:
                continue
            fact = self._fact(self._sentences[partition])
            if known is not None and "resumed" not in known and _gap(known)[:3] == gap[:3]:
                fact["since"] = known.get("since")
            lost = {"cause": gap.cause, "id": gap.topic_id, "wanted": gap.wanted}
            self._control.put(_gap_key(partition), {**fact, **lost, "start": gap.start})

    def _stop_at_reject_limit(self, fact: ControlValue, until: Mapping[Partition, int]) -> None:
        """Pause, or add the held records of this replica to a pause that began already."""
        began = [each for key, each in stopped_at_limits(self._control).items() if _limits(key)]
        if began:
            fact = {**began[0], **{key: fact[key] for key in ("sentence", "by")}}
        for partition, end in until.items():
            held = {"id": self._position.topic_id(partition.topic), "until": end}
            self._control.put(_limit_key(partition), {**fact, **held})
        if not until and not began:
            self._control.put(_REJECT_LIMIT, fact)

    def _is_accepted(self, partition: Partition, gap: Gap) -> bool:
        fact = self._control.get(_gap_key(partition))
        return fact is not None and "resumed" in fact and _gap(fact) == gap

    def _log_new(self, stopped: Mapping[str, ControlValue]) -> None:
        """Log each pause at a limit once in this process, also one that an earlier one began."""
        new: dict[tuple[str, object], ControlValue] = {}
        for key, fact in stopped.items():
            if self._logged.get(key) != fact.get("since"):
                self._logged[key] = fact.get("since")
                new.setdefault((key.split("/")[1], fact.get("sentence")), fact)
        for (cause, sentence), fact in new.items():
            log.error(
                "Intake is paused at a limit. Look at the cause, then run the command "
                "`resume`: it accepts what stopped intake here, and nothing else.",
                code="paused_at_limit",
                cause=cause,
                since=_time(fact),
                error=sentence,
                always=True,
            )


def pause(control: ControlStore, *, reason: str, by: str, now_ms: int) -> None:
    """Pause all intake of the group by hand."""
    control.put(PAUSE, {"since": now_ms, "reason": reason, "by": by})


def resume(control: ControlStore, *, by: str, now_ms: int) -> list[str]:
    """End every pause of the group; return what was paused, as sentences."""
    ended: list[str] = []
    by_hand = control.get(PAUSE)
    if by_hand is not None:
        control.put(PAUSE, None)
        ended.append(describe(PAUSE, by_hand))
    for key, fact in stopped_at_limits(control).items():
        accepted = None if key == _REJECT_LIMIT else {**fact, "resumed": now_ms, "resumed_by": by}
        control.put(key, accepted)
        ended.append(describe(key, fact))
    if ended:
        control.put(RESUMED, {"since": now_ms, "by": by})
    return ended


def stopped_at_limits(control: ControlStore) -> dict[str, ControlValue]:
    """Return the pauses at limits that are not resumed, by key."""
    found = control.items(PAUSED)
    return {key: fact for key, fact in sorted(found.items()) if "resumed" not in fact}


def describe(key: str, fact: ControlValue) -> str:
    """Return a pause as a sentence."""
    if key == PAUSE:
        return f"Paused by {fact.get('by')} since {_time(fact)}: {fact.get('reason')}"
    place = key.removeprefix(PAUSED)
    return f"Paused at a limit ({place}) since {_time(fact)}: {fact.get('sentence')}"


def _time(fact: ControlValue) -> str:
    since: Any = fact.get("since")
    return rfc3339(since) if isinstance(since, int) else "an unknown time"


def _since_ms(facts: Iterable[ControlValue]) -> int | None:
    return min(
        (each["since"] for each in facts if isinstance(each.get("since"), int)), default=None
    )


def _gap_key(partition: Partition) -> str:
    return f"{PAUSED}{StopCause.GAP}/{partition.topic}/{partition.number}"


def _limit_key(partition: Partition) -> str:
    return f"{_REJECT_LIMIT}/{partition.topic}/{partition.number}"


def _limits(key: str) -> bool:
    return key.split("/")[1] == StopCause.REJECT_LIMIT


def _partition(key: str) -> Partition:
    """Return the partition of a fact; one of no topic where it has none."""
    _, _, *place = key.split("/")
    return Partition(place[0], int(place[1])) if len(place) == _PLACE else Partition("", -1)


def _gap(fact: ControlValue) -> Gap:
    """Return the gap of a fact; one without a cause, which no loss equals, of an older form."""
    cause, topic_id = str(fact.get("cause", "")), str(fact.get("id", ""))
    return Gap(cause, topic_id, fact.get("wanted"), fact.get("start", -1))


def _is_beyond(fact: ControlValue, committed: int) -> bool:
    """Return True where an offset that the group committed is behind what a fact accepts.

    An offset that is beyond the end of the log is behind where reading goes on, and is the loss.
    """
    return committed >= fact.get("until", fact.get("start", 0)) and committed != fact.get("wanted")


def _place(record: Record) -> Partition:
    return Partition(record.topic, record.partition)


def _ends(records: Iterable[Record]) -> dict[Partition, int]:
    """Return the offset after the last of these records, by partition."""
    ends: dict[Partition, int] = {}
    for record in records:
        ends[_place(record)] = max(record.offset + 1, ends.get(_place(record), 0))
    return ends

"""Pauses that outlive a process: by hand, and at a limit until an operator resumes intake.

They are facts in the control store, so that every replica obeys them, also after a restart:

    pause                     {since, reason, by}          `pause`; deleted by `resume`
    paused/reject_limit       {since, sentence, by, until} too many rejects
    paused/gap/TOPIC/NUMBER   {since, sentence, by, wanted} records are gone, `kafka.on_gap: stop`
    resumed                   {since, by}                  the last `resume`

`resume` adds `resumed` to a pause at a limit instead of deleting it: it accepts exactly what the
pause named. The batch that hit the limit (up to the offsets in `until`) is not counted again, and
the gap of a partition is passed.
"""

import socket
from collections.abc import Iterable, Mapping
from typing import Any, Final

import structlog

from processor.domain.clock import Clock, rfc3339
from processor.domain.control import ControlStore, ControlValue
from processor.domain.errors import StopCause, StopError
from processor.domain.record import Partition, Record
from processor.telemetry.labels import PauseCause

PAUSE: Final = "pause"
RESUMED: Final = "resumed"
PAUSED: Final = "paused/"
_REJECT_LIMIT: Final = f"{PAUSED}{StopCause.REJECT_LIMIT}"

log = structlog.get_logger()


class Pauses:
    """The pauses of the group: `reasons` by cause, as of the last `refresh`."""

    def __init__(self, control: ControlStore, clock: Clock) -> None:
        self._control = control
        self._clock = clock
        self._gaps: dict[Partition, int | None] = {}
        self._logged: dict[str, object] = {}
        self.reasons: Mapping[PauseCause, str] = {}

    def refresh(self) -> frozenset[PauseCause]:
        """Read the pauses again; return the causes whose pause has ended since."""
        reasons: dict[PauseCause, str] = {}
        by_hand = self._control.get(PAUSE)
        if by_hand is not None:
            reasons[PauseCause.OPERATOR] = (
                f"an operator paused intake ({by_hand.get('by')}, since {_time(by_hand)}): "
                f"{by_hand.get('reason')}"
            )
        stopped = stopped_at_limits(self._control)
        self._log_new(stopped)
        for cause in StopCause:
            values = [value for key, value in stopped.items() if key.split("/")[1] == cause]
            if values:
                since = min(map(_time, values))
                sentences = " ".join(dict.fromkeys(str(each.get("sentence")) for each in values))
                reasons[PauseCause(cause)] = (
                    f"{sentences} Paused since {since} until the command `resume`"
                )
        ended = frozenset(self.reasons.keys() - reasons.keys())
        self.reasons = reasons
        return ended

    def stop(self, error: StopError, held: Iterable[Record] = ()) -> None:
        """Pause at a limit; `held` are the records of the batch that hit it and is not planned."""
        fact = {"since": self._clock.now_ms(), "sentence": str(error), "by": socket.gethostname()}
        for partition, wanted in error.gaps.items():
            self._gaps[partition] = wanted
            known = self._control.get(_gap_key(partition))
            if known is None or known.get("wanted") != wanted:
                self._control.put(_gap_key(partition), {**fact, "wanted": wanted})
        if error.cause is StopCause.REJECT_LIMIT:
            self._stop_at_reject_limit(fact, _ends(held))
        self.refresh()

    def accepts(self, records: Iterable[Record]) -> bool:
        """Return whether `resume` accepted a batch with these records, whatever it holds."""
        fact = self._control.get(_REJECT_LIMIT)
        if fact is None or "resumed" not in fact:
            return False
        until: Mapping[str, int] = fact.get("until", {})
        return any(each.offset < until.get(_place(each), 0) for each in records)

    def take_accepted_gaps(self, assigned: Iterable[Partition]) -> list[Partition]:
        """Return, once each, the partitions with a gap here that `resume` accepted."""
        self._gaps = {each: self._gaps[each] for each in self._gaps.keys() & set(assigned)}
        accepted = [each for each, wanted in self._gaps.items() if self._is_accepted(each, wanted)]
        for partition in accepted:
            del self._gaps[partition]
            self._control.put(_gap_key(partition), None)
        return accepted

    def _stop_at_reject_limit(self, fact: ControlValue, until: Mapping[str, int]) -> None:
        """Pause, or add the held records of this replica to a pause that began already."""
        known = self._control.get(_REJECT_LIMIT)
        if known is None or "resumed" in known:
            self._control.put(_REJECT_LIMIT, {**fact, "until": until})
        elif until:
            self._control.put(
                _REJECT_LIMIT, {**known, "until": {**known.get("until", {}), **until}}
            )

    def _is_accepted(self, partition: Partition, wanted: int | None) -> bool:
        fact = self._control.get(_gap_key(partition))
        return fact is not None and "resumed" in fact and fact.get("wanted") == wanted

    def _log_new(self, stopped: Mapping[str, ControlValue]) -> None:
        """Log each pause at a limit once in this process, also one that an earlier one began."""
        for key, fact in stopped.items():
            if self._logged.get(key) != fact.get("since"):
                self._logged[key] = fact.get("since")
                log.error(
                    "Intake is paused at a limit. Look at the cause, then run the command "
                    "`resume`: it accepts what stopped intake here, and nothing else.",
                    code="paused_at_limit",
                    cause=key.split("/")[1],
                    since=_time(fact),
                    error=fact.get("sentence"),
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
        control.put(key, {**fact, "resumed": now_ms, "resumed_by": by})
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


def _gap_key(partition: Partition) -> str:
    return f"{PAUSED}{StopCause.GAP}/{partition.topic}/{partition.number}"


def _place(record: Record) -> str:
    return f"{record.topic}/{record.partition}"


def _ends(records: Iterable[Record]) -> dict[str, int]:
    """Return the offset after the last of these records, by topic/partition."""
    ends: dict[str, int] = {}
    for record in records:
        ends[_place(record)] = max(record.offset + 1, ends.get(_place(record), 0))
    return ends

"""Scripted faults: what goes wrong, for which requests, how often and for how long. Pure but dice.

A script is a list of faults, as JSON: `[{"act": "status", "status": 503, "count": 3}]`.
"""

import random
from enum import StrEnum
from typing import Literal

import msgspec

from processor.domain.clock import Clock, SystemClock


class Endpoint(StrEnum):
    """Which part of the platform misbehaves."""

    INLET = "inlet"
    IMS = "ims"
    PLATFORM = "platform"


class FaultAction(StrEnum):
    """What a fault does to a request."""

    LATENCY = "latency"
    """Answer after `delay` seconds, otherwise as ever; goes together with other faults."""
    STATUS = "status"
    """Answer `status` with Adobe's problem body, and `retry_after` where set."""
    ITEMS = "items"
    """Refuse `share` of the batch's messages with `item_status` in the shape `item_shape`."""
    ANSWER = "answer"
    """Answer `status` with the text `body`, whatever it is."""
    SHORT = "short"
    """Accept, and answer for all messages but the last."""
    RESET = "reset"
    """Cut the connection without an answer."""
    HALF = "half"
    """Accept, send half of the answer, cut the connection."""
    HANG = "hang"
    """Say nothing for `delay` seconds (an hour where 0), then cut the connection."""
    DRIP = "drip"
    """Accept, and spread the answer over `delay` seconds."""
    HUGE = "huge"
    """Accept, and pad the answer with `size` bytes."""
    EXPIRE = "expire"
    """Let every token expire, then go on as ever."""


class ScriptedFault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One fault; it acts on matching requests until it is used up.

    `accept` says whether the messages are taken although the sender hears otherwise (STATUS,
    ANSWER, RESET, HANG); the acts that say "accept" above always take them. `retry_after` is sent
    as it stands, except `date:N`, which becomes the HTTP date N seconds ahead.
    """

    act: FaultAction
    on: Endpoint = Endpoint.INLET
    inlet_id: str | None = None
    count: int | None = None
    """Requests it acts on; None = no end."""
    skip: int = 0
    """Matching requests it lets pass first."""
    probability: float = 1.0
    seconds: float | None = None
    """How long after it was added it acts; None = no end."""
    delay: float = 0.0
    status: int = 503
    retry_after: str | None = None
    body: str = ""
    accept: bool = False
    share: float = 0.5
    item_status: int = 400
    item_shape: Literal["status", "statusCode"] = "status"
    item_message: str = "Message has unknown xdm format"
    size: int = 10_000_000


class FaultPlan(msgspec.Struct, frozen=True):
    """What happens to one request: a wait, then perhaps a fault."""

    delay: float = 0.0
    fault: ScriptedFault | None = None


NO_FAULT = FaultPlan()


class _Armed:
    __slots__ = ("added_at", "fault", "seen", "used")

    def __init__(self, fault: ScriptedFault, now: float) -> None:
        self.fault = fault
        self.added_at = now
        self.seen = 0
        self.used = 0

    def over(self, now: float) -> bool:
        fault = self.fault
        spent = fault.count is not None and self.used >= fault.count
        return spent or (fault.seconds is not None and now - self.added_at >= fault.seconds)

    def hits(self, door: Endpoint, inlet_id: str, dice: random.Random) -> bool:
        fault = self.fault
        if fault.on is not door or fault.inlet_id not in (None, inlet_id):
            return False
        self.seen += 1
        if self.seen <= fault.skip or dice.random() >= fault.probability:
            return False
        self.used += 1
        return True


class FaultScript:
    """The faults in force, in the order they were added: the first that matches acts."""

    def __init__(self, clock: Clock | None = None, seed: int = 0) -> None:
        self._clock = clock or SystemClock()
        self._dice = random.Random(seed)  # noqa: S311  repeatable, not secret
        self._armed: list[_Armed] = []

    def add(self, *faults: ScriptedFault) -> None:
        """Put faults in force."""
        now = self._clock.monotonic()
        self._armed = [*self._armed, *(_Armed(fault, now) for fault in faults)]

    def clear(self) -> None:
        """End all faults."""
        self._armed = []

    def active(self) -> list[tuple[ScriptedFault, int]]:
        """Return the faults in force, and how many requests each has hit."""
        now = self._clock.monotonic()
        return [(armed.fault, armed.used) for armed in self._armed if not armed.over(now)]

    def plan(self, door: Endpoint, inlet_id: str = "") -> FaultPlan:
        """Return what happens to the next request through a door."""
        if not self._armed:
            return NO_FAULT
        now = self._clock.monotonic()
        self._armed = [armed for armed in self._armed if not armed.over(now)]
        delay = 0.0
        for armed in self._armed:
            if not armed.hits(door, inlet_id, self._dice):
                continue
            if armed.fault.act is not FaultAction.LATENCY:
                return FaultPlan(delay, armed.fault)
            delay += armed.fault.delay
        return FaultPlan(delay) if delay else NO_FAULT

    def refused(self, share: float, count: int) -> set[int]:
        """Return which of `count` items a fault of this share refuses: at least one."""
        hit = {index for index in range(count) if self._dice.random() < share}
        return hit or ({self._dice.randrange(count)} if count and share > 0 else set())


def read_script(text: bytes) -> list[ScriptedFault]:
    """Return the faults of a script, one object or a list; raises `msgspec.DecodeError`."""
    found = msgspec.json.decode(text, type=ScriptedFault | list[ScriptedFault])
    return found if isinstance(found, list) else [found]

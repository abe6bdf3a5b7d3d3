"""Scripted faults: what fails, for which requests, how often and for how long.

A script is a list of faults, as JSON: `[{"action": "status", "status": 503, "count": 3}]`.
"""

import random
from collections.abc import Sequence
from enum import StrEnum
from typing import Literal

import msgspec

from processor.domain.clock import Clock, SystemClock


class Endpoint(StrEnum):
    """The part of AEP that fails."""

    INLET = "inlet"
    IMS = "ims"
    PLATFORM = "platform"
    CJA = "cja"


class FaultAction(StrEnum):
    """What a fault does to a request."""

    LATENCY = "latency"
    """Respond after `delay` seconds, otherwise normally; can be combined with other faults."""
    STATUS = "status"
    """Respond with `status`, Adobe's error body, and `retry_after` if set."""
    ITEMS = "items"
    """Refuse `share` of the batch's messages with `item_status` in the shape `item_shape`."""
    RESPONSE = "response"
    """Respond with `status` and the text `body`."""
    SHORT = "short"
    """Accept, and omit the last message from the response."""
    RESET = "reset"
    """Reset the connection without a response."""
    HALF = "half"
    """Accept, send half of the response, reset the connection."""
    HANG = "hang"
    """Send nothing for `delay` seconds (0 = an hour), then reset the connection."""
    DRIP = "drip"
    """Accept, and send the response in pieces over `delay` seconds."""
    HUGE = "huge"
    """Accept, and pad the response with `size` bytes."""
    EXPIRE = "expire"
    """Make every token expire, then handle the request normally."""


class ScriptedFault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One fault; it applies to matching requests until it is used up.

    `accept` says whether the messages are accepted although the response says otherwise (STATUS,
    RESPONSE, RESET, HANG); the actions with "accept" above always accept them. `retry_after` is
    sent unchanged, except `date:N`, which becomes the HTTP date N seconds from now.
    """

    action: FaultAction
    on: Endpoint = Endpoint.INLET
    inlet_id: str | None = None
    count: int | None = None
    """Number of requests it applies to; None = unlimited."""
    skip: int = 0
    """Number of matching requests before the first it applies to."""
    probability: float = 1.0
    match: str = ""
    """Only requests that contain this text, such as an `_id` or the id of a person; with ITEMS,
    exactly the messages that do, in place of a share."""
    seconds: float | None = None
    """How long it is active after it was added; None = unlimited."""
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
    """What happens to one request: a delay, then perhaps a fault."""

    delay: float = 0.0
    fault: ScriptedFault | None = None


NO_FAULT = FaultPlan()


class _ActiveFault:
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

    def applies_to(
        self, endpoint: Endpoint, inlet_id: str, body: bytes, rng: random.Random
    ) -> bool:
        fault = self.fault
        if fault.on is not endpoint or fault.inlet_id not in (None, inlet_id):
            return False
        if fault.match.encode() not in body:
            return False
        self.seen += 1
        if self.seen <= fault.skip or rng.random() >= fault.probability:
            return False
        self.used += 1
        return True


class FaultScript:
    """The active faults, in the order they were added: the first that matches applies."""

    def __init__(self, clock: Clock | None = None, seed: int = 0) -> None:
        self._clock = clock or SystemClock()
        self._rng = random.Random(seed)  # noqa: S311  repeatable, not secret
        self._active: list[_ActiveFault] = []

    def add(self, *faults: ScriptedFault) -> None:
        """Activate faults."""
        now = self._clock.monotonic()
        self._active = [*self._active, *(_ActiveFault(fault, now) for fault in faults)]

    def clear(self) -> None:
        """End all faults."""
        self._active = []

    def active(self) -> list[tuple[ScriptedFault, int]]:
        """Return the active faults, and to how many requests each has applied."""
        now = self._clock.monotonic()
        return [(active.fault, active.used) for active in self._active if not active.over(now)]

    @property
    def by_content(self) -> bool:
        """Return whether any fault depends on what a request contains."""
        return any(active.fault.match for active in self._active)

    def plan(self, endpoint: Endpoint, inlet_id: str = "", body: bytes = b"") -> FaultPlan:
        """Return what happens to the next request to an endpoint; see `by_content`."""
        if not self._active:
            return NO_FAULT
        now = self._clock.monotonic()
        self._active = [active for active in self._active if not active.over(now)]
        delay = 0.0
        for active in self._active:
            if not active.applies_to(endpoint, inlet_id, body, self._rng):
                continue
            if active.fault.action is not FaultAction.LATENCY:
                return FaultPlan(delay, active.fault)
            delay += active.fault.delay
        return FaultPlan(delay) if delay else NO_FAULT

    def refused(self, fault: ScriptedFault, entities: Sequence[bytes]) -> set[int]:
        """Return the indexes of refused items: those that match, or a share, at least one."""
        if fault.match:
            text = fault.match.encode()
            return {index for index, entity in enumerate(entities) if text in entity}
        share, count = fault.share, len(entities)
        refused = {index for index in range(count) if self._rng.random() < share}
        return refused or ({self._rng.randrange(count)} if count and share > 0 else set())


def read_script(text: bytes) -> list[ScriptedFault]:
    """Return the faults of a script, one object or a list; raises `msgspec.DecodeError`."""
    found = msgspec.json.decode(text, type=ScriptedFault | list[ScriptedFault])
    return found if isinstance(found, list) else [found]

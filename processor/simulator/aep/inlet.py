"""The streaming inlet without HTTP: request bodies in, responses out, accepted events recorded.

Source: AEP Streaming Ingestion API (OpenAPI), "streaming multiple messages in a single request" and
the streaming ingestion limits.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec

from processor.domain.clock import Clock
from processor.simulator.aep.accepted_events import AcceptedEvents
from processor.simulator.aep.data_lake import DataLake, Row
from processor.simulator.aep.envelope import (
    UNREADABLE,
    Message,
    MessageVerdict,
    check_message,
    has_entity,
    read_batch,
    read_message,
)
from processor.simulator.aep.organisation import Organisation
from processor.simulator.aep.responses import (
    SimulatedResponse,
    batch_response,
    inlet_error,
    refused_item,
    single_response,
)


class RateLimits(msgspec.Struct, frozen=True):
    """The documented limits; 0 switches a rate off."""

    request_bytes: int = 1_048_576
    requests_per_second: float = 1_000
    messages_per_second: float = 10_000
    sync_validations_per_minute: float = 60
    sync_validation_supported: bool = True
    """False answers 501, as outside the VA7 region."""


class RateMeter:
    """A token bucket that holds one period's worth."""

    __slots__ = ("_clock", "_left", "_most", "_rate", "_read_at")

    def __init__(self, most: float, per_seconds: float, clock: Clock) -> None:
        self._clock = clock
        self._most = self._left = most
        self._rate = most / per_seconds
        self._read_at = clock.monotonic()

    def take(self, count: float) -> bool:
        """Return whether the bucket has enough, and if so take `count` from it.

        A `count` larger than the bucket is granted when the bucket is full; it then gets negative.
        """
        if not self._most:
            return True
        now = self._clock.monotonic()
        self._left = min(self._most, self._left + (now - self._read_at) * self._rate)
        self._read_at = now
        if self._left < min(count, self._most):
            return False
        self._left -= count
        return True


ItemFaults = Callable[[Sequence[bytes]], Mapping[int, bytes]]
"""Takes the entities of a batch, returns by index the item responses that a fault sets."""
_INVALID = "Invalid XDM Message Format"
_CACHED_VERDICTS = 4_096


class SimulatedInlets:
    """The inlets of an organisation; `item_shape` is the shape of refused items in a 207."""

    def __init__(
        self,
        organisation: Organisation,
        accepted_events: AcceptedEvents,
        data_lake: DataLake,
        limits: RateLimits,
        clock: Clock,
    ) -> None:
        self.item_shape: Literal["status", "statusCode"] = "status"
        self._organisation = organisation
        self._accepted_events = accepted_events
        self._data_lake = data_lake
        self._limits = limits
        self.clock = clock
        self._meters: dict[tuple[str, str], RateMeter] = {}
        self._verdicts: dict[tuple[str, bytes, bytes], MessageVerdict] = {}

    def forget_verdicts(self) -> None:
        """Forget cached verdicts; call it when something was registered."""
        self._verdicts.clear()

    def batch(
        self, inlet_id: str, body: bytes, request_id: str, item_faults: ItemFaults | None
    ) -> SimulatedResponse:
        """Accept a batch; the response is 207 even if messages are refused."""
        try:
            messages = read_batch(body)
        except UNREADABLE:
            return self._unreadable(inlet_id)
        if not self._count("messages", inlet_id, len(messages)):
            return _too_many()
        entities = [bytes(message.body.entity) for message in messages] if item_faults else []
        items = dict(item_faults(entities)) if item_faults else {}
        verdicts = [self._judge(message, inlet_id) for message in messages]
        for index, verdict in enumerate(verdicts):
            if verdict.refusal and index not in items:
                self._accepted_events.refusals[verdict.refusal] += 1
                items[index] = self._item(verdict, request_id, index)
        self._accept(messages, verdicts, items, request_id)
        return batch_response(inlet_id, request_id, self.clock.now_ms(), items, len(messages))

    def single(
        self, inlet_id: str, body: bytes, request_id: str, *, sync: bool
    ) -> SimulatedResponse:
        """Accept one message; with `sync` it is validated first, and refused if it fails."""
        try:
            message = read_message(body)
        except UNREADABLE:
            return self._unreadable(inlet_id)
        if sync and (refusal := self._sync_refusal(inlet_id)):
            return refusal
        if not self._count("messages", inlet_id, 1):
            return _too_many()
        verdict = self._judge(message, inlet_id)
        if verdict.refusal:
            self._accepted_events.refusals[verdict.refusal] += 1
            return inlet_error(400, _INVALID, verdict.refusal)
        report = self._data_lake.check(verdict.dataset_id, message.body.entity) if sync else []
        if report:
            named = f"inletId: [{inlet_id}] imsOrgId: [{self._organisation.org_id}]"
            return inlet_error(400, _INVALID, f"{named} Message is invalid", report)
        self._accept([message], [verdict], {}, request_id)
        passed = {"status": "pass"} if sync else None
        return single_response(inlet_id, request_id, self.clock.now_ms(), passed)

    def count_request(self, inlet_id: str) -> SimulatedResponse | None:
        """Count a request; return a 429 if the rate of the inlet is exceeded."""
        return None if self._count("requests", inlet_id, 1) else _too_many()

    def _judge(self, message: Message, inlet_id: str) -> MessageVerdict:
        if not has_entity(message):
            return check_message(message, self._organisation, inlet_id)
        key = (inlet_id, bytes(message.header), bytes(message.body.meta))
        verdict = self._verdicts.get(key)
        if verdict is None:
            if len(self._verdicts) >= _CACHED_VERDICTS:
                self._verdicts.clear()
            verdict = self._verdicts[key] = check_message(message, self._organisation, inlet_id)
        return verdict

    def _item(self, verdict: MessageVerdict, request_id: str, index: int) -> bytes:
        return refused_item(self.item_shape, 400, verdict.refusal, f"{request_id}-{index}")

    def _accept(
        self,
        messages: Sequence[Message],
        verdicts: Sequence[MessageVerdict],
        items: Mapping[int, bytes],
        request_id: str,
    ) -> None:
        rows: defaultdict[str, list[Row]] = defaultdict(list)
        now = self.clock.now_ms()
        for index, (message, verdict) in enumerate(zip(messages, verdicts, strict=True)):
            if index in items:
                continue
            flow = self._organisation.flows.get(verdict.flow_id)
            if flow is None or flow.takes(now):
                rows[verdict.dataset_id].append(Row(message, verdict.async_errors))
            else:  # without an error: documented as "data may be lost"
                self._accepted_events.dropped[verdict.dataset_id] += 1
        for dataset_id, accepted in rows.items():
            entities = [bytes(row.message.body.entity) for row in accepted]
            self._accepted_events.add(dataset_id, entities, request_id, now)
            self._data_lake.add(dataset_id, accepted)

    def _sync_refusal(self, inlet_id: str) -> SimulatedResponse | None:
        if not self._limits.sync_validation_supported:
            return inlet_error(
                501, "Not Implemented", "Synchronous validation is not supported here"
            )
        return None if self._count("sync", inlet_id, 1) else _too_many()

    def _count(self, what: str, inlet_id: str, count: int) -> bool:
        meter = self._meters.get((what, inlet_id))
        if meter is None:
            limits = self._limits
            most, seconds = {
                "requests": (limits.requests_per_second, 1.0),
                "messages": (limits.messages_per_second, 1.0),
                "sync": (limits.sync_validations_per_minute, 60.0),
            }[what]
            meter = self._meters[what, inlet_id] = RateMeter(most, seconds, self.clock)
        return meter.take(count)

    def _unreadable(self, inlet_id: str) -> SimulatedResponse:
        named = f"inletId: [{inlet_id}] imsOrgId: [{self._organisation.org_id}]"
        return inlet_error(400, _INVALID, f"{named} Message is not valid JSON")


def _too_many() -> SimulatedResponse:
    response = inlet_error(429, "Too Many Requests", "Rate limit of the inlet exceeded")
    return SimulatedResponse(429, response.body, {"Retry-After": "1"})

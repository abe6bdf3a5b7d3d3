"""The streaming inlet without its wire: bodies in, answers out, everything accepted in the ledger.

Source: AEP Streaming Ingestion API (OpenAPI) and "streaming multiple messages in a single request".
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from processor.domain.clock import Clock
from processor.simulator.aep.account import Organisation
from processor.simulator.aep.answers import (
    SimulatedResponse,
    batch_answer,
    item,
    problem,
    single_answer,
)
from processor.simulator.aep.envelope import (
    UNREADABLE,
    Message,
    MessageVerdict,
    has_entity,
    judge,
    read_batch,
    read_message,
)
from processor.simulator.aep.lake import Lake, Row
from processor.simulator.aep.ledger import AcceptedEvents
from processor.simulator.aep.limits import Meter, RateLimits

Spoil = Callable[[int], Mapping[int, bytes]]
"""Given the size of a batch, the responses that a fault puts in place of the real ones."""
_INVALID = "Invalid XDM Message Format"
_CACHED_VERDICTS = 4_096


class Collection:
    """The inlets of an account; `item_shape` is how refused items of a 207 look."""

    def __init__(
        self,
        account: Organisation,
        ledger: AcceptedEvents,
        lake: Lake,
        limits: RateLimits,
        clock: Clock,
    ) -> None:
        self.item_shape: Literal["status", "statusCode"] = "status"
        self._account = account
        self._ledger = ledger
        self._lake = lake
        self._limits = limits
        self.clock = clock
        self._meters: dict[tuple[str, str], Meter] = {}
        self._verdicts: dict[tuple[str, bytes, bytes], MessageVerdict] = {}

    def forget_verdicts(self) -> None:
        """Judge envelopes anew; call it when something was registered."""
        self._verdicts.clear()

    def batch(
        self, inlet_id: str, body: bytes, request_id: str, spoil: Spoil | None
    ) -> SimulatedResponse:
        """Take a batch; the answer is 207 whatever became of its messages."""
        try:
            messages = read_batch(body)
        except UNREADABLE:
            return self._unreadable(inlet_id)
        if not self._take("messages", inlet_id, len(messages)):
            return _too_many()
        items = dict(spoil(len(messages))) if spoil else {}
        verdicts = [self._judge(message, inlet_id) for message in messages]
        for index, verdict in enumerate(verdicts):
            if verdict.refusal and index not in items:
                self._ledger.refusals[verdict.refusal] += 1
                items[index] = self._item(verdict, request_id, index)
        self._accept(messages, verdicts, items, request_id)
        return batch_answer(inlet_id, request_id, self.clock.now_ms(), items, len(messages))

    def single(
        self, inlet_id: str, body: bytes, request_id: str, *, sync: bool
    ) -> SimulatedResponse:
        """Take one message; with `sync` it is validated first, and dropped where it fails."""
        try:
            message = read_message(body)
        except UNREADABLE:
            return self._unreadable(inlet_id)
        if sync and (hindrance := self._hindrance(inlet_id)):
            return hindrance
        if not self._take("messages", inlet_id, 1):
            return _too_many()
        verdict = self._judge(message, inlet_id)
        if verdict.refusal:
            self._ledger.refusals[verdict.refusal] += 1
            return problem(400, _INVALID, verdict.refusal)
        report = self._lake.check(verdict.dataset_id, message.body.entity) if sync else []
        if report:
            named = f"inletId: [{inlet_id}] imsOrgId: [{self._account.org_id}]"
            return problem(400, _INVALID, f"{named} Message is invalid", report)
        self._accept([message], [verdict], {}, request_id)
        passed = {"status": "pass"} if sync else None
        return single_answer(inlet_id, request_id, self.clock.now_ms(), passed)

    def too_fast(self, inlet_id: str) -> SimulatedResponse | None:
        """Count a request; return the 429 where the inlet's rate is exceeded."""
        return None if self._take("requests", inlet_id, 1) else _too_many()

    def _judge(self, message: Message, inlet_id: str) -> MessageVerdict:
        if not has_entity(message):
            return judge(message, self._account, inlet_id)
        key = (inlet_id, bytes(message.header), bytes(message.body.meta))
        verdict = self._verdicts.get(key)
        if verdict is None:
            if len(self._verdicts) >= _CACHED_VERDICTS:
                self._verdicts.clear()
            verdict = self._verdicts[key] = judge(message, self._account, inlet_id)
        return verdict

    def _item(self, verdict: MessageVerdict, request_id: str, index: int) -> bytes:
        return item(self.item_shape, 400, verdict.refusal, f"{request_id}-{index}")

    def _accept(
        self,
        messages: Sequence[Message],
        verdicts: Sequence[MessageVerdict],
        items: Mapping[int, bytes],
        request_id: str,
    ) -> None:
        rows: defaultdict[str, list[Row]] = defaultdict(list)
        for index, (message, verdict) in enumerate(zip(messages, verdicts, strict=True)):
            if index not in items:
                rows[verdict.dataset_id].append(Row(message, verdict.doomed))
        now = self.clock.now_ms()
        for dataset_id, taken in rows.items():
            entities = [bytes(row.message.body.entity) for row in taken]
            self._ledger.accept(dataset_id, entities, request_id, now)
            self._lake.take(dataset_id, taken)

    def _hindrance(self, inlet_id: str) -> SimulatedResponse | None:
        if not self._limits.sync_validation_supported:
            return problem(501, "Not Implemented", "Synchronous validation is not supported here")
        return None if self._take("sync", inlet_id, 1) else _too_many()

    def _take(self, what: str, inlet_id: str, count: int) -> bool:
        meter = self._meters.get((what, inlet_id))
        if meter is None:
            limits = self._limits
            most, seconds = {
                "requests": (limits.requests_per_second, 1.0),
                "messages": (limits.messages_per_second, 1.0),
                "sync": (limits.sync_validations_per_minute, 60.0),
            }[what]
            meter = self._meters[what, inlet_id] = Meter(most, seconds, self.clock)
        return meter.take(count)

    def _unreadable(self, inlet_id: str) -> SimulatedResponse:
        named = f"inletId: [{inlet_id}] imsOrgId: [{self._account.org_id}]"
        return problem(400, _INVALID, f"{named} Message is not valid JSON")


def _too_many() -> SimulatedResponse:
    answer = problem(429, "Too Many Requests", "Rate limit of the inlet exceeded")
    return SimulatedResponse(429, answer.body, {"Retry-After": "1"})

"""The worker of a route: packs its events, sends each request, and sends again what failed.

Order: requests first leave in the order their events came in; several may be in flight, and what is
sent again may arrive after what follows it. AEP orders events by timestamp, not by arrival.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from itertools import groupby
from typing import assert_never

import msgspec
from msgspec.structs import replace

from processor.domain.clock import Clock
from processor.domain.errors import InvariantError, UnavailableError
from processor.domain.event import ScoreEvent
from processor.domain.outcome import Cause
from processor.domain.retry import RetryPolicy, spread
from processor.sink.admission import Admission, AdmissionControl
from processor.sink.packing import InletDelivery, InletRequest, RequestPacker
from processor.sink.request import Exchange, RouteTransport
from processor.sink.response import Assessment, assess, retry_after_seconds
from processor.sink.route_metrics import RouteMetrics
from processor.sink.transport import InletResponse
from processor.sink.verdict import Action, Verdict

_MIN_TIMER_SECONDS = 0.005


class SendPolicy(msgspec.Struct, frozen=True):
    """When the requests of a route are sent, and sent again."""

    linger_seconds: float
    """How long a request that is not full waits for more events."""
    retry: RetryPolicy
    """The delays of a request after its failures in a row; it never gives up."""
    retry_after_cap_seconds: float
    """The longest pause that a `Retry-After` may ask for."""
    no_token_seconds: float
    """The pause while no token is granted; trying again costs the inlet nothing."""
    refused_token_seconds: float
    """The pause while the inlet refuses a new token; trying again costs it next to nothing."""


class _Attempt(msgspec.Struct, frozen=True):
    """A request that was sent once: its admission, the exchange, and what that means."""

    admission: Admission
    exchange: Exchange
    assessment: Assessment


class RouteWorker:
    """Drives each event of one route until it is accepted, refused permanently, or released.

    A request closes when it is full, or when it has lingered and none before it still waits for
    admission: while the inlet is behind, requests grow rather than queue. `sending` has the tasks
    that send, and what each of them has still to send.
    """

    def __init__(  # noqa: PLR0913  the steps it drives, and how
        self,
        packer: RequestPacker,
        transport: RouteTransport,
        admission: AdmissionControl,
        *,
        policy: SendPolicy,
        clock: Clock,
        metrics: RouteMetrics,
    ) -> None:
        self._packer = packer
        self._transport = transport
        self._admission = admission
        self._policy = policy
        self._clock = clock
        self._metrics = metrics
        self._tasks: asyncio.TaskGroup | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.sending: dict[asyncio.Task[None], deque[InletRequest]] = {}

    @property
    def unavailable_reason(self) -> str | None:
        """Why nothing is sent now, as a sentence; None while it is, or has nothing to send.

        An idle worker pauses nobody: only an event can find out that the inlet is available again.
        """
        busy = self.sending or self._packer.opened_at is not None
        return self._admission.unavailable_reason if busy else None

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Set the task group that the worker's tasks run in."""
        self._tasks = tasks

    def add(self, events: Sequence[ScoreEvent], delivery: InletDelivery) -> None:
        """Take over events of one delivery."""
        for request in self._packer.add(events, delivery, self._clock.monotonic()):
            self._dispatch(request)
        self._schedule_flush()

    def flush(self) -> None:
        """Send what is packed without lingering."""
        for request in self._packer.flush():
            self._dispatch(request)

    def release_revoked(self) -> None:
        """Release what is not to be sent any more; what is in flight is released when it is back.

        A task that is left with nothing to send ends once it is admitted.
        """
        self._packer.release_revoked()
        for remaining in self.sending.values():
            parts = [part for request in remaining if (part := request.without_revoked())]
            remaining.clear()
            remaining.extend(parts)

    def _schedule_flush(self) -> None:
        """Look at the open request again when it will have lingered."""
        opened_at = self._packer.opened_at
        if opened_at is not None and self._timer is None:
            due_at = opened_at + self._policy.linger_seconds
            delay = max(_MIN_TIMER_SECONDS, due_at - self._clock.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._flush_if_due)

    def _flush_if_due(self) -> None:
        self._timer = None
        opened_at = self._packer.opened_at
        if opened_at is None:
            return
        due = self._clock.monotonic() - opened_at >= self._policy.linger_seconds
        if due and not self._admission.waiting:
            self.flush()
        self._schedule_flush()

    def _dispatch(self, request: InletRequest) -> None:
        assert self._tasks is not None  # noqa: S101  for the type checker: start comes first
        remaining = deque([request])
        task = self._tasks.create_task(self._send_all(remaining))
        self.sending[task] = remaining
        task.add_done_callback(self.sending.pop)

    async def _send_all(self, remaining: deque[InletRequest]) -> None:
        """Send until nothing remains; what failed goes last, so that no event blocks the rest."""
        while remaining:
            async with self._admission.admit(len(remaining[0])) as admission:
                if not remaining:  # all of it was released while it waited
                    return
                failed, delay = await self._send(remaining.popleft(), admission)
            # A paused route delays the next admission itself.
            if delay and self._admission.unavailable_reason is None:
                await asyncio.sleep(delay)
            remaining.extend(part for request in failed if (part := request.without_revoked()))

    async def _send(
        self, request: InletRequest, admission: Admission
    ) -> tuple[list[InletRequest], float]:
        """Send a request once; return what is to be sent again, and the seconds to wait before.

        A probe is one event; the others of the request come after it. What failed comes last.
        """
        probes = admission.probe and len(request) > 1
        request, *again = request.cut(1) if probes else [request]
        exchange = await self._transport.send(request)
        assessment = assess(exchange.reply, request.events)
        attempt = _Attempt(admission, exchange, assessment)
        self._report_decided(request, attempt)
        delay = 0.0
        for verdict, indexes in assessment.retry.items():
            parts, seconds = await self._again(attempt, request.pick(indexes), verdict)
            again += parts
            delay = max(delay, seconds)
        return again, delay

    def _report_decided(self, request: InletRequest, attempt: _Attempt) -> None:
        """Report a response, and what was accepted and refused to each delivery.

        Accepted events of one delivery in a row are reported at once.
        """
        exchange, found = attempt.exchange, attempt.assessment
        if exchange.seconds is not None:
            retried = any(verdict.action is Action.RETRY for verdict in found.retry)
            ok = found.any_decided or not retried
            limit = attempt.admission.responded(exchange.seconds, ok=ok)
            self._metrics.responded(exchange.reply, exchange.seconds, found, limit)
            if found.any_decided:
                attempt.admission.succeeded()
        events, deliveries = request.events, request.deliveries
        if found.accepted:
            self._metrics.accepted([events[index] for index in found.accepted])
            for delivery, indexes in groupby(found.accepted, deliveries.__getitem__):
                delivery.accept([events[index] for index in indexes])
        if found.refused:
            self._metrics.refused([reject for _, reject in found.refused])
            for index, reject in found.refused:
                deliveries[index].refuse(events[index], reject)

    async def _again(
        self, attempt: _Attempt, part: InletRequest, verdict: Verdict
    ) -> tuple[list[InletRequest], float]:
        """Do what the verdict asks; return what is to be sent again, and the seconds to wait."""
        if verdict.in_doubt:
            self._metrics.in_doubt(len(part), verdict.cause)
            part = part.mark_in_doubt(verdict.cause)
        self._metrics.retried(verdict.cause)
        match verdict.action:
            case Action.SPLIT:
                attempt.admission.succeeded()
                return part.cut(len(part) // 2), 0.0
            case Action.RETRY:
                return self._retry(attempt, part, verdict.cause)
            case Action.RENEW:
                return [await self._renew_token(attempt, part)], 0.0
            case Action.PAUSE:
                self._pause(attempt.admission, verdict.cause)
                return [part], 0.0
            case Action.ACCEPT | Action.ITEMS | Action.REFUSE:
                raise InvariantError(f"An event that was judged {verdict.action} is sent again.")
            case _:
                assert_never(verdict.action)

    def _retry(
        self, attempt: _Attempt, part: InletRequest, cause: Cause
    ) -> tuple[list[InletRequest], float]:
        """Pause for as long as the inlet asks, or else return the delay of the policy.

        What fails again and again is halved: one event that makes the inlet fail, or a size that it
        does not even answer, does not block the others.
        """
        reply, cap = attempt.exchange.reply, self._policy.retry_after_cap_seconds
        header = reply.retry_after if isinstance(reply, InletResponse) else None
        asked = retry_after_seconds(header, self._clock.now_ms(), cap)
        if asked is not None:
            attempt.admission.pause(cause, spread(asked))
            return [part], 0.0
        if not attempt.assessment.any_decided:
            attempt.admission.failed(cause)
        delay = self._policy.retry.delay(part.failures)
        part = replace(part, failures=part.failures + 1)
        halve = part.failures > 1 and len(part) > 1
        return (part.cut(len(part) // 2) if halve else [part]), delay

    async def _renew_token(self, attempt: _Attempt, part: InletRequest) -> InletRequest:
        """Fetch a newer token for these events once; after that, pause."""
        auth, token = self._transport.auth, attempt.exchange.token
        if auth is None or token is None or part.token_renewed:
            self._pause(attempt.admission, Cause.AUTH)
            return replace(part, token_renewed=False)
        try:
            await auth.renew(token)
        except UnavailableError:
            self._pause(attempt.admission, Cause.TOKEN)
            return part
        return replace(part, token_renewed=True)

    def _pause(self, admission: Admission, cause: Cause) -> None:
        """Pause by the breaker's policy, but try often what costs the inlet next to nothing."""
        fixed = {
            Cause.TOKEN: self._policy.no_token_seconds,
            Cause.AUTH: self._policy.refused_token_seconds,
        }
        seconds = fixed.get(cause)
        admission.pause(cause, None if seconds is None else spread(seconds))

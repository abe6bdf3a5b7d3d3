"""The worker of a route: packs its events, sends each request, and sends again what failed.

An event that fails alone again and again is judged by `suspect.py`.

Order: requests first leave in the order their events came in; several may be in flight, and what is
sent again may arrive after what follows it. AEP orders events by timestamp, not by arrival.
"""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import assert_never

import msgspec
from msgspec.structs import replace

from processor.domain.clock import Clock
from processor.domain.errors import InvariantError, UnavailableError
from processor.domain.event import RetriedEvent, ScoreEvent
from processor.domain.outcome import Reason, Reject, Stage
from processor.domain.retry import RetryPolicy, spread
from processor.sink.admission import Admission, AdmissionControl
from processor.sink.packing import InletDelivery, InletRequest, RequestPacker
from processor.sink.request import Exchange, RouteTransport
from processor.sink.response import Assessment, assess, retry_after_seconds
from processor.sink.route_metrics import RouteMetrics
from processor.sink.suspect import (
    NEVER_SENT,
    Evidence,
    Failure,
    Suspect,
    SuspectReport,
    UndeliverableRule,
    log_undeliverable,
)
from processor.sink.transport import InletResponse
from processor.sink.verdict import Action, Cause, Verdict

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
    undeliverable: UndeliverableRule
    """When an event that fails alone is refused."""


class _Attempt(msgspec.Struct, frozen=True):
    """A request that was sent once: its admission, the exchange, and what that means.

    `sent` is how many events were in it, `failure` what is noted of those that failed.
    """

    admission: Admission
    exchange: Exchange
    assessment: Assessment
    sent: int
    failure: Failure


class RouteWorker:
    """Drives each event of one route until it is accepted, refused for good, or released.

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
        report: SuspectReport,
    ) -> None:
        self._packer = packer
        self._transport = transport
        self._admission = admission
        self._policy = policy
        self._clock = clock
        self._metrics = metrics
        self._report = report
        self._accepted = 0
        self._in_flight: dict[int, InletRequest] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.sending: dict[asyncio.Task[None], deque[InletRequest]] = {}
        self.window_full = False
        """Whether the window of batches has no room for other events; set from outside."""
        self.needs_others = False
        """Whether only other events can show what is at fault; they are to be let in."""

    @property
    def retried(self) -> tuple[RetriedEvent, ...]:
        """The events that fail alone again and again, longest first."""
        return self._report.retried

    @property
    def unavailable_reason(self) -> str | None:
        """Why nothing is sent now, as a sentence; None while it is, or has nothing to send.

        An idle worker pauses nobody: only an event can find out that the inlet is available again.
        Nor does one that needs other events to find out what is at fault.
        """
        busy = (self.sending or self._packer.opened_at is not None) and not self.needs_others
        return self._admission.unavailable_reason if busy else None

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Set the task group that the worker's tasks run in."""
        self._tasks = tasks

    def add(self, events: Sequence[ScoreEvent], delivery: InletDelivery) -> None:
        """Take over events of one delivery."""
        self.needs_others = False
        for request in self._packer.add(events, delivery, self._clock.monotonic()):
            self._dispatch(request)
        self._schedule_flush()

    def flush(self) -> None:
        """Send what is packed without lingering."""
        for request in self._packer.close():
            self._dispatch(request)

    def tick(self) -> None:
        """Report what fails; called about once a second."""
        outstanding = list(self._outstanding())
        suspects = [request.suspect for request in outstanding if request.suspect]
        now, waiting = self._clock.monotonic(), len(self._packer) + sum(map(len, outstanding))
        self.needs_others = waiting == sum(suspect.named for suspect in suspects) and any(
            suspect.needs_others(now, self._accepted) for suspect in suspects
        )
        self._report.update(suspects)
        failed = (request for request in outstanding if request.first)
        oldest = min(failed, key=_failed_at, default=None)
        self._report.paused(self._admission.unavailable_reason, oldest and oldest.retried())

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
                request = remaining.popleft()
                if admission.probe and len(request) > 1:  # a probe is one event
                    request, rest = request.cut(1)
                    remaining.appendleft(rest)
                failed, delay = await self._send(request, admission)
            remaining.extend(part for request in failed if (part := request.without_revoked()))
            await self._rest(remaining, delay)

    async def _rest(self, remaining: deque[InletRequest], delay: float) -> None:
        """Wait after a failure; a paused route delays the next admission itself.

        It does not for an event of which it is known that others work: probes are left to those.
        """
        fails_alone = remaining and remaining[0].suspect
        if not (fails_alone and fails_alone.others_work):
            if delay and self._admission.unavailable_reason is None:
                await asyncio.sleep(delay)
            return
        await asyncio.sleep(delay)
        while remaining and self._admission.unavailable_reason and self._others_wait():
            await asyncio.sleep(max(_MIN_TIMER_SECONDS, self._policy.retry.first_seconds))

    async def _send(
        self, request: InletRequest, admission: Admission
    ) -> tuple[list[InletRequest], float]:
        """Send a request once; return what is to be sent again, and the seconds to wait before."""
        self._in_flight[id(request)] = request
        exchange = await self._transport.send(request)
        assessment = assess(exchange.reply, request.events)
        failure = Failure(self._clock.monotonic(), self._clock.now_ms(), self._accepted)
        attempt = _Attempt(admission, exchange, assessment, len(request), failure)
        self._settle(request, attempt)
        again: list[InletRequest] = []
        delay = 0.0
        for verdict, indexes in assessment.retry.items():
            parts, seconds = await self._again(attempt, request.pick(indexes), verdict)
            again += parts
            delay = max(delay, seconds)
        del self._in_flight[id(request)]
        return again, delay

    def _settle(self, request: InletRequest, attempt: _Attempt) -> None:
        """Report a response, and what was accepted and refused to each delivery.

        Accepted events of one delivery in a row are reported at once.
        """
        exchange, found = attempt.exchange, attempt.assessment
        if exchange.seconds is not None:
            retried = any(verdict.action is Action.RETRY for verdict in found.retry)
            ok = found.any_settled or not retried
            limit = attempt.admission.responded(exchange.seconds, ok=ok)
            self._metrics.responded(exchange.reply, exchange.seconds, found, limit)
            if found.any_settled:
                attempt.admission.succeeded()
        events, deliveries = request.events, request.deliveries
        if found.accepted:
            self._accepted += len(found.accepted)
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
        part = part if part.first else replace(part, first=attempt.failure)
        if verdict.action is not Action.SPLIT:
            part = self._suspected(attempt, part, verdict.cause)
            if part.suspect is not None and part.suspect.at_fault:
                self._refuse_undeliverable(part, part.suspect)
                return [], 0.0
            if self._others_work(attempt, part, verdict):
                return self._delayed(attempt, part)
        match verdict.action:
            case Action.SPLIT:
                attempt.admission.succeeded()
                return part.cut(len(part) // 2), 0.0
            case Action.RETRY:
                return self._retry(attempt, part, verdict.cause)
            case Action.RENEW:
                return await self._renew_token(attempt, part), 0.0
            case Action.PAUSE:
                self._pause(attempt.admission, verdict.cause)
                return _fails_again(part), 0.0
            case Action.ACCEPT | Action.ITEMS | Action.REFUSE:
                raise InvariantError(f"An event that was judged {verdict.action} is sent again.")
            case _:
                assert_never(verdict.action)

    def _retry(
        self, attempt: _Attempt, part: InletRequest, cause: Cause
    ) -> tuple[list[InletRequest], float]:
        """Pause for as long as the inlet asks, or else return the delay of the policy."""
        asked = self._asked_seconds(attempt)
        if asked is not None:
            attempt.admission.pause(cause, spread(asked))
            return [part], 0.0
        if not attempt.assessment.any_settled:
            attempt.admission.failed(cause)
        return self._delayed(attempt, part)

    def _delayed(self, attempt: _Attempt, part: InletRequest) -> tuple[list[InletRequest], float]:
        """Return what to send again after a delay of the policy, and at least what is asked for."""
        delay = self._policy.retry.delay(part.failures)
        return _fails_again(part), max(delay, self._asked_seconds(attempt) or 0.0)

    def _asked_seconds(self, attempt: _Attempt) -> float | None:
        reply, cap = attempt.exchange.reply, self._policy.retry_after_cap_seconds
        header = reply.retry_after if isinstance(reply, InletResponse) else None
        return retry_after_seconds(header, self._clock.now_ms(), cap)

    async def _renew_token(self, attempt: _Attempt, part: InletRequest) -> list[InletRequest]:
        """Fetch a newer token for these events once; after that, pause."""
        auth, token = self._transport.auth, attempt.exchange.token
        if auth is None or token is None or part.token_renewed:
            self._pause(attempt.admission, Cause.AUTH)
            return _fails_again(replace(part, token_renewed=False))
        try:
            await auth.renew(token)
        except UnavailableError:
            self._pause(attempt.admission, Cause.TOKEN)
            return [part]
        return [replace(part, token_renewed=True)]

    def _suspected(self, attempt: _Attempt, part: InletRequest, cause: Cause) -> InletRequest:
        """Record the failure of one event that was alone in its request; return it so marked."""
        if attempt.sent > 1 or cause in NEVER_SENT or part.first is None:
            return part
        rule = self._policy.undeliverable
        suspect = part.suspect or Suspect(part.events[0], part.first, rule)
        now, unsettled = self._clock.monotonic(), self._unsettled()
        suspect.failed(cause, Evidence(now, self._accepted, unsettled, self.window_full))
        return replace(part, suspect=suspect)

    def _others_work(self, attempt: _Attempt, part: InletRequest, verdict: Verdict) -> bool:
        """Return whether this failure is none of the route: the inlet works for other events.

        A token that is refused or an address that is wrong would be so for the others, too.
        """
        if part.suspect is not None and verdict.cause not in NEVER_SENT:
            return part.suspect.others_work
        return attempt.assessment.any_settled and verdict.action is not Action.RETRY

    def _refuse_undeliverable(self, part: InletRequest, suspect: Suspect) -> None:
        """Refuse an event that is at fault; it may be in the dataset all the same."""
        (event,), (delivery,) = part.events, part.deliveries
        log_undeliverable(suspect, self._clock.monotonic())
        detail = (
            f"The inlet failed at this event {suspect.attempts} times, alone in its request, and "
            f"accepted {suspect.others} others meanwhile. The last answer: {suspect.cause}."
        )
        if not part.in_doubt:
            self._metrics.in_doubt(1, Cause.UNDELIVERABLE)
        delivery.doubt(event, Cause.UNDELIVERABLE)
        reject = Reject(Stage.DELIVER, Reason.UNDELIVERABLE, detail, model=event.model)
        self._metrics.refused([reject])
        delivery.refuse(event, reject)

    def _outstanding(self) -> Iterator[InletRequest]:
        """Yield the requests that are sent or wait to be; what lingers is not in one yet."""
        yield from self._in_flight.values()
        for remaining in self.sending.values():
            yield from remaining

    def _unsettled(self) -> int:
        return len(self._packer) + sum(map(len, self._outstanding()))

    def _others_wait(self) -> bool:
        """Return whether any event waits of which it is not known that others work."""
        return len(self._packer) > 0 or any(
            request.suspect is None or not request.suspect.others_work
            for request in self._outstanding()
        )

    def _pause(self, admission: Admission, cause: Cause) -> None:
        """Pause by the breaker's policy, but try often what costs the inlet next to nothing."""
        fixed = {
            Cause.TOKEN: self._policy.no_token_seconds,
            Cause.AUTH: self._policy.refused_token_seconds,
        }
        seconds = fixed.get(cause)
        admission.pause(cause, None if seconds is None else spread(seconds))


def _fails_again(part: InletRequest) -> list[InletRequest]:
    """Count a failure of events; what fails again and again is halved.

    So one event that makes the inlet fail, or a size that it does not even answer, does not block
    the others.
    """
    part = replace(part, failures=part.failures + 1)
    halve = part.failures > 1 and len(part) > 1
    return part.cut(len(part) // 2) if halve else [part]


def _failed_at(request: InletRequest) -> float:
    return request.first.at if request.first else 0.0

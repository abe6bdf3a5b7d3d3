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
from processor.domain.event import ScoreEvent
from processor.domain.outcome import Cause
from processor.domain.retry import RetryPolicy, spread
from processor.http.transport import HttpResponse
from processor.sink.admission import Admission, AdmissionControl
from processor.sink.packing import InletDelivery, InletRequest, RequestPacker
from processor.sink.request import Exchange, RouteTransport
from processor.sink.response import Assessment, assess, retry_after_seconds
from processor.sink.route_metrics import RouteMetrics
from processor.sink.suspect import NEVER_SENT, Failure
from processor.sink.suspects import RouteSuspects
from processor.sink.verdict import Action, Verdict

_MIN_TIMER_SECONDS = 0.005


class SendPolicy(msgspec.Struct, frozen=True):
    """When the requests of a route are sent, and sent again."""

    linger_seconds: float
    """How long a request that is not full waits for more events."""
    retry: RetryPolicy
    """The delays of a request after its failures in a row; it never gives up."""
    suspect_retry: RetryPolicy
    """The delays of an event that fails alone while others are accepted."""
    retry_after_cap_seconds: float
    """The longest pause that a `Retry-After` may ask for."""
    no_token_seconds: float
    """The pause while no token is granted; trying again costs the inlet nothing."""
    refused_token_seconds: float
    """The pause while the inlet refuses a new token; trying again costs it next to nothing."""


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
        suspects: RouteSuspects,
    ) -> None:
        self._packer = packer
        self._transport = transport
        self._admission = admission
        self._policy = policy
        self._clock = clock
        self._metrics = metrics
        self._in_flight: dict[int, InletRequest] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._timer: asyncio.Task[None] | None = None
        self.sending: dict[asyncio.Task[None], deque[InletRequest]] = {}
        self.suspects = suspects

    @property
    def unavailable_reason(self) -> str | None:
        """Why nothing is sent now, as a sentence; None while it is, or has nothing to send.

        An idle worker pauses no intake: only an event shows that the inlet is available again.
        Nor does one that needs other events to find out what is at fault.
        """
        busy = (
            self.sending or self._packer.opened_at is not None
        ) and not self.suspects.needs_others
        return self._admission.unavailable_reason if busy else None

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Set the task group that the worker's tasks run in."""
        self._tasks = tasks

    def add(self, events: Sequence[ScoreEvent], delivery: InletDelivery) -> None:
        """Take over events of one delivery."""
        self.suspects.needs_others = False
        for request in self._packer.add(events, delivery, self._clock.monotonic()):
            self._dispatch(request)
        self._schedule_flush()

    def flush(self) -> None:
        """Send what is packed without lingering."""
        for request in self._packer.flush():
            self._dispatch(request)

    def tick(self) -> None:
        """Report what fails; called about once a second."""
        self.suspects.update(
            list(self._outstanding()),
            unsettled=self._unsettled(),
            paused=self._admission.unavailable_reason,
        )

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
            assert self._tasks is not None  # noqa: S101  for the type checker: start comes first
            due_at = opened_at + self._policy.linger_seconds
            delay = max(_MIN_TIMER_SECONDS, due_at - self._clock.monotonic())
            # A task, not a timer: an error in a callback would be logged, and nothing sent again.
            self._timer = self._tasks.create_task(self._flush_if_due(delay))

    async def _flush_if_due(self, delay: float) -> None:
        await asyncio.sleep(delay)
        self._timer = None
        opened_at = self._packer.opened_at
        if opened_at is None:
            return
        due = self._clock.monotonic() - opened_at >= self._policy.linger_seconds
        if due and not self._admission.waiting:
            self.flush()
        self._schedule_flush()

    def _dispatch(self, request: InletRequest, delay: float = 0.0) -> None:
        assert self._tasks is not None  # noqa: S101  for the type checker: start comes first
        remaining = deque([request])
        task = self._tasks.create_task(self._send_all(remaining, delay))
        self.sending[task] = remaining
        task.add_done_callback(self.sending.pop)

    async def _send_all(self, remaining: deque[InletRequest], delay: float) -> None:
        """Send until nothing remains; what failed goes last, so that no event blocks the rest.

        An event that failed alone gets a task of its own, so that none waits for another's delays.
        """
        await self._rest(remaining, delay)
        while remaining:
            async with self._admission.admit(len(remaining[0])) as admission:
                if not remaining:  # all of it was released while it waited
                    return
                request = remaining.popleft()
                if admission.probe and len(request) > 1:  # a probe is one event
                    request, rest = request.cut(1)
                    remaining.appendleft(rest)
                failed, delay = await self._send(request, admission)
            for part in filter(None, (request.without_revoked() for request in failed)):
                if part.suspect and remaining:
                    self._dispatch(part, delay)
                else:
                    remaining.append(part)
            await self._rest(remaining, delay)

    async def _rest(self, remaining: deque[InletRequest], delay: float) -> None:
        """Wait after a failure; a paused route delays the next admission itself.

        It does not for an event of which it is known that others work: probes are left to those.
        """
        suspect = remaining[0].suspect if remaining else None
        if suspect is None or not suspect.others_work:
            if delay and self._admission.unavailable_reason is None:
                await asyncio.sleep(delay)
            return
        await asyncio.sleep(delay)
        while remaining and self._admission.unavailable_reason and self._others_wait():
            await self._admission.changed(self._policy.retry.first_seconds)

    async def _send(
        self, request: InletRequest, admission: Admission
    ) -> tuple[list[InletRequest], float]:
        """Send a request once; return what is to be sent again, and the seconds to wait before."""
        self._in_flight[id(request)] = request
        exchange = await self._transport.send(request)
        try:
            again, delay = await self._conclude(request, exchange, admission)
        except Exception:  # a fault of the program: the response is lost, what it said is unknown
            request.doubt_undecided(Cause.STOPPED)
            raise
        del self._in_flight[id(request)]
        return again, delay

    async def _conclude(
        self, request: InletRequest, exchange: Exchange, admission: Admission
    ) -> tuple[list[InletRequest], float]:
        """Report what a response decides; return what is to be sent again, and the wait."""
        assessment = assess(exchange.reply, request.events)
        attempt = _Attempt(admission, exchange, assessment, len(request), self.suspects.failure())
        self._report_decided(request, attempt)
        again: list[InletRequest] = []
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
            self.suspects.accepted(len(found.accepted))
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
        if attempt.sent == 1:
            part = self.suspects.failed_alone(part, verdict.cause, self._unsettled())
        if part.suspect is not None and part.suspect.at_fault:
            self.suspects.refuse(part, part.suspect)
            return [], 0.0
        if _is_of_the_event(attempt, part, verdict):
            if not self._others_wait():  # no other event can show that the inlet works
                attempt.admission.succeeded()
            return self._delayed(attempt, part)
        return await self._of_the_route(attempt, part, verdict)

    async def _of_the_route(
        self, attempt: _Attempt, part: InletRequest, verdict: Verdict
    ) -> tuple[list[InletRequest], float]:
        """Do what the verdict asks where the failure may be that of the route, not of an event."""
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
        if not attempt.assessment.any_decided:
            attempt.admission.failed(cause)
        return self._delayed(attempt, part)

    def _delayed(self, attempt: _Attempt, part: InletRequest) -> tuple[list[InletRequest], float]:
        """Return what to send again after a delay of the policy, and at least what is asked for."""
        of_event = part.suspect is not None and part.suspect.others_work
        policy = self._policy.suspect_retry if of_event else self._policy.retry
        delay = policy.delay(part.failures)
        return _fails_again(part), max(delay, self._asked_seconds(attempt) or 0.0)

    def _asked_seconds(self, attempt: _Attempt) -> float | None:
        reply, cap = attempt.exchange.reply, self._policy.retry_after_cap_seconds
        header = reply.retry_after if isinstance(reply, HttpResponse) else None
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


def _is_of_the_event(attempt: _Attempt, part: InletRequest, verdict: Verdict) -> bool:
    """Return whether a failure is none of the route: the inlet works for other events.

    A token that is refused or an address that is wrong would be so for the others, too.
    """
    if part.suspect is not None and verdict.cause not in NEVER_SENT:
        return part.suspect.others_work
    return attempt.assessment.any_decided and verdict.action not in (Action.RETRY, Action.SPLIT)

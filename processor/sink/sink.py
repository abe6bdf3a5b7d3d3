"""The sink: events are handed over on the main thread and sent from a thread of its own."""

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from functools import partial

from processor.domain.clock import Clock, Deadline
from processor.domain.errors import InvariantError
from processor.domain.event import RetriedEvent, ScoreEvent, SuspectHistory
from processor.domain.outcome import Reject
from processor.domain.record import Partition, Position
from processor.domain.retry import Retry, RetryPolicy
from processor.http.address import batch_url, check_addresses
from processor.http.auth import Auth
from processor.http.transport import Transport
from processor.settings import AepSettings, RetrySettings, RouteSettings
from processor.sink.admission import AdmissionControl, InletLimits
from processor.sink.limits import CircuitBreaker
from processor.sink.packing import InletDelivery, RequestPacker
from processor.sink.request import Envelope, RouteTransport
from processor.sink.route_metrics import RouteMetrics
from processor.sink.suspect import UndeliverableRule
from processor.sink.suspects import RouteSuspects
from processor.sink.worker import RouteWorker, SendPolicy
from processor.telemetry.metrics import Metrics

_START_SECONDS = 10.0
_TICK_SECONDS = 1.0
_CLOSE_GRACE_SECONDS = 1.0
_TOKEN_MAX_SECONDS = 5.0
_REFUSED_TOKEN_SECONDS = 4.5
_NOTICED_SECONDS = 4.5
"""The longest wait between looks at an inlet that fails, unless it asks for a longer one."""


class InletSink:
    """Sends score events to the inlets of their routes, and reports the result of each.

    There is one worker per route; routes to the same inlet share its limits. Raises SettingsError
    for addresses, headers and certificates that may not or cannot be used. An error of the program
    in the sink's thread is raised as InvariantError by the next call from outside.
    """

    def __init__(
        self, aep: AepSettings, routes: Sequence[RouteSettings], metrics: Metrics, clock: Clock
    ) -> None:
        check_addresses(aep, routes)
        self._clock = clock
        self._transport = Transport(aep)
        self._auth = _auth(aep, self._transport, metrics, clock)
        urls = {route.name: batch_url(route.inlet_url) for route in routes}
        self._inlets = {url: InletLimits(aep.limits, clock) for url in urls.values()}
        self._metrics = {
            route: (RouteMetrics(route, metrics, clock), self._inlets[url].rate)
            for route, url in urls.items()
        }
        self._workers = {route.name: self._worker(aep, route) for route in routes}
        for name, worker in self._workers.items():
            names = [each for each, url in urls.items() if url == urls[name] and each != name]
            worker.suspects.siblings = [self._workers[each].suspects for each in names]
        self._deliveries: list[InletDelivery] = []
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None
        self._close_deadline: Deadline | None = None
        self._started = threading.Event()
        self._crash: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="sink", daemon=True)

    @property
    def unavailable_reason(self) -> str | None:
        """Why nothing is sent now on some route, as a sentence; None while all routes send."""
        self._raise_crash()
        reasons = (worker.unavailable_reason for worker in self._workers.values())
        return next((reason for reason in reasons if reason), None)

    @property
    def needs_others(self) -> bool:
        """Whether only other events can show what is at fault: an inlet, or what it fails at."""
        return any(worker.suspects.needs_others for worker in self._workers.values())

    @property
    def retried(self) -> list[RetriedEvent]:
        """The events that fail alone in a request again and again, longest first."""
        found = [each for worker in self._workers.values() for each in worker.suspects.retried]
        return sorted(found, key=lambda each: each.since_ms)

    def set_window_full(self, *, full: bool) -> None:
        """Tell whether no more events are handed over until some are settled."""
        for worker in self._workers.values():
            worker.suspects.window_full = full

    def recall(self, histories: Mapping[str, SuspectHistory]) -> None:
        """Take over what is known of events that failed alone, by `RetriedEvent.key`."""
        for worker in self._workers.values():
            worker.suspects.known = histories

    def start(self) -> None:
        """Start the sink's thread."""
        self._thread.start()
        self._started.wait(_START_SECONDS)
        self._raise_crash()

    def deliver(self, events: Sequence[ScoreEvent]) -> InletDelivery:
        """Hand events over and return at once; the delivery has the result of each."""
        self._raise_crash()
        if self._close_deadline is not None:
            raise InvariantError("Events were handed to a sink that is closed.")
        delivery = InletDelivery(events)
        by_route: defaultdict[str, list[ScoreEvent]] = defaultdict(list)
        for event in events:
            by_route[event.route].append(event)
        if by_route:
            by_worker = [(self._workers[route], group) for route, group in by_route.items()]
            self._call(partial(self._add, by_worker, delivery))
        return delivery

    def forget(self, partitions: AbstractSet[Partition]) -> None:
        """Send nothing more of what was handed over of these partitions; returns at once.

        Their events are released, those in flight only where they would have to be sent again. What
        was in doubt stays so.
        """
        self._raise_crash()
        if self._close_deadline is None:
            self._call(partial(self._revoke, frozenset(partitions)))

    def skip(self, rejects: Mapping[Position, Reject]) -> None:
        """Refuse what was handed over of these records, with these rejects; returns at once.

        An event in flight is refused where it would have to be sent again. What was in doubt stays
        so.
        """
        self._raise_crash()
        if self._close_deadline is None:
            self._call(partial(self._skip, dict(rejects)))

    def close(self, seconds: float) -> None:
        """Send what can be sent within `seconds`, then stop, whatever the inlets do.

        What has no result by then stays so: its delivery is not done, and lists as in doubt what
        was in flight.
        """
        if self._close_deadline is not None:
            return
        self._close_deadline = Deadline(self._clock, seconds)
        if self._thread.ident is None:
            self._loop.close()
            return
        with suppress(RuntimeError):  # the loop is closed already if its thread crashed
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(seconds + _CLOSE_GRACE_SECONDS)
        self._raise_crash()

    def _call(self, function: Callable[[], None]) -> None:
        """Call a function in the sink's thread, where an error of it is a crash."""
        with suppress(RuntimeError):  # the loop is closed: its crash is raised by the next call
            self._loop.call_soon_threadsafe(self._guarded, function)

    def _guarded(self, function: Callable[[], None]) -> None:
        try:
            function()
        except Exception as error:  # noqa: BLE001  raised in the task group, which ends the thread
            assert self._tasks is not None  # noqa: S101  for the type checker: it is called inside
            self._tasks.create_task(_raise(error))

    def _add(
        self, by_worker: list[tuple[RouteWorker, list[ScoreEvent]]], delivery: InletDelivery
    ) -> None:
        self._deliveries = [each for each in self._deliveries if not each.done]
        self._deliveries.append(delivery)
        for worker, events in by_worker:
            worker.add(events, delivery)

    def _revoke(self, partitions: AbstractSet[Partition]) -> None:
        for delivery in self._deliveries:
            delivery.revoke(partitions)
        for worker in self._workers.values():
            worker.release_revoked()

    def _skip(self, rejects: Mapping[Position, Reject]) -> None:
        for delivery in self._deliveries:
            delivery.skip(rejects)
        for worker in self._workers.values():
            worker.release_revoked()

    def _worker(self, aep: AepSettings, route: RouteSettings) -> RouteWorker:
        clock, limits, envelope = self._clock, aep.limits, Envelope(aep, route)
        url, (metrics, _) = batch_url(route.inlet_url), self._metrics[route.name]
        retry = aep.retry
        rule = UndeliverableRule(
            retry.undeliverable_attempts, retry.undeliverable_seconds, retry.undeliverable_others
        )
        breaker = CircuitBreaker(_probing(aep.retry), aep.retry.breaker_failures)
        return RouteWorker(
            RequestPacker(
                max_bytes=limits.request_bytes - envelope.fixed_overhead,
                event_overhead=envelope.event_overhead,
                max_events=max(1, int(limits.messages_per_second)),
            ),
            RouteTransport(
                url=url,
                post=self._transport.post,
                auth=self._auth,
                headers={"Content-Type": "application/json", "x-sandbox-name": aep.sandbox_name},
                envelope=envelope,
                max_bytes=limits.request_bytes,
                clock=clock,
                metrics=metrics,
            ),
            AdmissionControl(route.name, breaker, self._inlets[url], clock=clock, metrics=metrics),
            policy=_send_policy(aep),
            clock=clock,
            metrics=metrics,
            suspects=RouteSuspects(route.name, rule, clock=clock, metrics=metrics),
        )

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._work())
        except BaseException as error:  # noqa: BLE001  handed to the main thread, which crashes
            self._crash = error
        finally:
            self._started.set()
            self._loop.close()

    async def _work(self) -> None:
        await self._transport.open()
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._serve(tasks)
        except* _StoppedError:
            pass
        finally:
            await self._transport.close()

    async def _serve(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks
        for worker in self._workers.values():
            worker.start(tasks)
        tasks.create_task(self._tick())
        if self._auth is not None:
            tasks.create_task(self._auth.keep())
        self._started.set()
        await self._stopping.wait()
        for worker in self._workers.values():
            worker.flush()
        deadline = self._close_deadline or Deadline(self._clock, 0.0)
        while (sending := self._sending()) and not deadline.over():
            await asyncio.wait(sending, timeout=deadline.left())
        raise _StoppedError

    def _sending(self) -> list[asyncio.Task[None]]:
        return [task for worker in self._workers.values() for task in worker.sending]

    async def _tick(self) -> None:
        while True:
            for inlet in self._inlets.values():
                inlet.rate.tick(self._clock.monotonic())
            for metrics, rate in self._metrics.values():
                metrics.quota(rate.requests.used_ratio, rate.messages.used_ratio)
            for worker in self._workers.values():
                worker.tick()
            await asyncio.sleep(_TICK_SECONDS)

    def _raise_crash(self) -> None:
        if self._crash is not None:
            raise InvariantError("The sink's thread has ended on an error.") from self._crash


class _StoppedError(Exception):
    """Ends the task group: its tasks are cancelled and awaited."""


async def _raise(error: Exception) -> None:
    raise error


def _auth(aep: AepSettings, transport: Transport, metrics: Metrics, clock: Clock) -> Auth | None:
    if aep.auth is None:
        return None
    longest = min(aep.retry.max_seconds, _TOKEN_MAX_SECONDS)
    retry = Retry(RetryPolicy(aep.retry.first_seconds, longest), clock)
    return Auth(aep.auth, transport.post, retry=retry, clock=clock, metrics=metrics)


def _backoff(retry: RetrySettings) -> RetryPolicy:
    return RetryPolicy(retry.first_seconds, retry.max_seconds)


def _probing(retry: RetrySettings) -> RetryPolicy:
    """Return when an inlet that fails is tried again, so that it is soon noticed to work."""
    return RetryPolicy(retry.first_seconds, min(retry.max_seconds, _NOTICED_SECONDS))


def _send_policy(aep: AepSettings) -> SendPolicy:
    return SendPolicy(
        linger_seconds=aep.limits.linger_seconds,
        retry=_probing(aep.retry),
        suspect_retry=_backoff(aep.retry),
        retry_after_cap_seconds=aep.retry.retry_after_cap_seconds,
        no_token_seconds=aep.retry.first_seconds,
        refused_token_seconds=min(aep.retry.max_seconds, _REFUSED_TOKEN_SECONDS),
    )

"""The sink's door: events are handed over on the main thread and sent from a thread of its own."""

import asyncio
import threading
from collections import defaultdict
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress

from processor.domain.clock import Clock, Deadline
from processor.domain.errors import InvariantError
from processor.domain.event import ScoreEvent
from processor.domain.record import Partition
from processor.settings import AepSettings, RouteSettings
from processor.sink.address import batch_url, check
from processor.sink.auth import Auth
from processor.sink.backoff import Backoff
from processor.sink.breaker import CircuitBreaker
from processor.sink.delivery import InletDelivery
from processor.sink.envelope import Envelope
from processor.sink.gate import AdmissionGate
from processor.sink.inlet import Inlet
from processor.sink.lane import RouteWorker
from processor.sink.packer import RequestPacker
from processor.sink.sender import RouteTransport, Sender
from processor.sink.tally import RouteMetrics
from processor.sink.transport import Transport
from processor.telemetry.metrics import Metrics

_START_SECONDS = 10.0
_TICK_SECONDS = 1.0
_GRACE_SECONDS = 1.0
_TOKEN_SECONDS = 5.0


class InletSink:
    """Sends score events to the inlets of their routes, and says what became of each.

    Raises SettingsError for addresses, headers and certificates that may not or cannot be used. An
    error of our own in the sink's thread is raised as InvariantError by the next call from outside.
    """

    def __init__(
        self, aep: AepSettings, routes: Sequence[RouteSettings], metrics: Metrics, clock: Clock
    ) -> None:
        check(aep, routes)
        self._clock = clock
        self._transport = Transport(aep)
        self._auth = _auth(aep, self._transport, metrics, clock)
        self._inlets = {
            url: Inlet(url, aep.limits, clock)
            for url in (batch_url(route.inlet_url) for route in routes)
        }
        self._tallies = {route.name: RouteMetrics(route.name, metrics, clock) for route in routes}
        self._lanes = {route.name: self._lane(aep, route) for route in routes}
        self._routes = {route.name: batch_url(route.inlet_url) for route in routes}
        self._open: list[InletDelivery] = []
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._drain: Deadline | None = None
        self._started = threading.Event()
        self._crash: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="sink", daemon=True)

    @property
    def unavailable_reason(self) -> str | None:
        """Why nothing is sent now on some route, in plain words; None while all routes are open."""
        self._raise_crash()
        return next(
            (lane.unavailable_reason for lane in self._lanes.values() if lane.unavailable_reason),
            None,
        )

    def start(self) -> None:
        """Start the sink's thread."""
        self._thread.start()
        self._started.wait(_START_SECONDS)
        self._raise_crash()

    def deliver(self, events: Sequence[ScoreEvent]) -> InletDelivery:
        """Hand events over and return at once; the delivery tells what becomes of them."""
        self._raise_crash()
        if self._drain is not None:
            raise InvariantError("Events were handed to a sink that is closed.")
        delivery = InletDelivery(events)
        by_route: defaultdict[str, list[ScoreEvent]] = defaultdict(list)
        for event in events:
            by_route[event.route].append(event)
        shares = [(self._lanes[route], share) for route, share in by_route.items()]
        if shares:
            self._loop.call_soon_threadsafe(self._take, shares, delivery)
        return delivery

    def forget(self, partitions: AbstractSet[Partition]) -> None:
        """Send nothing more of what was handed over of these partitions; returns at once.

        Their events are released, those under way in a request only where they would have to be
        sent again. What was in doubt stays so.
        """
        self._raise_crash()
        if self._drain is None:
            self._loop.call_soon_threadsafe(self._forget, frozenset(partitions))

    def close(self, seconds: float) -> None:
        """Send what can be sent in so many seconds, then stop, whatever the inlets do.

        What is not settled by then stays so: its delivery is not done, and lists as in doubt what
        was under way.
        """
        if self._drain is not None:
            return
        self._drain = Deadline(self._clock, seconds)
        if self._thread.ident is None:
            self._loop.close()
            return
        with suppress(RuntimeError):  # the loop is closed already if its thread crashed
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(seconds + _GRACE_SECONDS)
        self._raise_crash()

    def _take(
        self, shares: list[tuple[RouteWorker, list[ScoreEvent]]], delivery: InletDelivery
    ) -> None:
        self._open = [each for each in self._open if not each.done]
        self._open.append(delivery)
        for lane, events in shares:
            lane.take(events, delivery)

    def _forget(self, partitions: AbstractSet[Partition]) -> None:
        for delivery in self._open:
            delivery.forget(partitions)
        for lane in self._lanes.values():
            lane.sift()

    def _lane(self, aep: AepSettings, route: RouteSettings) -> RouteWorker:
        limits, envelope = aep.limits, Envelope(aep, route)
        inlet, tally = self._inlets[batch_url(route.inlet_url)], self._tallies[route.name]
        headers = {"Content-Type": "application/json", "x-sandbox-name": aep.sandbox_name}
        way = RouteTransport(
            self._transport.post, self._auth, headers, envelope, limits.request_bytes, aep.retry
        )
        backoff = Backoff(aep.retry.first_seconds, aep.retry.max_seconds)
        breaker = CircuitBreaker(backoff, aep.retry.breaker_failures)
        gate = AdmissionGate(route.name, inlet, breaker, clock=self._clock, tally=tally)
        packer = RequestPacker(
            room=limits.request_bytes - envelope.around,
            extra=envelope.between,
            most=max(1, int(limits.messages_per_second)),
        )
        sender = Sender(way, inlet, gate, clock=self._clock, tally=tally)
        return RouteWorker(packer, sender, gate, clock=self._clock, linger=limits.linger_seconds)

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
        for lane in self._lanes.values():
            lane.start(tasks)
        tasks.create_task(self._tick())
        if self._auth is not None:
            tasks.create_task(self._auth.keep())
        self._started.set()
        await self._stopping.wait()
        for lane in self._lanes.values():
            lane.flush()
        under_way = [task for lane in self._lanes.values() for task in lane.carrying]
        if under_way and self._drain is not None:
            await asyncio.wait(under_way, timeout=self._drain.left())
        raise _StoppedError

    async def _tick(self) -> None:
        while True:
            for inlet in self._inlets.values():
                inlet.budget.tick(self._clock.monotonic())
            for route, url in self._routes.items():
                budget = self._inlets[url].budget
                self._tallies[route].quota(budget.requests.used, budget.messages.used)
            await asyncio.sleep(_TICK_SECONDS)

    def _raise_crash(self) -> None:
        if self._crash is not None:
            raise InvariantError("The sink's thread has ended on an error.") from self._crash


class _StoppedError(Exception):
    """Ends the task group: its tasks are cancelled and waited for."""


def _auth(aep: AepSettings, transport: Transport, metrics: Metrics, clock: Clock) -> Auth | None:
    if aep.auth is None:
        return None
    backoff = Backoff(aep.retry.first_seconds, min(aep.retry.max_seconds, _TOKEN_SECONDS))
    return Auth(aep.auth, transport.post, clock=clock, metrics=metrics, backoff=backoff)

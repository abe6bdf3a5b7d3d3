"""The AEP simulator, assembled and served from a thread of its own on loopback."""

import asyncio
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
from aiohttp import web

from processor.domain.clock import Clock, SystemClock
from processor.domain.errors import UnavailableError
from processor.simulator.aep.accepted_events import AcceptedEvents, Retention
from processor.simulator.aep.catalog_api import CatalogApi
from processor.simulator.aep.cja_api import CjaApi, CjaState, RequestWindow
from processor.simulator.aep.cja_endpoint import CjaEndpoint
from processor.simulator.aep.control import (
    Registration,
    accepted_routes,
    fault_routes,
    page_route,
    register_route,
    summary,
)
from processor.simulator.aep.data_access_api import DataAccessApi
from processor.simulator.aep.data_lake import DataLake
from processor.simulator.aep.faults import FaultScript, ScriptedFault
from processor.simulator.aep.flow_service_api import FLOW_SECONDS, FlowServiceApi
from processor.simulator.aep.ims import Ims
from processor.simulator.aep.inlet import RateLimits, SimulatedInlets
from processor.simulator.aep.inlet_endpoint import InletEndpoint, InletGuard
from processor.simulator.aep.listing import Listing
from processor.simulator.aep.organisation import Dataset, Organisation, StreamingConnection
from processor.simulator.aep.platform_api import PlatformApis, PlatformEndpoint
from processor.simulator.aep.schema_registry_api import SchemaRegistryApi

_START_SECONDS = 10.0
_IDLE_SECONDS = 0.05
_SCHEMA_SECONDS = 900.0
"""For how long streaming validates by a cached schema (documented: 15 minutes)."""
_LIST_SECONDS = 10.0
"""For how long a new object is in no list (inferred)."""


class SimulatorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the simulator behaves without scripted faults."""

    host: str = "127.0.0.1"
    port: int = 0
    """0 picks a free port."""
    permissive: bool = False
    """Accept messages for unregistered inlets, flows and datasets."""
    token_seconds: float = 86_399
    expired_status: int = 401
    """Status for an expired or unknown token: 401 as documented, or 403 as in the OpenAPI."""
    limits: RateLimits = RateLimits()
    validate_every: int = 1
    """Validate every n-th row against the dataset's schema; 0 = none, 1 = all."""
    retention: Retention = Retention.EVENTS
    time_scale: float = 0.0
    """What AEP does late is late by this part of the usual time: new flows, changed schemas, lists.
    1 = as documented, 0 = at once."""
    page_size: int = 0
    """Most objects on a page of a list; 0 = as many as asked for."""
    file: str | None = None
    """Append every accepted event to this file, one JSON object a line."""


class AepSimulator:
    """IMS, streaming inlet, catalog, flow service, schema registry and CJA of one organisation.

    Use it as a context manager, or `start` and `close` it. `accepted_events` has what was accepted,
    `data_lake` what failed validation, `registry`, `catalog` and `flow_service` what was made,
    `cja` the connections, `faults` the fault script. The first two and the last are thread-safe.
    """

    def __init__(
        self,
        organisation: Organisation | None = None,
        settings: SimulatorSettings | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.settings = settings or SimulatorSettings()
        self.organisation = organisation or Organisation(permissive=self.settings.permissive)
        clock = clock or SystemClock()
        file = self.settings.file
        self.accepted_events = AcceptedEvents(self.settings.retention, Path(file) if file else None)
        self.data_lake = DataLake(clock, self.settings.validate_every)
        self.faults = FaultScript(clock)
        self.ims = Ims(self.organisation.credentials, clock, self.settings.token_seconds)
        self.url = ""
        scale, limits = self.settings.time_scale, self.settings.limits
        listing = Listing(clock, scale * _LIST_SECONDS, self.settings.page_size)
        self.registry = SchemaRegistryApi(self.organisation, listing, clock)
        self.catalog = CatalogApi(self.organisation, self.data_lake, self.registry, listing, clock)
        self.flow_service = FlowServiceApi(self.organisation, listing, clock, scale * FLOW_SECONDS)
        self._inlets = SimulatedInlets(
            self.organisation, self.accepted_events, self.data_lake, limits, clock
        )
        self.registry.changed = self._schema_changed
        self.catalog.created = self.data_lake.register
        self.flow_service.changed = self._inlets.forget_verdicts
        self.cja = CjaApi(
            self.organisation, CjaState(), RequestWindow(clock), self.accepted_events.last_at_ms
        )
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._error: OSError | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def register(
        self,
        *,
        inlet_id: str,
        flow_id: str,
        dataset: Dataset,
        authentication_required: bool = True,
    ) -> None:
        """Create, or replace, an inlet, a dataset and the flow between them.

        Raises `ValueError` if the dataset's schema is not a JSON Schema.
        """
        inlet = StreamingConnection(inlet_id, authentication_required)
        self._register(Registration(inlet, flow_id, dataset))

    def inlet_url(self, inlet_id: str) -> str:
        """Return the address of an inlet, as a connection's `inletUrl` has it."""
        return f"{self.url}/collection/{inlet_id}"

    def add_faults(self, *faults: ScriptedFault) -> None:
        """Activate faults."""
        self.faults.add(*faults)

    def clear_faults(self) -> None:
        """End all faults."""
        self.faults.clear()

    def expire_tokens(self) -> None:
        """Make every token expire now."""
        self.ims.expire_all()

    def summary(self) -> dict[str, Any]:
        """Return the counts of `GET /_simulator/accepted`."""
        return summary(self.accepted_events, self.data_lake)

    def events(self, dataset_id: str | None = None, last: int = 20) -> list[dict[str, Any]]:
        """Return the last accepted events, decoded, oldest first."""
        return [accepted.event() for accepted in self.accepted_events.events(dataset_id, last)]

    def failed_rows(self, dataset_id: str | None = None) -> list[dict[str, Any]]:
        """Return the accepted messages that failed validation, with `_errors`, oldest first."""
        return self.data_lake.failed_rows(dataset_id)

    def start(self) -> Self:
        """Serve from a thread; returns when the address is known.

        Raises `UnavailableError` if the port is in use.
        """
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="aep-simulator")
        self._thread.daemon = True
        self._thread.start()
        ready.wait(_START_SECONDS)
        if not self.url:
            detail = str(self._error or f"not ready after {_START_SECONDS:.0f} s")
            raise UnavailableError("AEP simulator", detail)
        return self

    def close(self) -> None:
        """Stop serving; may be called twice."""
        if self._thread is None or self._loop is None or self._stop is None:
            return
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_START_SECONDS)
        self._thread = None
        self.accepted_events.close()

    def application(self) -> web.Application:
        """Return the aiohttp application, for a loop of the caller's own."""
        guard = InletGuard(self.organisation, self.ims, self.settings.expired_status)
        inlet = InletEndpoint(self._inlets, guard, self.faults, self.accepted_events)
        platform = PlatformEndpoint(self.organisation, self.ims, self.faults, self._clock)
        cja = CjaEndpoint(self.organisation, self.ims, self.faults, self._clock)
        app = web.Application(client_max_size=self.settings.limits.request_bytes)
        app.add_routes(
            [
                web.post("/collection/batch/{inlet}", inlet.batch),
                web.post("/collection/{inlet}", inlet.single),
                *platform.routes(self._apis()),
                *cja.routes(self.cja),
                *fault_routes(self.faults, self.ims),
                *accepted_routes(self.accepted_events, self.data_lake),
                register_route(self._register),
                page_route(self.organisation, self.accepted_events, self.data_lake, self.faults),
            ]
        )
        return app

    def _apis(self) -> PlatformApis:
        access = DataAccessApi(self.data_lake)
        return PlatformApis(self.registry, self.catalog, self.flow_service, access)

    def _schema_changed(self, schema_id: str) -> None:
        seconds = _SCHEMA_SECONDS * self.settings.time_scale
        used_ms = self._clock.now_ms() + int(seconds * 1000)
        for dataset in list(self.organisation.datasets.values()):
            if dataset.schema_id == schema_id:
                changed = msgspec.structs.replace(dataset, schema=self.registry.closed(schema_id))
                self.organisation.datasets[dataset.id] = changed
                self.data_lake.register(changed, used_ms)

    def _register(self, registration: Registration) -> None:
        self.data_lake.register(registration.dataset)
        self.organisation.register(registration.inlet, registration.flow_id, registration.dataset)
        self._inlets.forget_verdicts()

    def _run(self, ready: threading.Event) -> None:
        try:
            asyncio.run(self._serve(ready))
        except OSError as error:
            self._error = error
        finally:
            ready.set()

    async def _serve(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        runner = web.AppRunner(
            self.application(), access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await runner.setup()
        try:
            site = web.TCPSite(runner, self.settings.host, self.settings.port)
            await site.start()
            host, port = runner.addresses[0][:2]
            self.url = f"http://{host}:{port}"
            ready.set()
            await self._validate_until(self._stop)
        finally:
            await runner.cleanup()

    async def _validate_until(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            queued = self.data_lake.validate_queued()
            await asyncio.sleep(0 if queued else _IDLE_SECONDS)

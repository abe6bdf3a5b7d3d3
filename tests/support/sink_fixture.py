"""A sink with two routes to a scripted inlet on real sockets."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from processor.domain.clock import SystemClock
from processor.settings import AepSettings, RouteSettings
from processor.sink.packing import InletDelivery
from processor.sink.sink import InletSink
from processor.telemetry.metrics import Metrics
from tests.support.inlet import (
    FakeInlet,
    Reaction,
)
from tests.support.score_events import score_events


@dataclass
class SinkFixture:
    """A sink with one route to a scripted inlet."""

    inlet: FakeInlet
    sink: InletSink
    metrics: Metrics

    def deliver(self, count: int = 5, *, size: int = 0, within: float = 10) -> InletDelivery:
        events = score_events(count, size=size)
        delivery = self.sink.deliver(events)
        assert delivery.wait(within), self.sink.unavailable_reason
        ends = {event.id for event in delivery.accepted} | {e.id for e, _ in delivery.refused}
        assert delivery.released == []
        assert ends == {event.id for event in events}
        assert len(delivery.accepted) + len(delivery.refused) == count
        return delivery

    @property
    def sizes(self) -> list[int]:
        return [len(request.ids) for request in self.inlet.requests]


@contextmanager
def sink_fixture(
    *script: Reaction,
    default: Reaction | None = None,
    auth: bool = True,
    retry: dict[str, Any] | None = None,
    limits: dict[str, Any] | None = None,
) -> Iterator[SinkFixture]:
    fast = {"first_seconds": 0.01, "max_seconds": 0.05, "request_deadline_seconds": 0.4}
    with FakeInlet(script, default) as inlet:
        client = {"token_url": inlet.token_url, "client_id": "id", "client_secret": "canary-secret"}
        settings = {
            "org_id": "A@AdobeOrg",
            "allow_hosts": ["127.0.0.1"],
            "allow_http": True,
            "auth": client if auth else None,
            "retry": fast | (retry or {}),
            "limits": {"linger_seconds": 0.01} | (limits or {}),
        }
        routes = [route("upgrade", inlet.url), route("churn", inlet.url)]
        metrics = Metrics()
        sink = InletSink(AepSettings.model_validate(settings), routes, metrics, SystemClock())
        sink.start()
        try:
            yield SinkFixture(inlet, sink, metrics)
        finally:
            sink.close(0)


def route(name: str, url: str) -> RouteSettings:
    return RouteSettings(
        name=name, models=[name], inlet_url=url, flow_id="f", dataset_id="d", schema_id="s"
    )

"""The metrics of one process, made from the catalogue."""

import platform
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    ProcessCollector,
    disable_created_metrics,
)

from processor.settings import RouteSettings
from processor.telemetry.catalogue import CATALOGUE, Kind, MetricRow
from processor.telemetry.histogram import BatchHistogram, Distribution
from processor.telemetry.labels import values_of

__all__ = ["PREFIX", "Metrics"]

PREFIX = "cai_"


class Metrics:
    """All metrics of the catalogue under their own names, in a registry that is passed in.

    `metrics.counter("commits", "ok").inc()`: the name as in the catalogue, then the label values in
    the catalogue's order. Children are cached, so a call costs a dictionary look-up.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # twice the series, no news
        self.registry = registry or CollectorRegistry()
        self._families = {row.name: _family(row, self.registry) for row in CATALOGUE}
        self._children: dict[tuple[str, ...], Any] = {}

    def counter(self, name: str, *labels: str) -> Counter:
        """Return the counter of these labels."""
        child: Counter = self._child(name, labels)
        return child

    def gauge(self, name: str, *labels: str) -> Gauge:
        """Return the gauge of these labels."""
        child: Gauge = self._child(name, labels)
        return child

    def histogram(self, name: str, *labels: str) -> Distribution:
        """Return the distribution of these labels."""
        child: Distribution = self._child(name, labels)
        return child

    def observe_all(self, values: Iterable[float], name: str, *labels: str) -> None:
        """Observe many values of one histogram at the price of a few."""
        self.histogram(name, *labels).observe_all(values)

    def forget(self, name: str, *labels: str) -> None:
        """Drop a series, as when a partition is revoked; an unknown one is fine."""
        if self._children.pop((name, *labels), None) is not None:
            self._families[name].remove(*labels)

    def value(self, name: str, *labels: str) -> float:
        """Return a counter's or gauge's current value, 0.0 where nothing was counted yet."""
        child = self._child(name, labels)
        return float(child._value.get())  # noqa: SLF001  the client has no public getter

    def total(self, name: str, **labels: str) -> float:
        """Return the sum over all series of a counter or gauge that carry these labels."""
        return sum(
            float(sample.value)
            for family in self._families[name].collect()
            for sample in family.samples
            if labels.items() <= sample.labels.items()
        )

    def prepare(self, routes: Sequence[RouteSettings], topics: Iterable[str]) -> None:
        """Begin every series whose labels are known at the start, with 0, for rates to see it."""
        known = {"route": tuple(route.name for route in routes), "topic": tuple(topics)}
        for row in CATALOGUE:
            for labels in _combinations(row, known):
                self._child(row.name, labels)
        for route in routes:
            self.gauge("route_info", route.name, route.dataset_id, route.schema_id).set(1)

    def about(self, version: str, librdkafka: str) -> None:
        """Say what runs, and expose the process's own processor time, memory, files and garbage."""
        self.gauge("build_info", version, librdkafka, platform.python_version()).set(1)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def balance(self) -> float:
        """Draw the balance: what was consumed and is neither settled, given back nor under way.

        To be called where the counters agree: at the end of a turn of the loop.
        """
        left = self.total("records_consumed") - self.total("records_settled")
        left -= self.total("records_released") + self.total("records_unsettled")
        self.gauge("unaccounted_records").set(left)
        return left

    def _child(self, name: str, labels: tuple[str, ...]) -> Any:  # noqa: ANN401
        key = (name, *labels)
        child = self._children.get(key)
        if child is None:
            family = self._families[name]
            child = family if not labels and hasattr(family, "inc") else family.labels(*labels)
            self._children[key] = child
        return child


def _family(row: MetricRow, registry: CollectorRegistry) -> Any:  # noqa: ANN401
    name = PREFIX + row.name
    if row.kind is Kind.COUNTER:
        return Counter(name, row.meaning, row.labels, registry=registry)
    if row.kind is Kind.GAUGE:
        return Gauge(name, row.meaning, row.labels, registry=registry)
    return BatchHistogram(
        name, row.meaning, labels=row.labels, buckets=row.buckets, registry=registry
    )


def _combinations(row: MetricRow, known: dict[str, tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    """Yield the label values a metric may have, nothing where only running shows them."""
    return product(*(known.get(label) or values_of(row.name, label) for label in row.labels))

"""The metrics of one process, made from the catalogue; names are attributes."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from processor.telemetry.catalogue import CATALOGUE, Kind, MetricRow

__all__ = ["PREFIX", "Metrics"]

PREFIX = "cai_"


class Metrics:
    """All metrics of the catalogue under their own names, in a registry that is passed in.

    `metrics.counter("commits", "ok").inc()`: the name as in the catalogue, then the label values in
    the catalogue's order. Children are cached, so a call costs a dictionary look-up.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
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

    def histogram(self, name: str, *labels: str) -> Histogram:
        """Return the histogram of these labels."""
        child: Histogram = self._child(name, labels)
        return child

    def forget(self, name: str, *labels: str) -> None:
        """Drop a series, as when a partition is revoked; an unknown one is fine."""
        if self._children.pop((name, *labels), None) is not None:
            self._families[name].remove(*labels)

    def value(self, name: str, *labels: str) -> float:
        """Return a counter's or gauge's current value, 0.0 where nothing was counted yet."""
        child = self._child(name, labels)
        return float(child._value.get())  # noqa: SLF001  the client has no public getter

    def _child(self, name: str, labels: tuple[str, ...]) -> Any:  # noqa: ANN401
        key = (name, *labels)
        child = self._children.get(key)
        if child is None:
            family = self._families[name]
            child = self._children[key] = family.labels(*labels) if labels else family
        return child


def _family(row: MetricRow, registry: CollectorRegistry) -> Any:  # noqa: ANN401
    name = PREFIX + row.name
    if row.kind is Kind.COUNTER:
        return Counter(name, row.meaning, row.labels, registry=registry)
    if row.kind is Kind.GAUGE:
        return Gauge(name, row.meaning, row.labels, registry=registry)
    return Histogram(name, row.meaning, row.labels, buckets=row.buckets, registry=registry)

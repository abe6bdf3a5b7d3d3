"""The metrics of one process, and a histogram that observes a whole batch at once.

Each metric is declared as a constant in `telemetry/catalogue.py`.
"""

import platform
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise, product
from threading import Lock
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from processor.settings import RouteSettings
from processor.telemetry.catalogue import (
    BUILD_INFO,
    CATALOGUE,
    RECORDS_CONSUMED,
    RECORDS_RELEASED,
    RECORDS_SETTLED,
    RECORDS_UNSETTLED,
    ROUTE_INFO,
    UNACCOUNTED_RECORDS,
)
from processor.telemetry.metric_types import (
    PREFIX,
    AnyMetric,
    CounterMetric,
    GaugeMetric,
    HistogramMetric,
    Kind,
    Labels,
    Metric,
)


class Distribution:
    """The buckets of one histogram series."""

    __slots__ = ("_bounds", "_counts", "_lock", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._lock = Lock()

    def observe(self, value: float) -> None:
        """Observe one value."""
        self.observe_all((value,))

    def observe_all(self, values: Iterable[float]) -> None:
        """Observe values; negative ones, from clocks that disagree, count as zero."""
        ordered = sorted(values)
        if ordered and ordered[0] < 0:
            ordered = [max(0.0, value) for value in ordered]
        edges = [0, *(bisect_right(ordered, bound) for bound in self._bounds), len(ordered)]
        with self._lock:
            for index, (start, end) in enumerate(pairwise(edges)):
                self._counts[index] += end - start
            self._sum += sum(ordered)

    def snapshot(self) -> tuple[list[int], float]:
        """Return the cumulative counts, the one for `+Inf` last, and the sum of all values."""
        with self._lock:
            return list(accumulate(self._counts)), self._sum


class BatchHistogram(Collector):
    """A family of distributions, exposed as a classic Prometheus histogram."""

    def __init__(
        self,
        name: str,
        meaning: str,
        *,
        labels: Sequence[str],
        buckets: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        self._family = (name, meaning, tuple(labels))
        self._bounds = tuple(float(bound) for bound in buckets)
        self._les = [*map(floatToGoString, self._bounds), "+Inf"]
        self._children: dict[tuple[str, ...], Distribution] = {}
        registry.register(self)
        if not labels:
            self.labels()

    def labels(self, *values: str) -> Distribution:
        """Return the series of these label values."""
        return self._children.setdefault(values, Distribution(self._bounds))

    def remove(self, *values: str) -> None:
        """Drop the series of these label values."""
        self._children.pop(values, None)

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """Yield the family without its series."""
        name, meaning, labels = self._family
        yield HistogramMetricFamily(name, meaning, labels=labels)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield the family with its current series."""
        name, meaning, labels = self._family
        family = HistogramMetricFamily(name, meaning, labels=labels)
        for values, child in sorted(self._children.items()):
            counts, total = child.snapshot()
            family.add_metric(values, list(zip(self._les, counts, strict=True)), total)
        yield family


class Metrics:
    """All metrics of the catalogue under their own names, in a registry that is passed in.

    `metrics.counter(COMMITS, AttemptResult.OK).inc()`: the metric, then its label values in order.
    Series are cached, so a call costs a dictionary look-up.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # twice the series for nothing
        self.registry = registry or CollectorRegistry()
        self._families = {metric: _family(metric, self.registry) for metric in CATALOGUE}
        self._children: dict[tuple[Any, ...], Any] = {}

    def counter(self, metric: CounterMetric[*Labels], *labels: *Labels) -> Counter:
        """Return the counter of these labels."""
        child: Counter = self._child(metric, labels)
        return child

    def gauge(self, metric: GaugeMetric[*Labels], *labels: *Labels) -> Gauge:
        """Return the gauge of these labels."""
        child: Gauge = self._child(metric, labels)
        return child

    def histogram(self, metric: HistogramMetric[*Labels], *labels: *Labels) -> Distribution:
        """Return the distribution of these labels."""
        child: Distribution = self._child(metric, labels)
        return child

    def observe_all(
        self, values: Iterable[float], metric: HistogramMetric[*Labels], *labels: *Labels
    ) -> None:
        """Observe many values of one histogram at once."""
        self.histogram(metric, *labels).observe_all(values)

    def forget(self, metric: Metric[*Labels], *labels: *Labels) -> None:
        """Drop a series, as when a partition is revoked; an unknown one is fine."""
        if self._children.pop((metric, *labels), None) is not None:
            self._families[metric].remove(*labels)

    def value(self, metric: Metric[*Labels], *labels: *Labels) -> float:
        """Return a counter's or gauge's current value, 0.0 where nothing was counted yet."""
        child = self._child(metric, labels)
        return float(child._value.get())  # noqa: SLF001  the client has no public getter

    def total(self, metric: AnyMetric, **labels: str) -> float:
        """Return the sum over all series of a counter or gauge that carry these labels."""
        return sum(
            float(sample.value)
            for family in self._families[metric].collect()
            for sample in family.samples
            if labels.items() <= sample.labels.items()
        )

    def prepare(self, routes: Sequence[RouteSettings], topics: Iterable[str]) -> None:
        """Create every series whose labels are known at the start, with 0, so that rates see it."""
        known = {"route": tuple(route.name for route in routes), "topic": tuple(topics)}
        for metric in CATALOGUE:
            values = [known.get(label.name, label.values) for label in metric.labels]
            for labels in metric.combinations or product(*values):
                self._child(metric, labels)
        for route in routes:
            self.gauge(ROUTE_INFO, route.name, route.dataset_id, route.schema_id).set(1)

    def describe_process(self, version: str, librdkafka: str) -> None:
        """Expose the versions, and the CPU time, memory and files of the process."""
        self.gauge(BUILD_INFO, version, librdkafka, platform.python_version()).set(1)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def balance(self) -> float:
        """Set and return `unaccounted_records`: 0 unless a record was lost or counted twice.

        To be called where the counters agree: at the end of a turn of the loop.
        """
        unaccounted = self.total(RECORDS_CONSUMED) - self.total(RECORDS_SETTLED)
        unaccounted -= self.total(RECORDS_RELEASED) + self.total(RECORDS_UNSETTLED)
        self.gauge(UNACCOUNTED_RECORDS).set(unaccounted)
        return unaccounted

    def _child(self, metric: AnyMetric, labels: tuple[Any, ...]) -> Any:  # noqa: ANN401
        key = (metric, *labels)
        child = self._children.get(key)
        if child is None:
            family = self._families[metric]
            child = family if not labels and hasattr(family, "inc") else family.labels(*labels)
            self._children[key] = child
        return child


def _family(metric: AnyMetric, registry: CollectorRegistry) -> Any:  # noqa: ANN401
    name, names = PREFIX + metric.name, [label.name for label in metric.labels]
    if metric.kind is Kind.COUNTER:
        return Counter(name, metric.meaning, names, registry=registry)
    if metric.kind is Kind.GAUGE:
        return Gauge(name, metric.meaning, names, registry=registry)
    return BatchHistogram(
        name, metric.meaning, labels=names, buckets=metric.buckets, registry=registry
    )

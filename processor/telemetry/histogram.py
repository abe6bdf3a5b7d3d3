"""A histogram that takes a batch of values at once; per value it costs a place in a sort."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from threading import Lock

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString

__all__ = ["BatchHistogram", "Distribution"]


class Distribution:
    """The buckets of one label set."""

    __slots__ = ("_bounds", "_counts", "_lock", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._lock = Lock()

    def observe(self, value: float) -> None:
        """Take one value."""
        self.observe_all((value,))

    def observe_all(self, values: Iterable[float]) -> None:
        """Take values; negative ones, which clocks that disagree give, count as zero."""
        ordered = sorted(values)
        if ordered and ordered[0] < 0:
            ordered = [max(0.0, value) for value in ordered]
        edges = [0, *(bisect_right(ordered, bound) for bound in self._bounds), len(ordered)]
        with self._lock:
            for place, (below, upto) in enumerate(pairwise(edges)):
                self._counts[place] += upto - below
            self._sum += sum(ordered)

    def snapshot(self) -> tuple[list[int], float]:
        """Return the cumulative counts, the one without a bound last, and the sum."""
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
        """Return the distribution of these label values."""
        return self._children.setdefault(values, Distribution(self._bounds))

    def remove(self, *values: str) -> None:
        """Drop the distribution of these label values."""
        self._children.pop(values, None)

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """Name the family without its values."""
        name, meaning, labels = self._family
        yield HistogramMetricFamily(name, meaning, labels=labels)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Render the family as it stands."""
        name, meaning, labels = self._family
        family = HistogramMetricFamily(name, meaning, labels=labels)
        for values, child in sorted(self._children.items()):
            counts, total = child.snapshot()
            family.add_metric(values, list(zip(self._les, counts, strict=True)), total)
        yield family

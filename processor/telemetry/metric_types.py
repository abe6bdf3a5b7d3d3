"""The types of metric declarations: mypy checks the number and the types of label values.

A metric is a constant of the catalogue, such as `RECORDS_SETTLED: CounterMetric[str, Outcome]`, and
`metrics.counter(RECORDS_SETTLED, topic, Outcome.DELIVERED)` takes its labels in that order.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeVar, TypeVarTuple, overload

PREFIX = "cai_"

Value = TypeVar("Value", bound=str)
A = TypeVar("A", bound=str)
B = TypeVar("B", bound=str)
C = TypeVar("C", bound=str)
Labels = TypeVarTuple("Labels")


class Kind(StrEnum):
    """What Prometheus calls the type of a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Label(Generic[Value]):
    """A label and its closed set of values; `values` is empty where they are open.

    Open are names that only a run shows, such as topics, routes and error codes.
    """

    def __init__(self, name: str, values: Iterable[Value] = ()) -> None:
        self.name = name
        self.values = tuple(values)


class LabelSet(Generic[*Labels]):
    """The labels of a metric, in order."""

    def __init__(self, *labels: Label[Any]) -> None:
        self.labels = labels


@overload
def labels() -> LabelSet[()]: ...
@overload
def labels(first: Label[A], /) -> LabelSet[A]: ...
@overload
def labels(first: Label[A], second: Label[B], /) -> LabelSet[A, B]: ...
@overload
def labels(first: Label[A], second: Label[B], third: Label[C], /) -> LabelSet[A, B, C]: ...
def labels(*each: Label[Any]) -> LabelSet[*tuple[Any, ...]]:
    """Return a label set whose type has the types of the label values."""
    return LabelSet(*each)


@dataclass(frozen=True, eq=False)
class Metric(Generic[*Labels]):
    """One metric. `name` has neither the `cai_` prefix nor a counter's `_total`.

    Every series whose label values are closed, or known from the settings, starts at 0. Where only
    some combinations of closed label values can occur, `combinations` has these.
    """

    kind: ClassVar[Kind]

    name: str
    meaning: str
    label_set: LabelSet[*Labels]
    buckets: tuple[float, ...] = ()
    combinations: tuple[tuple[str, ...], ...] = ()

    @property
    def labels(self) -> tuple[Label[Any], ...]:
        """Return the labels in order."""
        return self.label_set.labels

    @property
    def exposed_name(self) -> str:
        """Return the name under which Prometheus sees the metric."""
        return f"{PREFIX}{self.name}{'_total' if self.kind is Kind.COUNTER else ''}"


class CounterMetric(Metric[*Labels]):
    """A counter."""

    kind = Kind.COUNTER


class GaugeMetric(Metric[*Labels]):
    """A gauge."""

    kind = Kind.GAUGE


class HistogramMetric(Metric[*Labels]):
    """A histogram."""

    kind = Kind.HISTOGRAM


AnyMetric = Metric[*tuple[Any, ...]]
AnyCounter = CounterMetric[*tuple[Any, ...]]


class Counts:
    """Increments of counters, collected where nothing may be counted directly."""

    def __init__(self, counts: Iterable[tuple[AnyCounter, tuple[Any, ...], int]] = ()) -> None:
        self._counts = {(metric, labels): count for metric, labels, count in counts}

    def add(self, metric: CounterMetric[*Labels], *labels: *Labels, count: int = 1) -> None:
        """Add to the counter of these label values."""
        self._counts[metric, labels] = self._counts.get((metric, labels), 0) + count

    def __iter__(self) -> Iterator[tuple[AnyCounter, tuple[Any, ...], int]]:
        """Yield metric, label values and increment."""
        return ((metric, values, count) for (metric, values), count in self._counts.items())

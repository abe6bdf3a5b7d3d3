"""The catalogue of metrics: what mypy does not check."""

import ast
import re
from itertools import product
from typing import TYPE_CHECKING

import pytest

from processor.domain.outcome import Outcome
from processor.settings import RouteSettings
from processor.telemetry.catalogue import (
    CATALOGUE,
    COMMITS,
    FAILING_RECORD_INFO,
    KAFKA_ERRORS,
    LAG_RECORDS,
    RECORDS_CONSUMED,
    RECORDS_RELEASED,
    RECORDS_SETTLED,
    RECORDS_UNSETTLED,
    REQUESTS,
    UNACCOUNTED_RECORDS,
)
from processor.telemetry.labels import ReleaseCause
from processor.telemetry.metric_types import AnyMetric, Kind
from processor.telemetry.metrics import Metrics
from tests.support.settings import MINIMAL
from tests.support.tree import modules

ROUTES = tuple(f"route-{n}" for n in range(4))
UNITS = re.compile(r"(_seconds|_bytes|_ratio|_records|_info)$|^records_")
UNITLESS_GAUGES = {
    "assigned_partitions", "circuit_open", "paused_at_limit", "paused_partitions",
    "partitions_changed", "ready", "requests_in_flight", "requests_in_flight_limit",
    "state_entries",
}  # fmt: skip
UNITLESS_HISTOGRAMS = {"request_items", "score_value"}
OPEN: dict[AnyMetric, tuple[tuple[str, ...], ...]] = {
    REQUESTS: (ROUTES, ("202", "207", "400", "401", "413", "429", "500", "503", "timeout")),
    FAILING_RECORD_INFO: (ROUTES, ("customer-ai-scores/0/7",)),
    KAFKA_ERRORS: (("_TRANSPORT", "_ALL_BROKERS_DOWN", "_MAX_POLL_EXCEEDED"), ("true", "false")),
}
"""Series that only a run shows, all at once: a day on which everything fails."""

if TYPE_CHECKING:
    # Each line has an error that mypy has to find, or it reports the comment as unused.
    _metrics = Metrics()
    _metrics.counter("commits")  # type: ignore[arg-type]
    _metrics.gauge(RECORDS_SETTLED, "scores", Outcome.STORED)  # type: ignore[arg-type]
    _metrics.counter(RECORDS_SETTLED, "scores")  # type: ignore[misc]
    _metrics.counter(RECORDS_SETTLED, "scores", "stored")  # type: ignore[misc]
    _metrics.counter(RECORDS_SETTLED, "scores", ReleaseCause.LOST)  # type: ignore[misc]
    _metrics.counter(COMMITS, "fine")  # type: ignore[misc]


def test_no_metric_is_declared_twice() -> None:
    assert len({metric.name for metric in CATALOGUE}) == len(CATALOGUE)


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
def test_a_metric_is_named_as_prometheus_asks(metric: AnyMetric) -> None:
    name = metric.exposed_name

    assert re.fullmatch(r"cai_[a-z][a-z_]*", name)
    assert name.endswith("_total") is (metric.kind is Kind.COUNTER)
    assert not re.search(r"_(ms|milliseconds|minutes|kb|percent|count|sum|bucket)(_|$)", name)
    if metric.kind is Kind.GAUGE:
        assert UNITS.search(metric.name) or metric.name in UNITLESS_GAUGES
    if metric.kind is Kind.HISTOGRAM:
        assert UNITS.search(metric.name) or metric.name in UNITLESS_HISTOGRAMS
    assert all(re.fullmatch(r"[a-z][a-z_]*", label.name) for label in metric.labels)
    assert metric.meaning.endswith(".")


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
def test_only_histograms_have_buckets_and_they_ascend(metric: AnyMetric) -> None:
    assert bool(metric.buckets) is (metric.kind is Kind.HISTOGRAM)
    assert list(metric.buckets) == sorted(set(metric.buckets))


def test_every_metric_is_used() -> None:
    used = {
        node.id
        for path, tree in modules().items()
        if path.name != "catalogue.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.Name)
    }

    assert [metric.name for metric in CATALOGUE if metric.name.upper() not in used] == []


def test_series_stay_within_their_budget() -> None:
    """64 partitions of two topics, four routes, on a day on which everything fails."""
    metrics = Metrics()
    routes = [
        RouteSettings(**{**MINIMAL["routes"][0], "name": name, "dataset_id": f"d-{name}"})
        for name in ROUTES
    ]
    topics = ["customer-ai-scores", "experience-events"]
    metrics.prepare(routes, topics)
    metrics.describe_process("1.0.0", "2.16.0")
    known = {"topic": topics, "partition": [str(number) for number in range(64)]}
    for metric in CATALOGUE:
        names = [label.name for label in metric.labels]
        if "partition" in names:
            for labels in product(*(known[name] for name in names)):
                metrics.value(metric, *labels)

    for metric, open_values in OPEN.items():
        for labels in product(*open_values):
            metrics._child(metric, labels)  # noqa: SLF001  of any kind

    series = sum(len(family.samples) for family in metrics.registry.collect())

    assert series <= 1_500


def test_series_with_known_labels_start_at_zero() -> None:
    metrics = Metrics()
    metrics.prepare([RouteSettings(**MINIMAL["routes"][0])], ["scores"])

    sample = metrics.registry.get_sample_value
    assert sample("cai_records_settled_total", {"topic": "scores", "outcome": "dead_lettered"}) == 0
    assert sample("cai_items_total", {"route": "upgrade", "result": "accepted"}) == 0
    assert sample("cai_delivery_delay_seconds_count", {"route": "upgrade"}) == 0
    assert sample("cai_kafka_errors_total", {"code": "x", "fatal": "false"}) is None
    assert sample("cai_dead_letters_total", {"stage": "read", "reason": "bad_date"}) == 0
    assert sample("cai_dead_letters_total", {"stage": "route", "reason": "bad_date"}) is None


def test_every_counter_with_known_labels_is_there_at_zero() -> None:
    """Prometheus does not see the first increment of a series that begins with it."""
    metrics = Metrics()
    metrics.prepare([RouteSettings(**MINIMAL["routes"][0])], ["scores"])
    exposed = {family.name: family.samples for family in metrics.registry.collect()}
    known = {"route": ("upgrade",), "topic": ("scores",)}

    for metric in (each for each in CATALOGUE if each.kind is Kind.COUNTER):
        values = [known.get(label.name, label.values) for label in metric.labels]
        expected = {tuple(map(str, labels)) for labels in metric.combinations or product(*values)}
        samples = exposed[metric.exposed_name.removesuffix("_total")]
        totals = [each for each in samples if each.name == metric.exposed_name]

        assert {
            tuple(each.labels[label.name] for label in metric.labels) for each in totals
        } == expected, metric.name
        assert {each.value for each in totals} <= {0.0}, metric.name


def test_a_forgotten_series_is_no_longer_exposed() -> None:
    metrics = Metrics()
    metrics.gauge(LAG_RECORDS, "scores", "0").set(1)

    metrics.forget(LAG_RECORDS, "scores", "0")

    labels = {"topic": "scores", "partition": "0"}
    assert metrics.registry.get_sample_value("cai_lag_records", labels) is None


def test_the_balance_is_the_number_of_unaccounted_records() -> None:
    metrics = Metrics()
    metrics.counter(RECORDS_CONSUMED, "scores").inc(10)
    metrics.counter(RECORDS_SETTLED, "scores", Outcome.DELIVERED).inc(6)
    metrics.counter(RECORDS_RELEASED, "scores", ReleaseCause.REVOKED).inc(1)
    metrics.gauge(RECORDS_UNSETTLED).set(3)

    assert metrics.balance() == 0
    metrics.counter(RECORDS_CONSUMED, "events").inc()
    assert metrics.balance() == 1
    assert metrics.value(UNACCOUNTED_RECORDS) == 1

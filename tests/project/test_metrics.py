"""The catalogue of metrics, the code that counts, and the names Prometheus likes."""

import ast
import re
from itertools import product

import pytest

from processor.domain.outcome import Reason, Stage
from processor.settings import RouteSettings
from processor.telemetry.catalogue import CATALOGUE, CLOSED, Kind, MetricRow, exposed_name
from processor.telemetry.metrics import Metrics
from tests.support.paths import ROOT
from tests.support.settings import MINIMAL
from tests.support.tree import calls, modules

ROUTES = tuple(f"route-{n}" for n in range(4))
ROWS = {row.name: row for row in CATALOGUE}
BY_METHOD = {"counter": Kind.COUNTER, "gauge": Kind.GAUGE, "histogram": Kind.HISTOGRAM}
UNITS = re.compile(r"(_seconds|_bytes|_ratio|_records|_info)$|^records_")
UNITLESS_GAUGES = {
    "assigned_partitions", "circuit_open", "paused_partitions", "ready", "requests_in_flight",
    "requests_in_flight_limit", "state_entries",
}  # fmt: skip
UNITLESS_HISTOGRAMS = {"request_items", "score_value"}
CAUSES = tuple(f"cause-{n}" for n in range(17))
OPEN: dict[str, tuple[tuple[str, ...], ...]] = {
    "dead_letters": (tuple(Stage), tuple(Reason)),
    "requests": (ROUTES, ("202", "207", "400", "401", "413", "429", "500", "503", "timeout")),
    "request_duration_seconds": (ROUTES, ("moved", "split", "retry", "hold")),
    "retries": (ROUTES, CAUSES),
    "items_in_doubt": (ROUTES, CAUSES[:6]),
    "circuit_open": (ROUTES, CAUSES),
    "item_refusals": (ROUTES, ("refused", "event_too_large")),
    "score_movements": (ROUTES, tuple(f"{a}-{b}" for a in "lmh" for b in "lmh")),
    "kafka_errors": (("_TRANSPORT", "_ALL_BROKERS_DOWN", "_MAX_POLL_EXCEEDED"), ("true", "false")),
}
"""Labels whose values only running shows, and all of them at once: a very bad day."""
OWN = {"catalogue.py", "labels.py", "page.py", "metrics.py"}


def test_no_metric_is_declared_twice() -> None:
    assert len(ROWS) == len(CATALOGUE)


@pytest.mark.parametrize("row", CATALOGUE, ids=lambda row: row.name)
def test_a_metric_is_named_as_prometheus_asks(row: MetricRow) -> None:
    name = exposed_name(row)

    assert re.fullmatch(r"cai_[a-z][a-z_]*", name)
    assert name.endswith("_total") is (row.kind is Kind.COUNTER)
    assert not re.search(r"_(ms|milliseconds|minutes|kb|percent|count|sum|bucket)(_|$)", row.name)
    if row.kind is Kind.GAUGE:
        assert UNITS.search(row.name) or row.name in UNITLESS_GAUGES
    if row.kind is Kind.HISTOGRAM:
        assert UNITS.search(row.name) or row.name in UNITLESS_HISTOGRAMS
    assert all(re.fullmatch(r"[a-z][a-z_]*", label) for label in row.labels)
    assert row.meaning.endswith(".")


@pytest.mark.parametrize("row", CATALOGUE, ids=lambda row: row.name)
def test_only_histograms_have_buckets_and_they_ascend(row: MetricRow) -> None:
    assert bool(row.buckets) is (row.kind is Kind.HISTOGRAM)
    assert list(row.buckets) == sorted(set(row.buckets))


def test_every_metric_is_used_and_every_use_is_declared() -> None:
    words = {
        node.value
        for path, tree in modules().items()
        if path.name not in OWN
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    } | {"build_info", "route_info", "unaccounted_records"}

    assert sorted(ROWS.keys() - words) == []


def test_every_use_has_the_kind_and_the_labels_of_its_declaration() -> None:
    odd = []
    for path, tree in modules().items():
        for call in calls(tree):
            match call:
                case ast.Call(ast.Attribute(attr=method), [ast.Constant(str(name)), *labels]) if (
                    method in BY_METHOD and "metrics" in ast.unparse(call.func)
                ):
                    row = ROWS.get(name)
                    starred = any(isinstance(label, ast.Starred) for label in labels)
                    fits = row and row.kind is BY_METHOD[method]
                    if not fits or (not starred and row and len(labels) != len(row.labels)):
                        odd.append(f"{path.relative_to(ROOT)}:{call.lineno} {name}")

    assert odd == []


def test_label_values_in_the_code_are_of_the_closed_sets() -> None:
    odd = []
    for path, tree in modules().items():
        for call in calls(tree):
            match call:
                case ast.Call(ast.Attribute(attr=method), [ast.Constant(str(name)), *labels]) if (
                    method in BY_METHOD and name in ROWS
                ):
                    for label, value in zip(ROWS[name].labels, labels, strict=False):
                        closed = CLOSED.get((name, label))
                        if closed and isinstance(value, ast.Constant) and value.value not in closed:
                            odd.append(f"{path.relative_to(ROOT)}:{call.lineno} {value.value!r}")

    assert odd == []


def test_closed_sets_are_of_declared_labels() -> None:
    assert [key for key in CLOSED if key[1] not in ROWS[key[0]].labels] == []


def test_series_stay_within_their_budget() -> None:
    """64 partitions of two topics, four routes, on a day on which everything went wrong."""
    metrics = Metrics()
    routes = [
        RouteSettings(**{**MINIMAL["routes"][0], "name": name, "dataset_id": f"d-{name}"})
        for name in ROUTES
    ]
    topics = ["customer-ai-scores", "experience-events"]
    metrics.prepare(routes, topics)
    metrics.describe_process("1.0.0", "2.16.0")
    for row in CATALOGUE:
        if "partition" in row.labels:
            for number in range(64):
                for topic in topics:
                    values = {"partition": str(number), "topic": topic}
                    metrics.gauge(row.name, *(values[label] for label in row.labels))

    for name, open_values in OPEN.items():
        for labels in product(*open_values):
            getattr(metrics, ROWS[name].kind)(name, *labels)

    series = sum(len(family.samples) for family in metrics.registry.collect())

    assert series <= 1_500


def test_what_is_known_at_the_start_begins_at_zero() -> None:
    metrics = Metrics()
    metrics.prepare([RouteSettings(**MINIMAL["routes"][0])], ["scores"])

    sample = metrics.registry.get_sample_value
    assert sample("cai_records_settled_total", {"topic": "scores", "outcome": "dead_lettered"}) == 0
    assert sample("cai_items_total", {"route": "upgrade", "result": "accepted"}) == 0
    assert sample("cai_delivery_delay_seconds_count", {"route": "upgrade"}) == 0
    assert sample("cai_kafka_errors_total", {"code": "x", "fatal": "false"}) is None


def test_the_balance_is_the_number_of_unaccounted_records() -> None:
    metrics = Metrics()
    metrics.counter("records_consumed", "scores").inc(10)
    metrics.counter("records_settled", "scores", "delivered").inc(6)
    metrics.counter("records_released", "scores", "revoked").inc(1)
    metrics.gauge("records_unsettled").set(3)

    assert metrics.balance() == 0
    metrics.counter("records_consumed", "events").inc()
    assert metrics.balance() == 1
    assert metrics.value("unaccounted_records") == 1

"""The alerts, held against the metrics that exist, and against their tests."""

import re
from itertools import chain
from typing import Any

import pytest
import yaml

from processor.telemetry.catalogue import CATALOGUE
from processor.telemetry.metric_types import AnyMetric, Kind
from tests.support.paths import ROOT

FOLDER = ROOT / "deploy" / "observability" / "rules"
RULES: list[dict[str, Any]] = [
    rule
    for path in FOLDER.glob("*.yaml")
    for group in yaml.safe_load(path.read_text("utf-8"))["groups"]
    for rule in group["rules"]
]
ALERTS = [rule for rule in RULES if "alert" in rule]
METRICS = {metric.exposed_name: metric for metric in CATALOGUE}
TESTS = "".join(path.read_text("utf-8") for path in (FOLDER / "tests").glob("*_test.yaml"))
SELECTOR = re.compile(r"\b(cai_[a-z_]+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r"(\w+)\s*(=~|!~|!=|=)\s*\"([^\"]*)\"")
TARGET_LABELS = {"job", "instance"}


def selectors(text: str) -> list[tuple[AnyMetric, list[tuple[str, str, str]]]]:
    """Return the metrics of an expression, each with its matchers: label, operator, value."""
    return [(METRICS[name], MATCHER.findall(matchers)) for name, matchers in SELECTOR.findall(text)]


def wrong_matchers(text: str) -> list[str]:
    """Return the matchers that can match no series."""
    wrong = []
    for metric, matchers in selectors(text):
        values = {label.name: label.values for label in metric.labels}
        for label, _, value in matchers:
            if label in TARGET_LABELS:
                continue
            known = values.get(label)
            if known is None or (known and not set(value.split("|")) <= set(map(str, known))):
                wrong.append(f"{metric.exposed_name}: {label}={value}")
    return wrong


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_names_metrics_and_label_values_that_exist(rule: dict[str, Any]) -> None:
    assert wrong_matchers(rule["expr"]) == []


def test_the_tests_use_series_that_exist() -> None:
    series = re.findall(r"- series: (cai_.*)", TESTS)

    assert len(series) > 50
    assert list(chain.from_iterable(map(wrong_matchers, series))) == []


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_says_how_bad_it_is_and_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"page", "ticket"}
    assert alert["labels"]["slo"] in {
        "accounted", "settled_in_time", "fresh", "correct", "duplicates",
    }  # fmt: skip
    assert alert["annotations"].keys() == {"summary", "description", "runbook"}
    assert alert["annotations"]["summary"].endswith(".")
    assert (ROOT / alert["annotations"]["runbook"]).is_file()


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_is_tested(alert: dict[str, Any]) -> None:
    name = re.escape(alert["alert"])

    assert re.search(f'alertname(: |="){name}\\b', TESTS)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_a_counter_that_an_alert_names_is_there_from_the_start(alert: dict[str, Any]) -> None:
    """Its first increment would be invisible: `increase` needs a sample before it."""
    counters = [m for m, _ in selectors(alert["expr"]) if m.kind is Kind.COUNTER]
    open_labels = [
        f"{metric.exposed_name}: {label.name}"
        for metric in counters
        for label in metric.labels
        if not label.values and label.name not in {"topic", "route"}
    ]

    assert open_labels == []

"""`check` without a network: its results for settings, and its output."""

import json
from pathlib import Path
from typing import Any

import pytest

from processor.cli.check import check, offline_results
from processor.domain.check_result import CheckResult, CheckStatus
from tests.support.paths import ROOT
from tests.support.settings import MINIMAL, settings_with

ROUTE = MINIMAL["routes"][0]
OTHER = {**ROUTE, "name": "churn", "models": ["Likelihood to churn"], "dataset_id": "dataset-2"}


def failures(changes: dict[str, Any]) -> list[CheckResult]:
    return [f for f in offline_results(settings_with(changes)) if f.mark is CheckStatus.FAIL]


def test_good_settings_pass_every_check() -> None:
    assert {result.mark for result in offline_results(settings_with())} == {CheckStatus.OK}


@pytest.mark.parametrize(
    ("changes", "name", "sentence"),
    [
        ({"routes/0/inlet_url": "http://dcs.adobedc.net/collection/1"}, "addresses", "https"),
        ({"routes/0/inlet_url": "https://example.org/collection/1"}, "addresses", "allow_hosts"),
        ({"routes/0/inlet_url": "https://dcs.adobedc.net/x"}, "addresses", "/collection/"),
        (
            {"aep/auth": {"client_id": "x", "client_secret_file": "/nowhere/at/all"}},
            "client secret",
            "aep.auth.client_secret cannot be read from /nowhere/at/all",
        ),
        ({"routes/0/schema_file": "/nowhere.json"}, "routes", "/nowhere.json"),
        (
            {"kafka/scores": {"topics": ["a"], "format": "avro-plain", "schema_name": "none.v1"}},
            "record schemas",
            "none.v1",
        ),
        (
            {"routes/0/models": ["likelihood*"], "routes/1": OTHER},
            "routes",
            "`Likelihood to churn` of the route churn goes to the route upgrade.",
        ),
    ],
)
def test_problems_are_found_without_a_network(
    changes: dict[str, Any], name: str, sentence: str
) -> None:
    found = failures(changes)

    assert [result.name for result in found] == [name]
    assert sentence in found[0].sentence


def test_doubtful_settings_are_warned_about_and_pass() -> None:
    found = list(offline_results(settings_with({"stop/drain_seconds": 90})))

    assert [f.sentence for f in found if f.mark is CheckStatus.WARN] == [
        "A stop may take 98 s: give the container a grace period above that."
    ]


def test_invalid_settings_exit_with_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text("kafka: {grup_id: x}\n", encoding="utf-8")

    code = check(config, as_json=True)
    text = capsys.readouterr().out

    assert code == 2
    assert {row["mark"] for row in json.loads(text)} == {"fail"}
    assert "did you mean kafka.group_id?" in text


def test_problems_exit_with_one_and_name_the_setting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text((ROOT / "deploy/config/minimal.yaml").read_text(encoding="utf-8"), "utf-8")

    code = check(config)
    text = capsys.readouterr().out

    assert code == 1
    assert "FAIL" in text
    assert "client_secret" in text

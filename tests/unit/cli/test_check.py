"""`check` without a network: what it says of settings, and how it says it."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from processor.cli.check import check_settings, offline_results
from processor.domain.check_result import CheckResult, CheckStatus
from tests.support.paths import ROOT
from tests.support.settings import MINIMAL, settings_with

ROUTE = MINIMAL["routes"][0]
OTHER = {**ROUTE, "name": "churn", "models": ["Likelihood to churn"], "dataset_id": "dataset-2"}


def failures(changes: dict[str, Any]) -> list[CheckResult]:
    return [f for f in offline_results(settings_with(changes)) if f.mark is CheckStatus.FAIL]


def test_good_settings_have_nothing_to_find() -> None:
    assert {result.mark for result in offline_results(settings_with())} == {CheckStatus.OK}


@pytest.mark.parametrize(
    ("changes", "name", "said"),
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
            "The route upgrade takes `Likelihood to churn` before churn is asked.",
        ),
    ],
)
def test_what_is_wrong_is_found_without_a_network(
    changes: dict[str, Any], name: str, said: str
) -> None:
    found = failures(changes)

    assert [result.name for result in found] == [name]
    assert said in found[0].sentence


def test_doubtful_settings_are_remarked_on_and_pass() -> None:
    found = list(offline_results(settings_with({"stop/drain_seconds": 90})))

    assert [f.sentence for f in found if f.mark is CheckStatus.WARN] == [
        "A stop may take 98 s: give the container a grace period above that."
    ]


def run(config: Path, *, as_json: bool) -> tuple[int, str]:
    stream = io.StringIO()
    console = Console(file=stream, width=100)
    return check_settings(config, online=False, as_json=as_json, console=console), stream.getvalue()


def test_settings_that_cannot_be_used_exit_with_two(tmp_path: Path) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text("kafka: {grup_id: x}\n", encoding="utf-8")

    code, text = run(config, as_json=True)

    assert code == 2
    assert {row["mark"] for row in json.loads(text)} == {"fail"}
    assert "did you mean kafka.group_id?" in text


def test_problems_exit_with_one_and_say_what_to_do(tmp_path: Path) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text((ROOT / "deploy/config/minimal.yaml").read_text(encoding="utf-8"), "utf-8")

    code, text = run(config, as_json=False)

    assert code == 1
    assert "FAIL" in text
    assert "client_secret" in text

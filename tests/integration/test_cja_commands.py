"""`cja verify` and `predictions list` against the simulator, as their users run them."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from processor.cli.main import app
from processor.simulator.aep.cja_api import CjaAccess, CjaConnection, CjaDataset, CjaState
from processor.simulator.aep.organisation import PROFILE_CLASS, CatalogBatch, Dataset
from processor.simulator.aep.simulator import AepSimulator
from processor.simulator.environment import SimulatedEnvironment
from processor.telemetry.catalogue import (
    SCORE_RUN_LAST_DATE_TIMESTAMP_SECONDS,
    SCORE_RUN_LAST_SEEN_TIMESTAMP_SECONDS,
    SCORE_RUN_RECORDS,
)

Simulated = SimulatedEnvironment[AepSimulator]
UUID = "7110bb3e-76ce-4201-90bb-3e7656000001"
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def environment() -> Iterator[Simulated]:
    with SimulatedEnvironment(AepSimulator()) as running:
        yield running


@pytest.fixture
def config(environment: Simulated, tmp_path: Path) -> Path:
    tree = environment.settings(tmp_path / "state")
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


def connect(
    environment: Simulated, *, access: CjaAccess = CjaAccess.FULL, streaming: bool = True
) -> None:
    """Connect every dataset and one of behaviour; `streaming` is that of the first dataset."""
    ids = list(environment.simulator.organisation.datasets)
    datasets = [
        CjaDataset(ids[0], "First", streaming=streaming),
        *(CjaDataset(each, each) for each in ids[1:]),
        CjaDataset("web", "Web"),
    ]
    connection = CjaConnection(UUID, "Main", tuple(datasets))
    environment.simulator.cja.replace(CjaState(access, (connection,)))


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, arguments)
    return done.exit_code, done.output


def verified(config: Path) -> tuple[int, dict[str, dict[str, Any]]]:
    code, output = run("cja", "verify", "-c", str(config), "--metrics", NOWHERE, "--json")
    return code, {row["name"]: row for row in json.loads(output)}


def test_connected_datasets_pass(environment: Simulated, config: Path) -> None:
    connect(environment)

    code, rows = verified(config)

    assert code == 0
    assert {row["mark"] for row in rows.values()} == {"ok", "warn"}  # nothing is ingested yet
    assert len([name for name in rows if name.startswith("connection of")]) == 3


def test_what_is_missing_is_printed_as_clicks(environment: Simulated, config: Path) -> None:
    connect(environment, streaming=False)

    code, output = run("cja", "verify", "-c", str(config), "--metrics", NOWHERE)

    assert code == 1
    assert "FAIL" in output
    assert "Edit dataset > Import new data: On > Apply > Save" in " ".join(output.split())


def test_wrong_settings_exit_with_two(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("kafka: {}\n", encoding="utf-8")

    assert run("cja", "verify", "-c", str(path))[0] == 2


@pytest.mark.parametrize("access", [CjaAccess.NO_API, CjaAccess.NO_PROFILE, CjaAccess.NO_SCOPE])
def test_a_credential_without_cja_is_told_what_to_do(
    environment: Simulated, config: Path, access: CjaAccess
) -> None:
    connect(environment, access=access)

    code, output = run("cja", "verify", "-c", str(config), "--metrics", NOWHERE)

    assert code == 1
    assert "Customer Journey Analytics" in " ".join(output.split())
    assert "simulator-secret" not in output


def test_delivered_is_read_from_the_metrics(
    environment: Simulated, config: Path, metrics_page: str
) -> None:
    connect(environment)

    code, output = run("cja", "verify", "-c", str(config), "--metrics", metrics_page, "--json")

    marks = [r["mark"] for r in json.loads(output) if r["name"].startswith("ingestion of")]
    assert code == 1
    assert marks.count("fail") == 1
    assert marks.count("skip") == 2


def test_predictions_are_listed_with_their_routes(environment: Simulated, config: Path) -> None:
    organisation = environment.simulator.organisation
    for number, name in enumerate(["Likelihood to churn", "Something else"]):
        key = f"score{number}"
        dataset = Dataset(key, f"Customer AI Scores - {name}", f"x:{key}", class_id=PROFILE_CLASS)
        organisation.add_score_dataset(dataset, CatalogBatch(f"B{key}", key, 1_000, 1_234))

    code, output = run("predictions", "list", "-c", str(config), "--json")

    listed = json.loads(output)
    assert code == 1  # two routes have no score dataset
    assert [(row["instance"], row["route"], row["rows"]) for row in listed["predictions"]] == [
        ("Likelihood to churn", "churn", 1_234),
        ("Something else", None, 1_234),
    ]
    assert run("predictions", "list", "-c", str(config))[1].count("1,234") == 2


def test_a_sandbox_that_is_not_there_is_named(config: Path) -> None:
    tree = yaml.safe_load(config.read_text(encoding="utf-8"))
    tree["aep"]["sandbox_name"] = "elsewhere"
    config.write_text(yaml.safe_dump(tree), encoding="utf-8")

    code, output = run("predictions", "list", "-c", str(config), "--json")

    (result,) = json.loads(output)["results"]
    assert code == 1
    assert "aep.sandbox_name" in result["fix"]


def test_exchanges_are_recorded_without_secrets(
    environment: Simulated, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(environment)
    record = tmp_path / "record.ndjson"
    monkeypatch.setenv("CAI__AEP__RECORD_FILE", str(record))

    verified(config)
    run("predictions", "list", "-c", str(config))

    text = record.read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    assert {line["response"]["status"] for line in lines} == {200}
    assert "dataSets" in lines[0]["response"]["body"]["content"][0]
    assert "/data/foundation/catalog/dataSets" in lines[1]["url"]
    assert "simulator-secret" not in text
    assert "eyJ" not in text


@pytest.fixture
def metrics_page() -> Iterator[str]:
    """Serve the metrics of a replica that delivered for one route long ago."""
    values = {
        SCORE_RUN_RECORDS: 5,
        SCORE_RUN_LAST_SEEN_TIMESTAMP_SECONDS: 1_770_000_000,
        SCORE_RUN_LAST_DATE_TIMESTAMP_SECONDS: 1_770_000_000,
    }
    text = "".join(f'{m.exposed_name}{{route="churn"}} {v}\n' for m, v in values.items())

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()

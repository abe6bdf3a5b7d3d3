"""Deploy files, held against their formats and against one another."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from processor.settings import Settings
from processor.settings.load import PREFIX, load_settings
from tests.support.paths import ROOT

DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]


def run(*command: str) -> None:
    tool = str(Path(sys.executable).parent / command[0])
    done = subprocess.run(  # noqa: S603  our own tools
        [tool, *command[1:]], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dockerfile_is_clean() -> None:
    run("hadolint", "--strict-labels", "deploy/Dockerfile")


def test_the_compose_file_has_the_right_shape() -> None:
    run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "deploy/compose.yaml")


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_bounded_and_has_no_privileges(name: str) -> None:
    service = SERVICES[name]

    assert service["mem_limit"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert all(str(port).startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert ":latest" not in service["image"]


def test_the_processor_runs_as_nobody_on_a_root_it_cannot_write() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")

    assert SERVICES["processor"]["read_only"] is True
    assert "\nUSER 65532:65532\n" in dockerfile
    assert 'ENTRYPOINT ["customer-ai-events"]' in dockerfile
    assert "--require-hashes" in dockerfile


def test_variables_of_the_deploy_files_are_settings() -> None:
    """Whatever is set for the container loads, and means what the loader knows."""
    env = {k: v for k, v in SERVICES["processor"]["environment"].items() if k.startswith(PREFIX)}
    for line in (DEPLOY / "Dockerfile").read_text(encoding="utf-8").splitlines():
        word = line.strip().removesuffix("\\").strip()
        if word.startswith(PREFIX):
            name, _, value = word.partition("=")
            env[name] = value

    settings = load_settings(DEPLOY / "config/minimal.yaml", env)

    assert len(env) >= 5
    assert settings.kafka.bootstrap_servers == "kafka:9092"
    assert settings.telemetry.host == "0.0.0.0"  # noqa: S104  inside the container


def test_a_stop_fits_into_the_container_s_grace() -> None:
    stop = Settings.model_fields["stop"].default
    total = stop.drain_seconds + stop.commit_seconds + stop.close_seconds

    assert total < int(SERVICES["processor"]["stop_grace_period"].removesuffix("s"))


def test_topics_of_the_compose_file_are_the_default_ones() -> None:
    script = SERVICES["topics"]["command"][0]
    settings = load_settings(DEPLOY / "config/minimal.yaml", {})
    assert settings.kafka.events is not None
    wanted = [*settings.kafka.scores.topics, *settings.kafka.events.topics,
              settings.dead_letter.topic, settings.join.changelog_topic]  # fmt: skip

    assert all(f"--topic {topic} " in script for topic in wanted)


def test_prometheus_scrapes_the_processor_s_port() -> None:
    scraped = yaml.safe_load((DEPLOY / "observability/prometheus.yml").read_text(encoding="utf-8"))
    port = Settings.model_fields["telemetry"].default.port

    assert scraped["scrape_configs"][0]["static_configs"] == [{"targets": [f"processor:{port}"]}]
    assert f"127.0.0.1:{port}:{port}" in SERVICES["processor"]["ports"]

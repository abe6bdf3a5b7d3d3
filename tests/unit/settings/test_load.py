"""A file and the environment result in settings, or in everything that is wrong with them."""

from pathlib import Path

import pytest

from processor.domain.errors import SettingsError
from processor.settings.load import load_settings, parse_settings
from processor.settings.secrets import secret_texts
from tests.support.paths import ROOT
from tests.support.settings import problems_of, settings_with

BAD = """\
kafka:
  bootstrap_servers: a:9092
  group_idd: x
  poll_records: many
  start: begin
  session_timeout_seconds: 1
  client: {ssl.ca.location: }
event: {tenant: "a b", bucket_bounds: [25]}
aep: {org_id: 12}
routes: []
first_seconds: 2
zzz: 1
"""


def test_all_problems_are_reported_at_once_with_their_lines() -> None:
    with pytest.raises(SettingsError) as raised:
        parse_settings(BAD, {"CAI__TELEMETRY__PORT": "x"})

    assert raised.value.problems == [
        "kafka.session_timeout_seconds (line 6) must be at least 6.0.",
        "kafka.start (line 5) must be one of 'earliest', 'latest'.",
        "kafka.poll_records (line 4) must be a whole number.",
        "kafka.client.ssl.ca.location (line 7) must be text; put it in quotes.",
        "kafka.group_idd (line 3) is not a setting; did you mean kafka.group_id?",
        "event.tenant (line 8) is not valid: it must match `^_?[A-Za-z0-9]+$`.",
        "event.bucket_bounds[1] (line 8) is required.",
        "aep.org_id (line 9) must be text; put it in quotes.",
        "routes (line 10) must not be empty.",
        "telemetry.port (CAI__TELEMETRY__PORT) must be a whole number.",
        "first_seconds (line 11) is not a setting; did you mean aep.retry.first_seconds?",
        "zzz (line 12) is not a setting.",
    ]


def test_contradictions_are_reported_beside_an_unknown_key() -> None:
    messages = problems_of({"kafka/grup_id": "x", "event/bucket_bounds": [75, 25]})

    assert any("did you mean kafka.group_id?" in line for line in messages)
    assert any("event.bucket_bounds must be ascending" in line for line in messages)


@pytest.mark.parametrize(
    ("value", "messages"),
    [
        (float("nan"), "must be a number"),
        ({"a": 1}, "must be a number"),
        ("1e999", "must be a finite number"),
    ],
)
def test_a_number_must_be_a_finite_number(value: object, messages: str) -> None:
    assert messages in problems_of({"aep/retry/max_seconds": value})[0]


def test_messages_never_contain_the_wrong_value() -> None:
    canary = "canary-8d1f"
    messages = problems_of(
        {
            "kafka/client": {"sasl.password": [canary]},
            "aep/auth/client_secret": {"x": canary},
            "kafka/poll_records": canary,
            "kafka/start": canary,
            "telemetry/port": canary,
            "aep/org_id": canary,
        },
        {"CAI__AEP__AUTH__CLIENT_ID": canary, "CAI__JOIN__ENABLED": canary},
    )

    assert len(messages) == 7
    assert canary not in "".join(messages)


def test_variables_override_the_file() -> None:
    env = {
        "CAI__KAFKA__BOOTSTRAP_SERVERS": "b:9092",
        "CAI__KAFKA__SCORES__TOPICS": "[a, b]",
        "CAI__KAFKA__CLIENT__SASL_PASSWORD": "#p@ss: [word",
        "CAI__AEP__AUTH__CLIENT_SECRET": "0123",
        "CAI__JOIN__MAX_WAIT_SECONDS": "2.5",
        "CAI__ROUTES__0__LATE": "drop",
        "OTHER": "x",
    }
    text = (ROOT / "deploy/config/minimal.yaml").read_text(encoding="utf-8")
    settings = parse_settings(text.replace("client_secret_file: /run", "# "), env)

    assert settings.kafka.bootstrap_servers == "b:9092"
    assert settings.kafka.scores.topics == ["a", "b"]
    assert settings.kafka.client["sasl.password"].get_secret_value() == "#p@ss: [word"  # type: ignore[union-attr]
    assert settings.aep.auth is not None
    assert settings.aep.auth.client_secret is not None
    assert settings.aep.auth.client_secret.get_secret_value() == "0123"
    assert settings.join.max_wait_seconds == 2.5
    assert settings.routes[0].late == "drop"


@pytest.mark.parametrize(
    ("name", "value", "messages"),
    [
        ("CAI__KAFKA__GRUP_ID", "x", "did you mean CAI__KAFKA__GROUP_ID?"),
        ("CAI__KAFKA__GROUP__ID", "x", "did you mean CAI__KAFKA__GROUP_ID?"),
        ("CAI__ROUTES__9__LATE", "drop", "out of range"),
        ("CAI__ROUTES__0", "x", "group of keys"),
        ("CAI__EVENT__TENANT__X", "x", "no such setting"),
        ("CAI__", "x", "no such setting"),
        ("CAI__KAFKA__SCORES__TOPICS", "[a", "is not YAML"),
        ("CAI__KAFKA__SCORES__TOPICS", "a", "must be a list"),
    ],
)
def test_a_variable_without_a_setting_is_refused(name: str, value: str, messages: str) -> None:
    assert messages in " ".join(problems_of({}, {name: value}))


def test_a_variable_below_a_key_that_is_not_a_group_is_refused() -> None:
    messages = problems_of({"join": "on"}, {"CAI__JOIN__ENABLED": "true"})

    assert "join is not a group in the file." in messages[0]


def test_secrets_are_read_from_files(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("  s3cret\n", encoding="utf-8")
    settings = settings_with(
        {
            "kafka/client": {"sasl.password.file": str(secret)},
            "registry": {"url": "https://r", "username": "u", "password_file": str(secret)},
        }
    )

    assert settings.kafka.client["sasl.password"].get_secret_value() == "s3cret"  # type: ignore[union-attr]
    assert settings.registry.password is not None
    assert settings.registry.password.get_secret_value() == "s3cret"


def test_an_unreadable_secret_file_is_reported_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b" \n")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for name, messages in (("none", "no such file"), ("empty", "is empty"), ("bytes", "not UTF-8")):
        problems = problems_of({"kafka/client": {"sasl.password.file": str(tmp_path / name)}})

        assert messages in problems[0]
        assert problems[0].startswith("kafka.client.sasl.password ")


def test_a_secret_set_twice_is_refused(tmp_path: Path) -> None:
    assert (
        "set twice"
        in problems_of({"registry": {"password": "x", "password_file": str(tmp_path)}})[0]
    )


def test_an_unreadable_settings_file_is_reported_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xff")

    with pytest.raises(SettingsError, match="no such file or directory"):
        load_settings(tmp_path / "none.yaml", {})
    with pytest.raises(SettingsError, match="is a directory"):
        load_settings(tmp_path, {})
    with pytest.raises(SettingsError, match="not UTF-8"):
        load_settings(tmp_path / "binary", {})


def test_every_secret_is_returned_for_redaction(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("from-a-file", encoding="utf-8")
    settings = settings_with(
        {
            "aep/auth": {"client_id": "x", "client_secret_file": str(file)},
            "aep/proxy_username": "u",
            "aep/proxy_password": "proxy-secret",
            "kafka/client": {"sasl.password": "kafka-secret", "sasl.username": "u"},
            "dead_letter/client": {"ssl.key.password": "key-secret"},
        }
    )

    assert set(secret_texts(settings)) == {
        "from-a-file",
        "proxy-secret",
        "kafka-secret",
        "key-secret",
    }


def test_a_missing_secret_file_is_ignored_for_redaction() -> None:
    settings = settings_with({"aep/auth": {"client_id": "x", "client_secret_file": "/nowhere"}})

    assert list(secret_texts(settings)) == []

"""The files under deploy/config/, the reference and the JSON Schema of the settings."""

import json
from collections.abc import Iterator
from pathlib import Path

import jsonschema_rs
import pytest
import yaml

from processor.settings import Settings
from processor.settings.describe import describe, editor_schema
from processor.settings.kafka_client import is_secret, reveal
from processor.settings.load import load_settings
from processor.settings.section import Section, key_names, plain_type, type_below
from tests.support.paths import ROOT
from tests.support.settings import settings_with

CONFIG = ROOT / "deploy/config"
FILES = sorted(CONFIG.glob("*.yaml"))


def keys(shape: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name in key_names(shape):
        below = type_below(shape, name)
        yield (*path, name)
        yield from keys(below, (*path, name))
        yield from keys(type_below(below, 0), (*path, name))


def sections(shape: object) -> Iterator[type[Section]]:
    if key_names(shape):
        yield plain_type(shape)
    for name in key_names(shape):
        yield from sections(type_below(shape, name))
        yield from sections(type_below(type_below(shape, name), 0))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_settings_file_loads_and_matches_the_json_schema(path: Path) -> None:
    load_settings(path, {})
    schema = json.loads(editor_schema())

    jsonschema_rs.validate(schema, yaml.safe_load(path.read_text(encoding="utf-8")))
    assert path.read_text(encoding="utf-8").startswith("# yaml-language-server: $schema=")


def test_the_reference_contains_every_key_once() -> None:
    tree = yaml.safe_load((CONFIG / "reference.yaml").read_text(encoding="utf-8"))

    def named(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
        section = value[0] if isinstance(value, list) else value
        for key, inner in section.items() if isinstance(section, dict) else ():
            yield (*path, key)
            yield from named(inner, (*path, key))

    free = {("reading", "aliases"), ("identity", "aliases")}
    found = [path for path in named(tree) if not any(path[: len(f)] == f != path for f in free)]
    assert found == list(keys(Settings))


def test_every_key_has_a_description() -> None:
    mute = [
        f"{section.__name__}.{name}"
        for section in sections(Settings)
        for name, field in section.model_fields.items()
        if not field.description and not key_names(type_below(section, name))
        and not key_names(type_below(type_below(section, name), 0))
    ]  # fmt: skip

    assert mute == []


def test_the_reference_contains_the_defaults() -> None:
    shown = load_settings(CONFIG / "reference.yaml", {}).model_dump()
    minimal = load_settings(CONFIG / "minimal.yaml", {}).model_dump()

    assert shown == minimal


def test_the_json_schema_refuses_an_unknown_key() -> None:
    schema = json.loads(editor_schema())
    tree = yaml.safe_load((CONFIG / "minimal.yaml").read_text(encoding="utf-8"))
    tree["kafka"]["grup_id"] = "x"

    assert not jsonschema_rs.is_valid(schema, tree)


def test_secrets_are_masked_in_every_rendering_of_the_settings() -> None:
    canary = "canary-5b2e"
    settings = settings_with(
        {
            "kafka/client": {"sasl.password": canary, "ssl.key.pem": canary, "sasl.username": "u"},
            "dead_letter/client": {"sasl.jaas.config": canary},
            "registry": {"username": "u", "password": canary},
            "aep/auth/client_secret": canary,
            "aep/proxy_username": "u",
            "aep/proxy_password": canary,
        }
    )
    shown = (
        describe(settings),
        repr(settings),
        str(settings.model_dump()),
        settings.model_dump_json(),
    )

    assert [canary in text for text in shown] == [False] * 4
    assert describe(settings).count("***") == 6
    assert reveal(settings.kafka.client)["sasl.password"] == canary


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("sasl.password", True),
        ("ssl.key.password", True),
        ("ssl.keystore.password", True),
        ("sasl.oauthbearer.client.secret", True),
        ("sasl.oauthbearer.client.credentials.client.secret", True),
        ("sasl.oauthbearer.config", True),
        ("sasl.jaas.config", True),
        ("ssl.key.pem", True),
        ("sasl.username", False),
        ("ssl.ca.location", False),
        ("ssl.key.location", False),
        ("sasl.oauthbearer.token.endpoint.url", False),
        ("security.protocol", False),
    ],
)
def test_librdkafka_secrets_are_recognised_by_name(name: str, secret: bool) -> None:  # noqa: FBT001
    assert is_secret(name) is secret

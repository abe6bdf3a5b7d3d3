"""The files under deploy/config/, and the settings as people and editors see them."""

import json
from collections.abc import Iterator
from pathlib import Path

import jsonschema_rs
import pytest
import yaml

from processor.settings import Settings
from processor.settings.describe import describe, editor_schema
from processor.settings.kafka_client import hides, reveal
from processor.settings.keys import bare, names, step
from processor.settings.load import load_settings
from processor.settings.section import Section
from tests.support.paths import ROOT
from tests.support.settings import settings_with

CONFIG = ROOT / "deploy/config"
FILES = sorted(CONFIG.glob("*.yaml"))


def keys(shape: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name in names(shape):
        below = step(shape, name)
        yield (*path, name)
        yield from keys(below, (*path, name))
        yield from keys(step(below, 0), (*path, name))


def pages(shape: object) -> Iterator[type[Section]]:
    if names(shape):
        yield bare(shape)
    for name in names(shape):
        yield from pages(step(shape, name))
        yield from pages(step(step(shape, name), 0))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_settings_file_loads_and_suits_an_editor(path: Path) -> None:
    load_settings(path, {})
    schema = json.loads(editor_schema())

    jsonschema_rs.validate(schema, yaml.safe_load(path.read_text(encoding="utf-8")))
    assert path.read_text(encoding="utf-8").startswith("# yaml-language-server: $schema=")


def test_the_reference_names_every_key_once() -> None:
    tree = yaml.safe_load((CONFIG / "reference.yaml").read_text(encoding="utf-8"))

    def named(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
        page = value[0] if isinstance(value, list) else value
        for key, inner in page.items() if isinstance(page, dict) else ():
            yield (*path, key)
            yield from named(inner, (*path, key))

    free = {("reading", "aliases"), ("identity", "aliases")}
    found = [path for path in named(tree) if not any(path[: len(f)] == f != path for f in free)]
    assert found == list(keys(Settings))


def test_every_key_says_what_it_means() -> None:
    mute = [
        f"{page.__name__}.{name}"
        for page in pages(Settings)
        for name, field in page.model_fields.items()
        if not field.description and not names(step(page, name))
        and not names(step(step(page, name), 0))
    ]  # fmt: skip

    assert mute == []


def test_the_reference_shows_the_defaults() -> None:
    shown = load_settings(CONFIG / "reference.yaml", {}).model_dump()
    minimal = load_settings(CONFIG / "minimal.yaml", {}).model_dump()

    assert shown == minimal


def test_an_editor_refuses_an_unknown_key() -> None:
    schema = json.loads(editor_schema())
    tree = yaml.safe_load((CONFIG / "minimal.yaml").read_text(encoding="utf-8"))
    tree["kafka"]["grup_id"] = "x"

    assert not jsonschema_rs.is_valid(schema, tree)


def test_secrets_are_masked_wherever_settings_are_shown() -> None:
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
def test_librdkafka_secrets_are_known_by_name(name: str, secret: bool) -> None:  # noqa: FBT001
    assert hides(name) is secret

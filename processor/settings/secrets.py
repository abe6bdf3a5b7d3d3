"""Secrets read from files: `password_file` instead of `password`."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from processor.domain.errors import SettingsError
from processor.settings.section import KeyPath, Section, dotted
from processor.settings.settings import CommonSettings

MAX_SECRET_BYTES = 64 << 10

_AT_START: tuple[tuple[str, str], ...] = (("registry", "password"), ("aep", "proxy_password"))
_CLIENTS = ("kafka", "dead_letter")


def read_secret(path: Path) -> str:
    """Return the secret in a file, without surrounding white space; raises SettingsError."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_SECRET_BYTES + 1)
        secret = text.decode().strip()
    except OSError as error:
        cause = os.strerror(error.errno or 0).lower()
        raise SettingsError([f"cannot be read from {path}: {cause}."]) from error
    except UnicodeDecodeError as error:
        raise SettingsError([f"in {path} is not UTF-8 text."]) from error
    if not secret or len(text) > MAX_SECRET_BYTES:
        raise SettingsError([f"in {path} is empty or larger than {MAX_SECRET_BYTES >> 10} KiB."])
    return secret


def read_secret_files(tree: dict[str, Any]) -> list[str]:
    """Read the secrets that are read once, at start, into the tree; return what is wrong.

    The client secret of `aep.auth` is not among them: it is read again for each token.
    """
    problems: list[str] = []
    for key, name in _AT_START:
        section = tree.get(key)
        if isinstance(section, dict) and section.get(f"{name}_file") is not None:
            problems += _fill(section, (key, name), str(section[f"{name}_file"]))
    for key in _CLIENTS:
        section = tree.get(key)
        client = section.get("client") if isinstance(section, dict) else None
        if isinstance(client, dict):
            for name in [each for each in client if each.endswith(".file")]:
                path = (key, "client", name.removesuffix(".file"))
                problems += _fill(client, path, str(client.pop(name)))
    return problems


def _fill(section: dict[str, Any], path: KeyPath, file: str) -> list[str]:
    if section.get(str(path[-1])) is not None:
        return [f"{dotted(path)} is set twice, in clear text and as a file; keep the file."]
    try:
        section[str(path[-1])] = read_secret(Path(file))
    except SettingsError as error:
        return [f"{dotted(path)} {problem}" for problem in error.problems]
    return []


def secret_texts(settings: CommonSettings) -> Iterator[str]:
    """Yield every secret in clear text, for redaction in the log; unreadable ones are omitted."""
    yield from _secrets_in(dict(settings))
    auth = settings.aep.auth
    if auth and auth.client_secret_file:
        with suppress(SettingsError):
            yield read_secret(auth.client_secret_file)


def _secrets_in(value: object) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, Section):
        yield from _secrets_in(dict(value))
    elif isinstance(value, dict):
        for item in value.values():
            yield from _secrets_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _secrets_in(item)

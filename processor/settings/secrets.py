"""Secrets that stand in files: `password_file` in place of `password`."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from processor.domain.errors import SettingsError
from processor.settings.keys import KeyPath, dotted
from processor.settings.section import Section
from processor.settings.settings import Settings

MAX_SECRET_BYTES = 64 << 10

_AT_START: tuple[tuple[str, str], ...] = (("registry", "password"), ("aep", "proxy_password"))
_CLIENTS = ("kafka", "dead_letter")


def read_secret(path: Path) -> str:
    """Return the secret a file holds, without the blanks around it; raises SettingsError."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_SECRET_BYTES + 1)
        secret = text.decode().strip()
    except OSError as error:
        why = os.strerror(error.errno or 0).lower()
        raise SettingsError([f"cannot be read from {path}: {why}."]) from error
    except UnicodeDecodeError as error:
        raise SettingsError([f"in {path} is not UTF-8 text."]) from error
    if not secret or len(text) > MAX_SECRET_BYTES:
        raise SettingsError([f"in {path} is empty or larger than {MAX_SECRET_BYTES >> 10} KiB."])
    return secret


def fill_secrets(tree: dict[str, Any]) -> list[str]:
    """Put the secrets that are read once, at start, in their places; return what is wrong.

    The client secret of `aep.auth` is not among them: it is read again with each token.
    """
    problems: list[str] = []
    for group, name in _AT_START:
        page = tree.get(group)
        if isinstance(page, dict) and page.get(f"{name}_file") is not None:
            problems += _fill(page, (group, name), str(page[f"{name}_file"]))
    for group in _CLIENTS:
        page = tree.get(group)
        client = page.get("client") if isinstance(page, dict) else None
        if isinstance(client, dict):
            for name in [key for key in client if key.endswith(".file")]:
                path = (group, "client", name.removesuffix(".file"))
                problems += _fill(client, path, str(client.pop(name)))
    return problems


def _fill(page: dict[str, Any], path: KeyPath, file: str) -> list[str]:
    if page.get(str(path[-1])) is not None:
        return [f"{dotted(path)} is given twice, in clear and as a file; keep the file."]
    try:
        page[str(path[-1])] = read_secret(Path(file))
    except SettingsError as error:
        return [f"{dotted(path)} {problem}" for problem in error.problems]
    return []


def secret_texts(settings: Settings) -> Iterator[str]:
    """Yield every secret in clear, for the log to strike out; unreadable ones are left out."""
    yield from _hidden(dict(settings))
    auth = settings.aep.auth
    if auth and auth.client_secret_file:
        with suppress(SettingsError):
            yield read_secret(auth.client_secret_file)


def _hidden(value: object) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, Section):
        yield from _hidden(dict(value))
    elif isinstance(value, dict):
        for item in value.values():
            yield from _hidden(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _hidden(item)

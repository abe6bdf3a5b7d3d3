"""What a log line may not say: payloads, keys, identities, secrets, control characters."""

import traceback
from collections.abc import Iterable, MutableMapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from processor.errors import ProcessorError

__all__ = ["MASK", "SENSITIVE", "Redaction", "escaped", "frames"]

MASK = "***"
SENSITIVE = frozenset(
    {
        "access_token",
        "answer",
        "authorization",
        "body",
        "client_secret",
        "credentials",
        "document",
        "email",
        "entity",
        "headers",
        "identities",
        "identity",
        "identity_map",
        "key",
        "letter",
        "password",
        "payload",
        "person",
        "request",
        "response",
        "secret",
        "token",
        "value",
        "xdm",
    }
)
"""Field names under which such things travel; they are masked here, and refused by a house test."""

_MAX_TEXT = 500
_MAX_ITEMS = 20
_MAX_FRAMES = 30
_MIN_SECRET = 4


class Redaction:
    """Makes every field of a line harmless; the last thing before it is written."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = sorted({s for s in secrets if len(s) >= _MIN_SECRET}, key=len, reverse=True)

    def __call__(
        self, _logger: object, _method: str, line: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """Return the line with plain, short values only; the shape structlog asks for."""
        return {self._text(name): self._field(name, value) for name, value in line.items()}

    def _field(self, name: str, value: object) -> object:
        return MASK if name.lower() in SENSITIVE else self._plain(value)

    def _plain(self, value: object) -> object:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, str | Path):
            return self._text(str(value))
        if isinstance(value, dict):
            some = list(value.items())[:_MAX_ITEMS]
            return {self._text(str(key)): self._field(str(key), item) for key, item in some}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._plain(item) for item in list(value)[:_MAX_ITEMS]]
        return self._foreign(value)

    def _foreign(self, value: object) -> str:
        """Name what has no plain form; only our own errors are sentences without content."""
        if isinstance(value, ProcessorError):
            return self._text(str(value))
        if isinstance(value, OSError) and value.strerror:
            return self._text(f"{type(value).__name__}: {value.strerror}")
        if isinstance(value, bytes | bytearray | memoryview | SecretStr):
            return MASK
        return type(value).__name__

    def _text(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"


def escaped(text: str) -> str:
    """Return the text with every character that does not print written as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def frames(error: BaseException) -> list[str]:
    """Return where an exception came from, innermost last, without the values it carries."""
    stack = traceback.extract_tb(error.__traceback__)[-_MAX_FRAMES:]
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in stack]

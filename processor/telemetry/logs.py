"""Log lines: one JSON object each, or text for people; safe whatever is put into them.

A line is a sentence and fields. Repeated lines are held back unless they say `always`, control
characters escaped, long values cut, and no field carries a payload, a key, an identity or a secret.

What a log line may not say: payloads, keys, identities, secrets, control characters.
"""

import json
import logging
import sys
import traceback
from collections.abc import Iterable, MutableMapping
from pathlib import Path
from typing import Any, TextIO

import structlog
from pydantic import SecretStr

from processor.domain.clock import Clock, rfc3339
from processor.domain.errors import ProcessorError
from processor.settings import TelemetrySettings
from processor.telemetry.log_limiter import LogLimiter

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


_Line = MutableMapping[str, Any]
_KEY_FIELDS = ("kind", "route", "topic", "part", "cause", "reason", "facility")
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure_logs(
    settings: TelemetrySettings,
    clock: Clock,
    *,
    stream: TextIO | None = None,
    secrets: Iterable[str] = (),
) -> None:
    """Set up logging for the whole process, the libraries' included; call it once, at the start.

    Lines go to `stream`, stderr where not given. `secrets` are struck out wherever they turn up.
    """
    level = _LEVELS[settings.log_level]
    redaction = Redaction(secrets)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _Seldom(clock),
            _trace,
            redaction,
            _Stamp(clock),
            _json if settings.log_format == "json" else _Text(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=stream or sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.raiseExceptions = False
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[_Foreign()], force=True)


class _Seldom:
    """Lets a line through once in ten seconds, and then says how many were held back."""

    def __init__(self, clock: Clock) -> None:
        self._limiter = LogLimiter(clock)

    def __call__(self, _logger: object, _method: str, line: _Line) -> _Line:
        key = "|".join(str(line.get(field, "")) for field in ("event", *_KEY_FIELDS))
        if line.pop("kind", None) is not None:
            key = key.partition("|")[2]
        if line.pop("always", False) or line["level"] == "critical":
            return line
        held_back = self._limiter.due(key)
        if held_back is None:
            raise structlog.DropEvent
        return {**line, "suppressed": held_back} if held_back else line


class _Stamp:
    """Puts time, level and sentence first."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self, _logger: object, _method: str, line: _Line) -> _Line:
        head = {
            "ts": rfc3339(self._clock.now_ms()),
            "level": line.pop("level"),
            "event": line.pop("event"),
        }
        return {**head, **line}


class _Text:
    """Renders a line for people."""

    def __init__(self) -> None:
        self._render = structlog.dev.ConsoleRenderer(colors=False, timestamp_key="ts")

    def __call__(self, logger: object, method: str, line: _Line) -> str:
        safe = {key: escaped(v) if isinstance(v, str) else v for key, v in line.items()}
        return self._render(logger, method, safe)


class _Foreign(logging.Handler):
    """Takes what libraries log; one kind of line is one template of one logger."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            words = record.getMessage()
        except (TypeError, ValueError):
            words = str(record.msg)
        structlog.get_logger().log(
            record.levelno,
            words,
            logger=record.name,
            kind=f"{record.name}|{record.msg}",
            exc_info=record.exc_info,
        )


def _trace(_logger: object, _method: str, line: _Line) -> _Line:
    error = line.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        return {**line, "error": error, "frames": frames(error)}
    return line


def _json(_logger: object, _method: str, line: _Line) -> str:
    # The standard encoder writes every character beyond ASCII as an escape, the invisible and the
    # line-breaking ones among them; msgspec writes them as they are.
    return json.dumps(line, ensure_ascii=True, allow_nan=True)

"""Log lines: one JSON object each, or text for people.

A line is a sentence, a `code` and fields. Repeated lines are suppressed unless they have the field
`always`, control characters are escaped, long values are cut, and payloads, keys, identities and
secrets are masked.
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
        "dead_letter",
        "document",
        "email",
        "entity",
        "headers",
        "identities",
        "identity",
        "identity_map",
        "key",
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
"""The names of fields that are masked; a test refuses them in the code."""

_MAX_TEXT = 500
_MAX_ITEMS = 20
_MAX_FRAMES = 30
_MIN_SECRET = 4


class Redaction:
    """Masks and shortens the fields of a line, just before it is written."""

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
        return self._other(value)

    def _other(self, value: object) -> str:
        """Return the type of a value; of errors without a payload in them, the text."""
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
    """Return the stack of an exception, innermost frame last, without any values."""
    stack = traceback.extract_tb(error.__traceback__)[-_MAX_FRAMES:]
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in stack]


_Line = MutableMapping[str, Any]
_KEY_FIELDS = (
    "kind", "route", "topic", "partition", "part", "phase", "cause", "kafka_code", "facility"
)  # fmt: skip
"""Fields that tell one line from another of the same code; `kind` is not written."""
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure_logs(
    settings: TelemetrySettings,
    clock: Clock,
    *,
    stream: TextIO | None = None,
    secrets: Iterable[str] = (),
) -> None:
    """Set up logging for the whole process, the libraries' included; call it once, at the start.

    Lines go to `stream`, by default stderr. `secrets` are masked wherever they occur.
    """
    level = _LEVELS[settings.log_level]
    redaction = Redaction(secrets)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _Limit(clock),
            _add_frames,
            redaction,
            _Stamp(clock),
            _json if settings.log_format == "json" else _Text(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=stream or sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.raiseExceptions = False
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[_LibraryHandler()], force=True)


class _Limit:
    """Lets a line through once in ten seconds, with the number of suppressed ones since.

    Lines are the same where their code (without one, the sentence) and `_KEY_FIELDS` are.
    """

    def __init__(self, clock: Clock) -> None:
        self._limiter = LogLimiter(clock)

    def __call__(self, _logger: object, _method: str, line: _Line) -> _Line:
        head = str(line.get("code", line["event"]))
        key = "|".join((head, *(str(line.get(field, "")) for field in _KEY_FIELDS)))
        line.pop("kind", None)
        suppressed: int | None = line.pop("suppressed", 0)
        if not line.pop("always", False) and line["level"] != "critical":
            suppressed = self._limiter.due(key, suppressed or 0)
        if suppressed is None:
            raise structlog.DropEvent
        return {**line, "suppressed": suppressed} if suppressed else line


class _Stamp:
    """Puts time, level, sentence and code first."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self, _logger: object, _method: str, line: _Line) -> _Line:
        head = {
            "ts": rfc3339(self._clock.now_ms()),
            "level": line.pop("level"),
            "event": line.pop("event"),
        }
        if "code" in line:
            head["code"] = line.pop("code")
        return {**head, **line}


class _Text:
    """Renders a line for people."""

    def __init__(self) -> None:
        self._render = structlog.dev.ConsoleRenderer(colors=False, timestamp_key="ts")

    def __call__(self, logger: object, method: str, line: _Line) -> str:
        safe = {key: escaped(v) if isinstance(v, str) else v for key, v in line.items()}
        return self._render(logger, method, safe)


class _LibraryHandler(logging.Handler):
    """Takes the lines of libraries; repeated ones have the same template and logger."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = str(record.msg)
        structlog.get_logger().log(
            record.levelno,
            "A library has logged a message.",
            code="library_message",
            logger=record.name,
            message=message,
            kind=f"{record.name}|{record.msg}",
            exc_info=record.exc_info,
        )


def _add_frames(_logger: object, _method: str, line: _Line) -> _Line:
    error = line.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        return {**line, "error": error, "frames": frames(error)}
    return line


def _json(_logger: object, _method: str, line: _Line) -> str:
    # json escapes every character beyond ASCII, and with them invisible and line-breaking ones;
    # msgspec would write them as they are.
    return json.dumps(line, ensure_ascii=True, allow_nan=True)

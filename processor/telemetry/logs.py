"""Log lines: one JSON object each, or text for people; safe whatever is put into them.

A line is a sentence and fields. Repeated lines are held back unless they say `always`, control
characters escaped, long values cut, and no field carries a payload, a key, an identity or a secret.
"""

import json
import logging
import sys
from collections.abc import Iterable, MutableMapping
from typing import Any, TextIO

import structlog

from processor.clock import Clock, rfc3339
from processor.settings import TelemetrySettings
from processor.telemetry.quiet import Quiet
from processor.telemetry.redaction import Redaction, escaped, frames

__all__ = ["configure_logs"]

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
        self._quiet = Quiet(clock)

    def __call__(self, _logger: object, _method: str, line: _Line) -> _Line:
        key = "|".join(str(line.get(field, "")) for field in ("event", *_KEY_FIELDS))
        if line.pop("kind", None) is not None:
            key = key.partition("|")[2]
        if line.pop("always", False) or line["level"] == "critical":
            return line
        held_back = self._quiet.due(key)
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

"""The tables that operators read: every metric, and every log line with its code."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from processor.telemetry.catalogue import CATALOGUE
from processor.telemetry.metric_types import Label

_PACKAGE = Path(__file__).parents[1]
_LOGGERS = {"log", "self._log", "structlog.get_logger()"}
_LEVELS = {
    "debug": "debug",
    "info": "info",
    "warning": "warning",
    "error": "error",
    "exception": "error",
    "critical": "critical",
    "log": "that of the library",
}
_NO_FIELDS = {"always", "code", "exc_info", "kind"}


class LogLine(NamedTuple):
    """One call of a logger; `sentence` and `code` are None where they are not constant strings.

    `place` is `path:line`, the path relative to the package.
    """

    place: str
    level: str
    sentence: str | None
    code: str | None
    fields: tuple[str, ...]


def log_lines() -> Iterator[LogLine]:
    """Yield every log line of the package, in the order of files and lines."""
    for path in sorted(_PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(ast.Attribute(logger, method)) if (
                    method in _LEVELS and ast.unparse(logger) in _LOGGERS
                ):
                    place = f"{path.relative_to(_PACKAGE)}:{node.lineno}"
                    yield _log_line(place, _LEVELS[method], node)


def metric_table() -> str:
    """Render the catalogue as a Markdown table, in the order of the declarations."""
    head = "| Metric | Type | Labels | Meaning |\n| --- | --- | --- | --- |\n"
    return head + "".join(
        f"| `{metric.exposed_name}` | {metric.kind} | "
        f"{'; '.join(map(_label, metric.labels))} | {metric.meaning} |\n"
        for metric in CATALOGUE
    )


def log_table() -> str:
    """Return the log lines that have a code as a Markdown table, by code."""
    head = "| Code | Level | Sentence | Fields |\n| --- | --- | --- | --- |\n"
    lines = sorted((line for line in log_lines() if line.code), key=lambda line: str(line.code))
    return head + "".join(
        f"| `{line.code}` | {line.level} | {line.sentence} | {', '.join(line.fields)} |\n"
        for line in lines
    )


def _log_line(place: str, level: str, call: ast.Call) -> LogLine:
    arguments = {keyword.arg or "**": keyword.value for keyword in call.keywords}
    sentence = _constant(call.args[-1] if call.args else None)
    fields = tuple(name for name in arguments if name not in _NO_FIELDS)
    return LogLine(place, level, sentence, _constant(arguments.get("code")), fields)


def _constant(node: ast.expr | None) -> str | None:
    value = node.value if isinstance(node, ast.Constant) else None
    return value if isinstance(value, str) else None


def _label(label: Label[str]) -> str:
    return f"{label.name}: {', '.join(label.values)}" if label.values else label.name

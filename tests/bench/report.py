"""Figures as Markdown tables, printed and kept in README.md between two marks."""

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from processor.clock import SystemClock, rfc3339
from tests.bench.race import Result

__all__ = ["table", "write"]

_README = Path(__file__).with_name("README.md")
_BEGIN, _END = "<!-- figures: begin -->", "<!-- figures: end -->"
_HEAD = """
| | records per CPU-second | ratio | records per second | highest RSS, MiB | requests |
|---|---:|---:|---:|---:|---:|
"""


def table(title: str, results: Sequence[Result]) -> str:
    """Return one table; ratios are against the first row."""
    lines = [_line(result, results[0]) for result in results]
    return f"\n**{title}**\n{_HEAD}{''.join(lines)}"


def write(tables: Mapping[str, Sequence[Result]]) -> None:
    """Put the tables between the marks in README.md, with date and machine."""
    text = _README.read_text()
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    figures = "".join(table(title, results) for title, results in tables.items())
    _README.write_text(f"{before}{_BEGIN}\n{_circumstances()}\n{figures}\n{_END}{after}")


def _line(result: Result, first: Result) -> str:
    ratio = first.per_cpu_second / result.per_cpu_second
    return (
        f"| {result.name} | {result.per_cpu_second:,.0f} | {ratio:.1f} | "
        f"{result.per_second:,.0f} | {result.rss_mb:,.0f} | {result.requests:,} |\n"
    )


def _circumstances() -> str:
    today = rfc3339(SystemClock().now_ms())[:10]
    cores = len(os.sched_getaffinity(0))
    return (
        f"Measured on {today}: {cores} cores ({platform.machine()}), Python "
        f"{platform.python_version()}; broker, sink and contestant share the cores."
    )

"""Figures as Markdown tables, printed and kept in README.md between two marks."""

import os
import platform
from collections.abc import Sequence
from pathlib import Path

from processor.domain.clock import SystemClock, rfc3339
from tests.bench.measurement import Result
from tests.bench.paced import Paced

_README = Path(__file__).with_name("README.md")
_BEGIN, _END = "<!-- figures: begin -->", "<!-- figures: end -->"
_HEAD = """
| | records per CPU-second | ratio | records per second | highest RSS, MiB | requests |
|---|---:|---:|---:|---:|---:|
"""
_PACED_HEAD = """
| | events per second | CPU cores | requests per 10,000 events | delay p50, ms | delay p99, ms |
|---|---:|---:|---:|---:|---:|
"""


def table(title: str, results: Sequence[Result]) -> str:
    """Return one table; ratios are against the first row."""
    lines = [_line(result, results[0]) for result in results]
    return f"\n**{title}**\n{_HEAD}{''.join(lines)}"


def paced_table(title: str, results: Sequence[Paced]) -> str:
    """Return the table of a steady stream."""
    lines = [
        f"| {one.name} | {one.per_second:,.0f} | {one.cores:.2f} | {one.requests_per_10k:.1f} | "
        f"{one.p50 * 1000:,.0f} | {one.p99 * 1000:,.0f} |\n"
        for one in results
    ]
    return f"\n**{title}**\n{_PACED_HEAD}{''.join(lines)}"


def write(tables: Sequence[str]) -> None:
    """Put tables between the marks in README.md, with date and machine."""
    text = _README.read_text()
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    _README.write_text(f"{before}{_BEGIN}\n{_circumstances()}\n{''.join(tables)}\n{_END}{after}")


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
        f"{platform.python_version()}; broker, sink and system share the cores."
    )

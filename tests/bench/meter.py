"""Watching a process from outside: CPU and memory of it and its children, from `/proc`."""

import os
from pathlib import Path
from typing import NamedTuple

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / (1 << 20)


class Reading(NamedTuple):
    """User and system CPU seconds so far (good to 0.01 s), and resident MiB now."""

    cpu_seconds: float
    rss_mb: float


def read(pid: int) -> Reading:
    """Return what a process and its living descendants have used."""
    cpu = rss = 0.0
    for one in _family(pid):
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        cpu += (int(fields[11]) + int(fields[12])) / _TICK
        rss += int(fields[21]) * _PAGE_MB
    return Reading(cpu, rss)


def read_self() -> Reading:
    """Return what this process has used."""
    return read(os.getpid())


def _family(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        children = Path(f"/proc/{one}/task/{one}/children")
        try:
            found += map(int, children.read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found

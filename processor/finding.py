"""What a check found: one line a person can act on."""

from enum import StrEnum
from typing import NamedTuple

__all__ = ["Finding", "Mark"]


class Mark(StrEnum):
    """How it stands."""

    OK = "ok"
    WARN = "warn"
    """It works, and deserves a look."""
    FAIL = "fail"
    SKIP = "skip"
    """It could not be found out, or need not be."""


class Finding(NamedTuple):
    """`name` is the thing that was looked at, `fix` what to do where it is not well."""

    name: str
    mark: Mark
    sentence: str
    fix: str = ""

"""What a check found: one line a person can act on."""

from enum import StrEnum
from typing import NamedTuple


class CheckStatus(StrEnum):
    """How it stands."""

    OK = "ok"
    WARN = "warn"
    """It works, and deserves a look."""
    FAIL = "fail"
    SKIP = "skip"
    """It could not be found out, or need not be."""


class CheckResult(NamedTuple):
    """`name` is the thing that was looked at, `fix` what to do where it is not well."""

    name: str
    mark: CheckStatus
    sentence: str
    fix: str = ""

"""The result of one check of the `check` command."""

from enum import StrEnum
from typing import NamedTuple


class CheckStatus(StrEnum):
    """The status of a check."""

    OK = "ok"
    WARN = "warn"
    """It works, and an operator should look at it."""
    FAIL = "fail"
    SKIP = "skip"
    """It was not checked, or could not be."""


class CheckResult(NamedTuple):
    """The result for the thing called `name`; `fix` says what to do about a failure."""

    name: str
    mark: CheckStatus
    sentence: str
    fix: str = ""

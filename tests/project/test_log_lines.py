"""The rules of log lines: a sentence, a stable code, and fields with fixed names."""

import re
from collections import Counter

from processor.telemetry.logs import SENSITIVE
from processor.telemetry.tables import LogLine, log_lines

NOT_FOR_ERRORS = {"words", "trouble", "why", "problem", "problems", "detail", "kept_back"}
"""Field names that `error` and `suppressed` replace."""
ALL = list(log_lines())


def test_the_log_lines_of_the_code_are_found() -> None:
    assert len(ALL) > 30


def test_a_log_line_is_a_sentence() -> None:
    def is_sentence(line: LogLine) -> bool:
        return bool(line.sentence) and re.fullmatch(r"[A-Z].*\.", str(line.sentence)) is not None

    assert [line.place for line in ALL if not is_sentence(line)] == []


def test_a_log_line_has_a_code() -> None:
    odd = [line.place for line in ALL if not re.fullmatch(r"[a-z]+(_[a-z]+)*", line.code or "")]

    assert odd == []


def test_no_code_is_used_twice() -> None:
    codes = Counter(line.code for line in ALL if line.code)

    assert [code for code, count in codes.items() if count > 1] == []


def test_the_text_of_an_error_is_in_the_field_error() -> None:
    odd = [f"{line.place} {name}" for line in ALL for name in line.fields if name in NOT_FOR_ERRORS]

    assert odd == []


def test_no_log_line_has_a_sensitive_field() -> None:
    odd = [
        f"{line.place} {name}"
        for line in ALL
        for name in line.fields
        if name == "**" or name.lower() in SENSITIVE
    ]

    assert odd == []

"""Log lines say what an operator wants to read, and nothing that must not leave the process."""

import io
import json
import logging
from typing import Any, Literal

import pytest
import structlog
from pydantic import SecretStr

from processor.domain.errors import UnavailableError
from processor.domain.record import Record
from processor.settings import TelemetrySettings
from processor.telemetry.logs import SENSITIVE, configure_logs
from tests.support.clock import ManualClock

CANARY = "canary-1f7c9e"


class Written:
    """The configured process log, and what was written to it."""

    def __init__(
        self,
        *,
        form: Literal["json", "console"] = "json",
        level: Literal["debug", "info", "warning", "error"] = "debug",
        secrets: tuple[str, ...] = (),
    ) -> None:
        self.clock = ManualClock()
        self.stream = io.StringIO()
        settings = TelemetrySettings(log_level=level, log_format=form)
        configure_logs(settings, self.clock, stream=self.stream, secrets=secrets)
        self.log = structlog.get_logger()

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


def test_a_line_is_one_object_with_time_level_sentence_and_code_first() -> None:
    written = Written()

    written.log.warning("The inlet refuses.", route="upgrade", attempt=3, code="inlet_refuses")

    assert written.text.startswith('{"ts": "2026-11-')
    assert list(written.lines[0]) == ["ts", "level", "event", "code", "route", "attempt"]
    assert written.lines[0]["level"] == "warning"
    assert written.lines[0]["attempt"] == 3


FORGED = [
    'x\n{"level": "error", "event": "forged"}',
    "x\r\nforged",
    "\x1b[2J\x1b]0;title\x07",
    "a\u2028b\u2029c",
    "\u202eevil\u202c",
    "\x00\x7f\x85",
    "\ud800",
]


@pytest.mark.parametrize("text", FORGED)
@pytest.mark.parametrize("form", ["json", "console"])
def test_no_field_can_forge_a_line_or_move_the_cursor(
    text: str, form: Literal["json", "console"]
) -> None:
    written = Written(form=form)

    written.log.info(text, detail=text, many={"a": [text]})

    assert written.text.count("\n") == 1
    assert all(c.isprintable() for c in written.text.rstrip("\n"))


@pytest.mark.parametrize("name", sorted(SENSITIVE))
def test_a_sensitive_field_is_masked(name: str) -> None:
    written = Written()

    written.log.info("Something happened.", **{name: CANARY, "deep": {name.upper(): CANARY}})

    assert CANARY not in written.text
    assert written.lines[0][name] == "***"


def test_values_without_a_plain_form_are_named_and_not_shown() -> None:
    written = Written()
    record = Record("t", 0, 1, 2, CANARY.encode(), CANARY.encode())

    written.log.info("Odd.", a=record, b=CANARY.encode(), c=SecretStr(CANARY), d=ValueError(CANARY))

    assert CANARY not in written.text
    assert written.lines[0]["a"] == "Record"
    assert written.lines[0]["d"] == "ValueError"


def test_a_known_secret_is_struck_out_wherever_it_turns_up() -> None:
    written = Written(secrets=(CANARY, "p"))

    sentence = f"Said {CANARY}."
    written.log.info(sentence, url=f"https://x/{CANARY}", many=[CANARY], **{CANARY: 1})
    logging.getLogger("librdkafka").error("sasl: %s", CANARY)

    assert CANARY not in written.text
    assert written.text.count("***") == 5


def test_a_crash_logs_where_it_happened_and_no_values() -> None:
    written = Written()

    nothing: dict[str, int] = {}
    try:
        nothing[CANARY] += 1
    except KeyError:
        written.log.exception("Stopped by an error of ours.")

    assert CANARY not in written.text
    assert written.lines[0]["error"] == "KeyError"
    assert "test_a_crash_logs_where_it_happened_and_no_values" in written.lines[0]["frames"][-1]


def test_our_own_errors_are_sentences() -> None:
    written = Written()

    written.log.error("Held.", error=UnavailableError("registry", "no answer in 5 s"))
    written.log.error("Cannot write.", error=OSError(28, "No space left on device"))

    assert written.lines[0]["error"] == "registry: no answer in 5 s"
    assert written.lines[1]["error"] == "OSError: No space left on device"


def test_a_repeated_line_is_suppressed_and_counted() -> None:
    written = Written()

    for _ in range(300):
        written.log.warning("The broker is away.", attempt=1)
    written.log.warning("The broker is away.", route="other")
    written.clock.advance(10)
    written.log.warning("The broker is away.", attempt=2)

    assert [line.get("suppressed") for line in written.lines] == [None, None, 299]


def test_a_line_with_another_kafka_error_or_partition_is_not_suppressed() -> None:
    written = Written()

    for fields in ({"kafka_code": "_TRANSPORT"}, {"kafka_code": "_FAIL"}, {"partition": 1}) * 2:
        written.log.warning("Kafka reported an error.", code="kafka_error", topic="t", **fields)

    assert len(written.lines) == 3


def test_suppressed_lines_of_two_limiters_are_counted_together() -> None:
    written = Written()

    for suppressed in (0, 4, 2):
        written.log.warning("An error.", code="an_error", suppressed=suppressed)
    written.clock.advance(10)
    written.log.warning("An error.", code="an_error", suppressed=1)

    assert [line.get("suppressed") for line in written.lines] == [None, 9]


def test_a_critical_line_is_never_suppressed() -> None:
    written = Written()

    for _ in range(3):
        written.log.critical("Stopping.")

    assert len(written.lines) == 3


def test_levels_below_the_chosen_one_are_silent() -> None:
    written = Written(level="warning")

    written.log.info("Nothing to see.")
    logging.getLogger("some.library").info("nor here")

    assert written.text == ""


def test_what_libraries_log_becomes_our_lines_one_kind_at_a_time() -> None:
    written = Written()
    library = logging.getLogger("some.library")

    for port in range(200):
        library.warning("Connection to %s refused", port)
    library.error("Bad arguments %d", "x")

    assert [line["message"] for line in written.lines] == [
        "Connection to 0 refused",
        "Bad arguments %d",
    ]
    assert written.lines[0]["logger"] == "some.library"
    assert "kind" not in written.lines[0]


def test_long_and_endless_values_are_cut() -> None:
    written = Written()

    written.log.info("Long.", text="x" * 10_000, many=list(range(10_000)))

    assert len(written.text) < 1_000


def test_a_line_that_says_always_is_never_suppressed() -> None:
    written = Written()

    for number in range(3):
        written.log.warning("Events may be in the dataset twice.", ranges=number, always=True)

    assert [line["ranges"] for line in written.lines] == [0, 1, 2]
    assert "always" not in written.text

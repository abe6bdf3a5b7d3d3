import pytest

from processor.dead_letter.dead_letter import DeadLetter
from processor.dead_letter.reader import DeadLetterGroup, Selection, describe, group_dead_letters
from processor.domain.outcome import Reason, Reject, Stage
from processor.domain.record import Record


def dead_letter(
    reason: Reason = Reason.BAD_SCORE, time_ms: int = 1_000, offset: int = 5
) -> DeadLetter:
    record = Record("scores", 1, offset, 0, b"jane@acme.com", None, (("who", b"Jane"),))
    return DeadLetter(record, Reject(Stage.READ, reason, "The score is 101."), time_ms, "0.1.0")


@pytest.mark.parametrize(
    ("selection", "taken"),
    [
        (Selection(), True),
        (Selection(reasons=frozenset({Reason.BAD_SCORE})), True),
        (Selection(reasons=frozenset({Reason.BAD_DATE})), False),
        (Selection(stages=frozenset({Stage.DECODE})), False),
        (Selection(since_ms=1_000, until_ms=1_001), True),
        (Selection(since_ms=1_001), False),
        (Selection(until_ms=1_000), False),
        (Selection(topic="scores", partition=1, first_offset=5, last_offset=5), True),
        (Selection(topic="events"), False),
        (Selection(partition=0), False),
        (Selection(first_offset=6), False),
        (Selection(last_offset=4), False),
    ],
)
def test_a_selection_selects_by_every_field(selection: Selection, *, taken: bool) -> None:
    assert selection.takes(dead_letter()) is taken


def test_groups_are_counted_and_the_largest_is_first() -> None:
    dead_letters = [
        dead_letter(Reason.BAD_DATE),
        dead_letter(time_ms=7_000),
        dead_letter(time_ms=500),
    ]

    assert group_dead_letters(dead_letters) == [
        DeadLetterGroup(Stage.READ, Reason.BAD_SCORE, 2, 500, 7_000),
        DeadLetterGroup(Stage.READ, Reason.BAD_DATE, 1, 1_000, 1_000),
    ]


def test_a_description_shows_personal_data_only_on_request() -> None:
    redacted = describe(dead_letter(), reveal=False)
    revealed = describe(dead_letter(), reveal=True)

    assert redacted["origin"] == "scores/1/5"
    assert "Jane" not in str(redacted)
    assert "jane" not in str(redacted)
    assert redacted["value"] is None
    assert revealed["key"] == "jane@acme.com"
    assert revealed["headers"] == [("who", "Jane")]

"""Changes under way, kept apart by batch."""

from functools import partial

import pytest

from processor.errors import InvariantError
from processor.person import Person, with_score, without_score
from processor.state.overlay import Overlay
from tests.support.state import LIMITS, delivered, knows

ANN, BOB = (0, b"ann"), (1, b"bob")


def test_the_newest_version_is_found_and_each_batch_keeps_its_own() -> None:
    overlay = Overlay()
    first = overlay.stage({ANN: knows(1)})
    second = overlay.stage({ANN: knows(1, 2)})

    assert overlay.find(ANN) == knows(1, 2)
    assert overlay.staged(first) == {ANN: knows(1)}
    assert overlay.staged(second) == {ANN: knows(1, 2)}


def test_settling_a_batch_leaves_what_a_later_one_changed_again() -> None:
    overlay = Overlay()
    first = overlay.stage({ANN: knows(1), BOB: knows(1)})
    overlay.stage({ANN: knows(1, 2)})

    overlay.settle([first])

    assert overlay.find(ANN) == knows(1, 2)
    assert overlay.find(BOB) is None


def test_a_withdrawn_score_is_gone_from_its_batch_and_from_all_staged_since() -> None:
    overlay = Overlay()
    before = overlay.stage({ANN: knows(1)})
    refused = overlay.stage({ANN: knows(1, scores=(1,))})
    since = overlay.stage({ANN: knows(1, 2, scores=(1, 2))})
    score = delivered(1)

    def withdraw(person: Person) -> Person:
        return without_score(
            person,
            "churn",
            scored_at_ms=score.scored_at_ms,
            event_id=score.id,
            digest=score.digest,
        )

    overlay.change(ANN, withdraw, since=refused)

    assert overlay.staged(before) == {ANN: knows(1)}
    assert overlay.staged(refused) == {ANN: knows(1)}
    assert overlay.staged(since) == {ANN: knows(1, 2, scores=(2,))}
    assert overlay.find(ANN) == knows(1, 2, scores=(2,))


def test_a_change_reaches_every_version_once() -> None:
    overlay = Overlay()
    tickets = [overlay.stage({ANN: knows(1)}), overlay.stage({ANN: knows(1, 2)})]

    overlay.change(ANN, partial(with_score, model="churn", delivered=delivered(9), limits=LIMITS))

    assert [overlay.staged(one)[ANN] for one in tickets] == [
        knows(1, scores=(9,)),
        knows(1, 2, scores=(9,)),
    ]


def test_partitions_that_leave_take_their_changes_along() -> None:
    overlay = Overlay()
    ticket = overlay.stage({ANN: knows(1), BOB: knows(2)})

    overlay.leave([0])

    assert overlay.find(ANN) is None
    assert overlay.staged(ticket) == {BOB: knows(2)}


def test_an_unknown_ticket_is_a_mistake_of_ours() -> None:
    with pytest.raises(InvariantError):
        Overlay().staged(1)

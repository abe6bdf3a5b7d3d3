"""Changes under way, kept apart by batch."""

import pytest

from processor.domain.errors import InvariantError
from processor.state.overlay import Overlay
from tests.support.state import LIMITS, delivered, event_of, knows

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

    overlay.withdraw(refused, event_of(ANN, delivered(1)))

    assert overlay.staged(before) == {ANN: knows(1)}
    assert overlay.staged(refused) == {ANN: knows(1)}
    assert overlay.staged(since) == {ANN: knows(1, 2, scores=(2,))}
    assert overlay.find(ANN) == knows(1, 2, scores=(2,))


def test_what_was_learned_elsewhere_reaches_every_version() -> None:
    overlay = Overlay()
    tickets = [overlay.stage({ANN: knows(1)}), overlay.stage({ANN: knows(1, 2)})]

    overlay.merge(ANN, knows(scores=(9,)), LIMITS)

    assert [overlay.staged(one)[ANN] for one in tickets] == [
        knows(1, scores=(9,)),
        knows(1, 2, scores=(9,)),
    ]


def test_a_forgotten_person_is_in_no_version_any_more() -> None:
    overlay = Overlay()
    tickets = [overlay.stage({ANN: knows(1), BOB: knows(1)}), overlay.stage({ANN: knows(1, 2)})]

    overlay.erase(ANN)

    assert overlay.find(ANN) is None
    assert [overlay.staged(one) for one in tickets] == [{BOB: knows(1)}, {}]
    overlay.settle(tickets)


def test_partitions_that_leave_take_their_changes_along() -> None:
    overlay = Overlay()
    ticket = overlay.stage({ANN: knows(1), BOB: knows(2)})

    overlay.revoke(frozenset([0]))

    assert overlay.find(ANN) is None
    assert overlay.staged(ticket) == {BOB: knows(2)}


def test_an_unknown_ticket_is_a_mistake_of_ours() -> None:
    with pytest.raises(InvariantError):
        Overlay().staged(1)

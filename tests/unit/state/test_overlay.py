"""Changes that are not durable yet, separate by batch."""

import pytest

from processor.domain.errors import InvariantError
from processor.state.overlay import Overlay
from tests.support.state import LIMITS, delivered, event_of, person_with

ANN, BOB = (0, b"ann"), (1, b"bob")


def test_the_newest_version_is_found_and_each_batch_has_its_own() -> None:
    overlay = Overlay()
    first = overlay.stage({ANN: person_with(1)})
    second = overlay.stage({ANN: person_with(1, 2)})

    assert overlay.find(ANN) == person_with(1, 2)
    assert overlay.staged(first) == {ANN: person_with(1)}
    assert overlay.staged(second) == {ANN: person_with(1, 2)}


def test_settling_a_batch_keeps_the_changes_of_a_later_one() -> None:
    overlay = Overlay()
    first = overlay.stage({ANN: person_with(1), BOB: person_with(1)})
    overlay.stage({ANN: person_with(1, 2)})

    overlay.settle([first])

    assert overlay.find(ANN) == person_with(1, 2)
    assert overlay.find(BOB) is None


def test_a_withdrawn_score_is_gone_from_its_batch_and_from_all_staged_since() -> None:
    overlay = Overlay()
    before = overlay.stage({ANN: person_with(1)})
    refused = overlay.stage({ANN: person_with(1, scores=(1,))})
    since = overlay.stage({ANN: person_with(1, 2, scores=(1, 2))})

    overlay.withdraw(refused, event_of(ANN, delivered(1)))

    assert overlay.staged(before) == {ANN: person_with(1)}
    assert overlay.staged(refused) == {ANN: person_with(1)}
    assert overlay.staged(since) == {ANN: person_with(1, 2, scores=(2,))}
    assert overlay.find(ANN) == person_with(1, 2, scores=(2,))


def test_another_writers_state_is_merged_into_every_version() -> None:
    overlay = Overlay()
    tickets = [overlay.stage({ANN: person_with(1)}), overlay.stage({ANN: person_with(1, 2)})]

    overlay.merge(ANN, person_with(scores=(9,)), LIMITS)

    assert [overlay.staged(one)[ANN] for one in tickets] == [
        person_with(1, scores=(9,)),
        person_with(1, 2, scores=(9,)),
    ]


def test_an_erased_person_is_in_no_version() -> None:
    overlay = Overlay()
    tickets = [
        overlay.stage({ANN: person_with(1), BOB: person_with(1)}),
        overlay.stage({ANN: person_with(1, 2)}),
    ]

    overlay.erase(ANN)

    assert overlay.find(ANN) is None
    assert [overlay.staged(one) for one in tickets] == [{BOB: person_with(1)}, {}]
    overlay.settle(tickets)


def test_changes_of_revoked_partitions_are_dropped() -> None:
    overlay = Overlay()
    ticket = overlay.stage({ANN: person_with(1), BOB: person_with(2)})

    overlay.revoke(frozenset([0]))

    assert overlay.find(ANN) is None
    assert overlay.staged(ticket) == {BOB: person_with(2)}


def test_an_unknown_ticket_raises_an_invariant_error() -> None:
    with pytest.raises(InvariantError):
        Overlay().staged(1)

from itertools import permutations

import pytest

from processor.domain.score import Identity
from processor.enrich.primary_identity import PrimaryIdentity, person_key
from processor.settings import IdentitySettings
from tests.support.enriching import ECID

CHOICE = PrimaryIdentity(IdentitySettings())
CRM, EMAIL, LOYALTY = Identity("CRMID", "c1"), Identity("Email", "a@b"), Identity("LOYALTY", "l1")


def primary(*identities: Identity) -> set[Identity]:
    """Return the primary identity of every order of these."""
    return {CHOICE.usable(order)[0] for order in permutations(identities)}


def test_the_first_configured_namespace_is_primary_in_any_order() -> None:
    assert primary(LOYALTY, EMAIL, ECID, CRM) == {ECID}
    assert primary(LOYALTY, EMAIL, CRM) == {CRM}


def test_within_a_namespace_the_one_called_primary_wins_then_the_smallest() -> None:
    second, called = Identity("CRMID", "c2"), Identity("CRMID", "c9", primary=True)

    assert primary(second, CRM, EMAIL) == {CRM}
    assert primary(second, CRM, called) == {called}


def test_a_namespace_nobody_configured_serves_where_there_is_no_other() -> None:
    device = Identity("DEVICE", "d1")

    assert primary(LOYALTY, device) == {device}
    assert primary(LOYALTY, device, Identity("LOYALTY", "l2", primary=True)) == {
        Identity("LOYALTY", "l2", primary=True)
    }


@pytest.mark.parametrize(
    "identity",
    [
        Identity("ECID", "9876543210987654321098765432109876543"),
        Identity("ECID", "0" * 38),
        Identity("ECID", "x" * 38),
        Identity("CRMID", " "),
        Identity("CRMID", "ANONYMOUS"),
        Identity("CRMID", "00000000-0000-0000-0000-000000000000"),
        Identity("CRMID", "x" * 1025),
        Identity("", "c1"),
        Identity(" ", "c1"),
        Identity("A|B", "c1"),
    ],
)
def test_an_identity_that_names_nobody_is_left_out(identity: Identity) -> None:
    assert CHOICE.usable([identity]) == []
    assert CHOICE.usable([identity, EMAIL]) == [EMAIL]


def test_namespaces_of_those_left_out_are_told_without_those_nobody_configured() -> None:
    identities = [Identity("ECID", "1"), CRM, Identity("ANYTHING", "null")]

    assert CHOICE.left_out(identities) == ("ECID", "other")


def test_at_most_twenty_are_kept_and_the_primary_is_among_them() -> None:
    many = [Identity("LOYALTY", f"l{i}") for i in range(30)]

    kept = CHOICE.usable([*many, ECID])

    assert len(kept) == 20
    assert kept[0] == ECID


def test_a_person_is_named_by_namespace_and_id() -> None:
    assert person_key(Identity("CRMID", "Ünal")) == "CRMID|Ünal".encode()

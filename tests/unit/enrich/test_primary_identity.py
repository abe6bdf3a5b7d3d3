from itertools import permutations

import pytest

from processor.domain.score import Identity
from processor.enrich.primary_identity import PrimaryIdentity, person_key
from processor.settings import IdentitySettings
from tests.support.enriching import ECID

PRIMARY_IDENTITY = PrimaryIdentity(IdentitySettings())
CRM, EMAIL, LOYALTY = Identity("CRMID", "c1"), Identity("Email", "a@b"), Identity("LOYALTY", "l1")


def primary(*identities: Identity) -> set[Identity]:
    """Return the primary identity of every order of these."""
    return {PRIMARY_IDENTITY.usable(order)[0] for order in permutations(identities)}


def test_the_first_configured_namespace_is_primary_in_any_order() -> None:
    assert primary(LOYALTY, EMAIL, ECID, CRM) == {ECID}
    assert primary(LOYALTY, EMAIL, CRM) == {CRM}


def test_within_a_namespace_the_marked_primary_wins_then_the_smallest_id() -> None:
    second, marked = Identity("CRMID", "c2"), Identity("CRMID", "c9", primary=True)

    assert primary(second, CRM, EMAIL) == {CRM}
    assert primary(second, CRM, marked) == {marked}


def test_an_unlisted_namespace_is_primary_where_there_is_no_other() -> None:
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
def test_an_unusable_identity_is_left_out(identity: Identity) -> None:
    assert PRIMARY_IDENTITY.usable([identity]) == []
    assert PRIMARY_IDENTITY.usable([identity, EMAIL]) == [EMAIL]


def test_namespaces_left_out_are_returned_with_unlisted_ones_as_other() -> None:
    identities = [Identity("ECID", "1"), CRM, Identity("ANYTHING", "null")]

    assert PRIMARY_IDENTITY.left_out(identities) == ("ECID", "other")


def test_at_most_twenty_are_usable_and_the_primary_is_among_them() -> None:
    many = [Identity("LOYALTY", f"l{i}") for i in range(30)]

    usable = PRIMARY_IDENTITY.usable([*many, ECID])

    assert len(usable) == 20
    assert usable[0] == ECID


def test_a_person_key_is_namespace_and_id() -> None:
    assert person_key(Identity("CRMID", "Ünal")) == "CRMID|Ünal".encode()

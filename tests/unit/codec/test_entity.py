"""The identities of an entity."""

from typing import Any

import pytest

from processor.codec.entity import IdentityReader
from processor.domain.score import Identity
from processor.settings import IdentitySettings

ECID = "00000000000000000000000000000000004711"
IDENTITIES = IdentityReader(IdentitySettings())


@pytest.mark.parametrize(
    ("spelled", "namespace"),
    [
        ("ECID", "ECID"),
        ("ecid", "ECID"),
        ("mcid", "ECID"),
        ("MCID", "ECID"),
        ("email", "Email"),
        ("EMAIL", "Email"),
        ("aaid", "AAID"),
        ("LoyaltyId", "LoyaltyId"),
    ],
)
def test_namespaces_are_returned_in_their_configured_spelling(spelled: str, namespace: str) -> None:
    entity = {"identityMap": {spelled: [{"id": "x"}]}}

    assert IDENTITIES.read(entity) == (Identity(namespace, "x"),)


def test_identities_are_read_from_end_user_ids() -> None:
    entity = {
        "endUserIDs": {
            "_experience": {
                "mcid": {"id": ECID, "primary": True},
                "aaid": {"id": "2C-1", "namespace": {"code": "aaid"}},
                "emailid": {"id": "ada@example.com"},
                "aacustomid": {"id": "7", "namespace": {"code": "CRMID"}},
            }
        }
    }

    assert IDENTITIES.read(entity) == (
        Identity("ECID", ECID, primary=True),
        Identity("AAID", "2C-1"),
        Identity("Email", "ada@example.com"),
        Identity("CRMID", "7"),
    )


@pytest.mark.parametrize("number", [4711, 47.11, True, None, ["x"], {"id": "x"}])
def test_id_that_is_not_text_is_skipped(number: object) -> None:
    entity = {"identityMap": {"ECID": [{"id": number}, {"id": ECID}]}}

    assert IDENTITIES.read(entity) == (Identity("ECID", ECID),)


@pytest.mark.parametrize(
    "entity",
    [
        {},
        {"identityMap": None, "endUserIDs": None},
        {"identityMap": []},
        {"identityMap": {"ECID": None}},
        {"identityMap": {"ECID": ["x", 7, None, []]}},
        {"endUserIDs": "x"},
        {"endUserIDs": {"_experience": []}},
        {"endUserIDs": {"_experience": {"mcid": None, "aaid": "x"}}},
    ],
)
def test_entity_without_identities_has_none(entity: dict[str, Any]) -> None:
    assert IDENTITIES.read(entity) == ()


def test_single_identity_is_read_without_a_list() -> None:
    assert IDENTITIES.read({"identityMap": {"CRMID": {"id": "7"}}}) == (Identity("CRMID", "7"),)


def test_flat_record_has_three_forms_of_identities() -> None:
    record = {
        "identityMap": {"ECID": [{"id": ECID}]},
        "identities": [{"namespace": "crmid", "id": "7", "primary": True}, {"id": "8"}, None],
        "namespace": "email",
        "id": "ada@example.com",
    }

    assert IDENTITIES.read_flat(record) == (
        Identity("ECID", ECID),
        Identity("CRMID", "7", primary=True),
        Identity("Email", "ada@example.com"),
    )


@pytest.mark.parametrize(
    ("namespace", "text", "valid"),
    [
        ("ECID", ECID, True),
        ("ECID", ECID[1:], False),
        ("ECID", "0" * 38, False),
        ("ECID", "x" * 38, False),
        ("CRMID", "C-7", True),
        ("CRMID", "Anonymous", False),
        ("CRMID", "  ", False),
        ("CRMID", "00000000-0000-0000-0000-000000000000", False),
        ("CRMID", "x" * 1025, False),
        ("LoyaltyId", "7", True),
    ],
)
def test_damaged_ids_and_placeholders_are_invalid(
    namespace: str, text: str, *, valid: bool
) -> None:
    assert IDENTITIES.any_valid((Identity(namespace, text),)) is valid

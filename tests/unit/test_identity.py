"""Which ids name a person."""

import pytest

from processor.domain.score import (
    IdentityFault,
    identity_fault,
    is_placeholder,
    listed_placeholders,
)

LISTED = listed_placeholders(["Null", " anonymous "])


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\t",
        "\u00a0",
        "0",
        "0000",
        "0-0",
        "00000000-0000-0000-0000-000000000000",
        "NULL",
        "Anonymous ",
    ],
)
def test_blank_zero_and_listed_ids_are_placeholders(text: str) -> None:
    assert is_placeholder(text, LISTED)
    assert identity_fault("CRMID", text, LISTED) is IdentityFault.PLACEHOLDER
    assert identity_fault("ECID", text, LISTED) is IdentityFault.PLACEHOLDER


@pytest.mark.parametrize("text", ["7", "nullable", "0x0", "00000000-0000-0000-0000-000000000001"])
def test_ids_that_only_resemble_them_are_none(text: str) -> None:
    assert not is_placeholder(text, LISTED)
    assert identity_fault("CRMID", text, LISTED) is None


@pytest.mark.parametrize("text", ["1" * 37, "1" * 39, "1" * 37 + "x", "1" * 37 + "\u0661", "4711"])
def test_ecid_has_38_digits(text: str) -> None:
    assert identity_fault("ECID", text, LISTED) is IdentityFault.BAD_ECID


def test_good_ecid_keeps_its_leading_zeros() -> None:
    assert identity_fault("ECID", "0" * 37 + "1", LISTED) is None


def test_ecid_of_zeros_is_a_placeholder() -> None:
    assert identity_fault("ECID", "0" * 38, LISTED) is IdentityFault.PLACEHOLDER


def test_ids_have_an_end() -> None:
    assert identity_fault("CRMID", "x" * 1024, LISTED) is None
    assert identity_fault("CRMID", "x" * 1025, LISTED) is IdentityFault.TOO_LONG


@pytest.mark.parametrize("text", [" C-7", "C-7\n", "C\x007", "C\x1b7", "C\x7f7", "C\x857"])
def test_blanks_around_an_id_or_control_characters_in_it_are_damage(text: str) -> None:
    assert identity_fault("CRMID", text, LISTED) is IdentityFault.DAMAGED


@pytest.mark.parametrize("text", ["C 7", "Zo\u00eb", "a\u200db", "a\u00a0b"])
def test_other_unusual_characters_name_somebody(text: str) -> None:
    assert identity_fault("CRMID", text, LISTED) is None

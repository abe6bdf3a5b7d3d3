"""Which ids name a person, and which only look as if they did."""

import re
from collections.abc import Container
from enum import StrEnum

__all__ = ["ECID", "IdentityFault", "identity_fault", "is_placeholder", "listed_placeholders"]

ECID = "ECID"
_ECID_DIGITS = 38
_MAX_CHARACTERS = 1024
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class IdentityFault(StrEnum):
    """Why an id is not an identity (AEP, Identity Service guardrails: such records are skipped)."""

    PLACEHOLDER = "placeholder"
    """Blank, all zeros, the NIL UUID, or a word the settings list, such as `anonymous`."""
    BAD_ECID = "bad_ecid"
    """An ECID that is not exactly 38 digits, as when it was once a number and lost its zeros."""
    DAMAGED = "damaged"
    """Blanks around it or control characters in it: the same id without them is another person."""
    TOO_LONG = "too_long"
    """More than 1024 characters."""


def listed_placeholders(words: list[str]) -> frozenset[str]:
    """Return the settings' placeholder words in the form the other functions expect."""
    return frozenset(word.strip().lower() for word in words)


def is_placeholder(text: str, listed: Container[str]) -> bool:
    """Return True where an id names nobody; `listed` comes from `listed_placeholders`."""
    bare = text.strip()
    return not bare.strip("0-") or bare.lower() in listed


def identity_fault(namespace: str, text: str, listed: Container[str]) -> IdentityFault | None:
    """Say why an id of a namespace (in its configured spelling) is no identity; None: it is one."""
    if namespace == ECID and len(text) == _ECID_DIGITS and text.isdigit() and text.isascii():
        return None if text.strip("0") else IdentityFault.PLACEHOLDER
    if is_placeholder(text, listed):
        return IdentityFault.PLACEHOLDER
    if namespace == ECID:
        return IdentityFault.BAD_ECID
    if text != text.strip() or (not text.isprintable() and _CONTROL.search(text)):
        return IdentityFault.DAMAGED
    return IdentityFault.TOO_LONG if len(text) > _MAX_CHARACTERS else None

"""A score as Customer AI means it, whatever its encoding, and the rules for identities."""

import re
from collections.abc import Container
from enum import StrEnum
from typing import TypedDict

import msgspec


class Identity(msgspec.Struct, frozen=True, gc=False):
    """One identity: namespace symbol in its configured spelling, and an id that stays a string."""

    namespace: str
    id: str
    primary: bool = False


class Factor(TypedDict, total=False):
    """One influential factor, with Adobe's key names; a key without a value is left out."""

    code: str
    value: str
    importance: str


class Score(msgspec.Struct, frozen=True):
    """One person's score by one model at one scoring run.

    Source: Customer AI output fields (AEP, Customer AI "input and output"). `score` is 0-100 and
    relative, `probability` 0-1 and true, `percentile` 1-100. `scored_at_ms` is the instant of the
    scoreDate as epoch milliseconds. `model` is the name as the record spells it.
    """

    model: str
    identities: tuple[Identity, ...]
    score: float
    scored_at_ms: int
    probability: float | None = None
    percentile: int | None = None
    model_type: str | None = None
    factors: tuple[Factor, ...] = ()


ECID = "ECID"
_ECID_DIGITS = 38
_MAX_CHARACTERS = 1024
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class IdentityFault(StrEnum):
    """Why an id is not an identity (AEP, Identity Service guardrails: such records are skipped)."""

    PLACEHOLDER = "placeholder"
    """Blank, all zeros, the NIL UUID, or a word of the settings' list, such as `anonymous`."""
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
    """Return True where an id identifies no person; `listed` comes from `listed_placeholders`."""
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

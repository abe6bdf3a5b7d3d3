"""AEP's message about a refused event, without the event's values.

AEP's error texts quote the values they complain about. What stays are words of a closed vocabulary,
names of keys, JSON pointers made of them, and error codes; everything else becomes `…`.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

_MAX_LENGTH = 400
_MAX_DEPTH = 8
_MAX_TEXTS = 8
_TEXT_KEYS = ("message", "title", "keyword", "pointerToViolation", "schemaLocation", "detail")
_TOKEN = re.compile(
    r"DC[A-Z]{2,3}-\d{4}-\d{3}|#?(?:/[\w@.-]*)+|\w+(?:[-@.:]\w+)*|[^\w\s]+|\s+", re.ASCII
)
_CODE = re.compile(r"DC[A-Z]{2,3}-\d{4}-\d{3}", re.ASCII)
_MARKS = frozenset((".", ",", ":", ";", "'", '"', "[", "]", "(", ")", "#", "'.", "],", ");"))
_WORDS = frozenset(
    re.findall(
        r"\S+",
        """
    a absent additional again all allowed an and any are array as at be between boolean but by can
    cannot conform contain contains correct could date date-time datetime decimal declared default
    did does double duplicate either element elements email empty enum equal error errors event
    exactly exceeded exceeds exclusive expected extraneous fail failed failing failure field fields
    for format found from given greater has have header id identity in incorrect integer invalid is
    it items json key keys length less long longer map match matches max maximum maxlength message
    messages min minimum minlength missing more must mandatory multiple name no not null number
    object of on one only or org other parse pattern permitted pointer present properties property
    provide provided range record reference required requires schema schemas schematype shorter
    should size source string subschema subschemas than that the then there this time timestamp to
    too try type types unable unexpected union unique unknown unsupported uri uri-reference valid
    validation validated value values violation violations was were when with within without wrong
    xdm body datasetid flowid imsorgid schemaref contenttype xdmmeta xdmentity createdat
    _id _repo eventtype identitymap producedby primary authenticatedstate definitions
""",
    )
)


def redact(message: Any, body: bytes) -> tuple[str, str]:  # noqa: ANN401  any JSON
    """Return of AEP's message a sentence for people and the pointer to the field it is about.

    `body` is the refused event: the names of its keys, never its values, belong to the vocabulary.
    """
    known = _WORDS | {key.lower() for key in _keys(_decoded(body))}
    texts = [text for _, text in _texts(message, _MAX_DEPTH)][:_MAX_TEXTS]
    pointers = [text for name, text in _texts(message, _MAX_DEPTH) if name == "pointerToViolation"]
    redacted = (_redacted_text(text[: 4 * _MAX_LENGTH], known) for text in texts)
    sentence = _collapsed("; ".join(redacted))
    pointer = _redacted_text(pointers[-1][:_MAX_LENGTH], known).lstrip("#") if pointers else ""
    return sentence[:_MAX_LENGTH], pointer


def _texts(value: Any, depth: int) -> Iterator[tuple[str, str]]:  # noqa: ANN401
    """Walk AEP's message and yield the names and texts that describe the violation."""
    if isinstance(value, str):
        yield "message", value
    elif isinstance(value, dict) and depth:
        yield from ((name, value[name]) for name in _TEXT_KEYS if isinstance(value.get(name), str))
        for inner in value.values():
            if not isinstance(inner, str):
                yield from _texts(inner, depth - 1)
    elif isinstance(value, list) and depth:
        for inner in value[:_MAX_TEXTS]:
            yield from _texts(inner, depth - 1)


def _redacted_text(text: str, known: frozenset[str]) -> str:
    return "".join(_redacted(token, known) for token in _TOKEN.findall(text))


def _redacted(token: str, known: frozenset[str]) -> str:
    if token.isspace():
        return " "
    if token.lower() in known or _CODE.fullmatch(token):
        return token
    if token.lstrip("#").startswith("/"):
        return "/".join(_redacted_step(step, known) for step in token.split("/"))
    return token if token in _MARKS else "…"


def _redacted_step(step: str, known: frozenset[str]) -> str:
    index = step.isdigit() and len(step) <= 3  # noqa: PLR2004  an index, never an id
    return step if index or step in ("", "#") or step.lower() in known else "…"


def _collapsed(text: str) -> str:
    return re.sub(r"…(?:[\s….,:;'\"\[\]()-]*…)+", "…", re.sub(r"\s+", " ", text)).strip()


def _decoded(body: bytes) -> Any:  # noqa: ANN401
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None


def _keys(value: Any) -> Iterator[str]:  # noqa: ANN401
    if isinstance(value, dict):
        yield from value
        for inner in value.values():
            yield from _keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _keys(inner)

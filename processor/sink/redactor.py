"""What AEP says of a refused event, reduced to what may be kept.

AEP's error texts quote the values they complain about. Kept are words of a closed vocabulary, names
of keys, JSON pointers made of them, and error codes; everything else becomes `…`.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

_LONGEST = 400
_DEEPEST = 8
_MOST_TEXTS = 8
_TEXTS = ("message", "title", "keyword", "pointerToViolation", "schemaLocation", "detail")
_TOKEN = re.compile(
    r"DC[A-Z]{2,3}-\d{4}-\d{3}|#?(?:/[\w@.-]*)+|\w+(?:[-@.:]\w+)*|[^\w\s]+|\s+", re.ASCII
)
_CODE = re.compile(r"DC[A-Z]{2,3}-\d{4}-\d{3}", re.ASCII)
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


def redact(words: Any, body: bytes) -> tuple[str, str]:  # noqa: ANN401  whatever AEP says
    """Return a sentence for people and the pointer to the guilty field, of AEP's words.

    `body` is the refused event: the names of its keys, never its values, belong to the vocabulary.
    """
    known = _WORDS | {key.lower() for key in _keys(_decoded(body))}
    texts = [text for _, text in _texts(words, _DEEPEST)][:_MOST_TEXTS]
    pointers = [text for name, text in _texts(words, _DEEPEST) if name == "pointerToViolation"]
    sentence = _squeezed("; ".join(_safe(text[: 4 * _LONGEST], known) for text in texts))
    pointer = _safe(pointers[-1][:_LONGEST], known).lstrip("#") if pointers else ""
    return sentence[:_LONGEST], pointer


def _texts(words: Any, deep: int) -> Iterator[tuple[str, str]]:  # noqa: ANN401
    """Walk AEP's words and yield the names and texts that speak of the violation."""
    if isinstance(words, str):
        yield "message", words
    elif isinstance(words, dict) and deep:
        yield from ((name, words[name]) for name in _TEXTS if isinstance(words.get(name), str))
        for inner in words.values():
            if not isinstance(inner, str):
                yield from _texts(inner, deep - 1)
    elif isinstance(words, list) and deep:
        for inner in words[:_MOST_TEXTS]:
            yield from _texts(inner, deep - 1)


def _safe(text: str, known: frozenset[str]) -> str:
    return "".join(_kept(token, known) for token in _TOKEN.findall(text))


def _kept(token: str, known: frozenset[str]) -> str:
    if token.isspace():
        return " "
    if token.lower() in known or _CODE.fullmatch(token):
        return token
    if token.lstrip("#").startswith("/"):
        return "/".join(_step(step, known) for step in token.split("/"))
    return token if token in _MARKS else "…"


_MARKS = frozenset((".", ",", ":", ";", "'", '"', "[", "]", "(", ")", "#", "'.", "],", ");"))


def _step(step: str, known: frozenset[str]) -> str:
    index = step.isdigit() and len(step) <= 3  # noqa: PLR2004  an index, never an id
    return step if index or step in ("", "#") or step.lower() in known else "…"


def _squeezed(text: str) -> str:
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

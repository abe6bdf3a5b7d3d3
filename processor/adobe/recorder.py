"""Requests to the control APIs and their answers as NDJSON.

The record can be held against Adobe's published specifications. A line has `at`, `method`, `url`,
`request` and `response`; these two have `headers`, and `body` where it is JSON or a form, else
`bytes`, its length. Tokens, secrets, keys and the names of users are replaced by `***`; what is not
a document, such as scores and rows with identities, is never written.
"""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

from processor.domain.clock import Clock, rfc3339
from processor.domain.errors import UnavailableError

_HIDDEN: Final = "***"
_MOST_BYTES: Final = 1 << 20
"""A longer body is not written; lists of the control APIs are paged."""
_SECRET: Final = re.compile(
    r"secret$|token$|password$|jwt$|assertion$|authorization$|cookie$|api[-_]?key$|client[-_]?id$",
    re.IGNORECASE,
)
_USER: Final = frozenset(
    ("owner", "ownerfullname", "modifiedby", "modifiedbyfullname", "createduser", "updateduser",
     "createdby", "updatedby", "imsuserid")
)  # fmt: skip
_FORM: Final = "application/x-www-form-urlencoded"


class RecordedMessage(msgspec.Struct, frozen=True):
    """Headers and body of a request or an answer."""

    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def content_type(self) -> str:
        """The media type in lower case, without parameters; empty if there is none."""
        found = (each for name, each in self.headers.items() if name.lower() == "content-type")
        return next(found, "").partition(";")[0].strip().lower()


class ExchangeRecorder:
    """Appends exchanges to a file that only its owner may read; `secrets` are hidden anywhere.

    Raises UnavailableError where the file cannot be opened or written.
    """

    def __init__(self, path: Path, clock: Clock, secrets: Iterable[str] = ()) -> None:
        self._clock = clock
        self._secrets = sorted(filter(None, secrets), key=len, reverse=True)
        self._path = path
        try:
            self._file: BinaryIO = os.fdopen(
                os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab", buffering=0
            )
        except OSError as error:
            raise UnavailableError("record", f"{path} cannot be opened: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def record(
        self,
        method: str,
        url: str,
        request: RecordedMessage,
        status: int,
        response: RecordedMessage,
    ) -> None:
        """Append one exchange; `status` is 0 where there was no answer."""
        line = {
            "at": rfc3339(self._clock.now_ms()),
            "method": method,
            "url": self._url(url),
            "request": self._message(request),
            "response": {"status": status, **self._message(response)},
        }
        try:
            self._file.write(msgspec.json.encode(line) + b"\n")
        except OSError as error:
            raise UnavailableError("record", f"{self._path} is not written: {error}") from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _message(self, message: RecordedMessage) -> dict[str, Any]:
        headers = {name.lower(): text for name, text in message.headers.items()}
        shown: dict[str, Any] = {"headers": self._hidden(headers)}
        body = _document(message)
        if body is not None:
            shown["body"] = self._hidden(body)
        elif message.body:
            shown["bytes"] = len(message.body)
        return shown

    def _url(self, url: str) -> str:
        parts = urlsplit(url)
        query = self._hidden(dict(parse_qsl(parts.query, keep_blank_values=True)))
        text = urlencode(query, safe="*,:/$")
        return str(self._text(parts._replace(query=text, fragment="").geturl()))

    def _hidden(self, value: Any, *, whole: bool = False) -> Any:  # noqa: ANN401  JSON
        """Return a value with texts hidden: all of them, or those whose name or content says so."""
        if isinstance(value, dict):
            return {
                key: self._hidden(each, whole=whole or _is_hidden(str(key)))
                for key, each in value.items()
            }
        if isinstance(value, list):
            return [self._hidden(each, whole=whole) for each in value]
        if isinstance(value, str):
            return _HIDDEN if whole else self._text(value)
        return value

    def _text(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        return text


def _is_hidden(name: str) -> bool:
    return bool(_SECRET.search(name)) or name.lower() in _USER


def _document(message: RecordedMessage) -> object | None:
    """Return a body that is a document, decoded; None for any other."""
    if not message.body or len(message.body) > _MOST_BYTES:
        return None
    if message.content_type == _FORM:
        return dict(parse_qsl(message.body.decode("utf-8", "replace"), keep_blank_values=True))
    if not message.content_type.endswith("json"):
        return None
    try:
        found: object = msgspec.json.decode(message.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found

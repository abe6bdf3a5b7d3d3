"""What the control APIs answer, in sentences: success, refusal, and what to do about it.

Source of the codes: error codes of Adobe's API gateway (AEP API authentication, CJA API).
"""

from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import msgspec

from processor.domain.errors import ProcessorError, UnavailableError
from processor.http.transport import Reply, TransportFault

CJA_PATH: Final = "/data/connections"
"""How the paths of cja.adobe.io begin; all others are of platform.adobe.io."""

_OK: Final = frozenset((200, 201, 202, 204, 206, 207))
_AGAIN: Final = frozenset((408, 429, 500, 502, 503, 504))
_TOO_MANY: Final = 429
_EXPLAINED: Final = frozenset((400, 404, 409, 422))
_MOST_TITLE: Final = 200
_NEVER: Final = frozenset(
    (TransportFault.ADDRESS, TransportFault.TLS, TransportFault.TOO_LONG, TransportFault.ENCODED)
)
_NOT_SENT: Final = frozenset(
    (
        TransportFault.ADDRESS,
        TransportFault.CONNECT,
        TransportFault.DNS,
        TransportFault.PROXY,
        TransportFault.TLS,
        TransportFault.TOKEN,
    )
)


class AdobeResponse(NamedTuple):
    """A success of a control API: the decoded JSON, None where there is none."""

    status: int
    document: Any


class AdobeError(ProcessorError):
    """A control API refuses a request, or does not answer.

    `status` is 0 without a response; `sentence` says what, and `fix` what to do. With
    `in_doubt` the request may have been taken all the same. No secret, token or identity is in
    them.
    """

    def __init__(
        self, status: int, sentence: str, fix: str = "", *, in_doubt: bool = False
    ) -> None:
        super().__init__(f"{sentence} {fix}".strip())
        self.status = status
        self.in_doubt = in_doubt
        self.sentence = sentence
        self.fix = fix


class SentRequest(NamedTuple):
    """A request as it is sent, perhaps several times."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None = None

    @property
    def path(self) -> str:
        """The path of the address."""
        return urlsplit(self.url).path

    def may_be_repeated(self, reply: Reply) -> bool:
        """Return whether the request may be sent again after this reply, and could then succeed.

        What writes is repeated only where it was certainly not taken.
        """
        if self.method == "GET" or not _may_pass(reply):
            return _may_pass(reply)
        if isinstance(reply, TransportFault):
            return reply in _NOT_SENT
        return reply.body_fault is None and reply.status == _TOO_MANY


def _may_pass(reply: Reply) -> bool:
    if isinstance(reply, TransportFault):
        return reply not in _NEVER
    if reply.body_fault is not None:
        return reply.body_fault not in _NEVER
    return reply.status in _AGAIN


def answer_to(sent: SentRequest, reply: Reply) -> AdobeResponse:
    """Return the success that a reply is; raises AdobeError for any other."""
    path = sent.path
    fault = reply if isinstance(reply, TransportFault) else reply.body_fault
    if isinstance(reply, TransportFault) or fault is not None:
        fix = "Look at the network, aep.proxy and aep.ca_file."
        in_doubt = fault not in _NOT_SENT
        raise AdobeError(0, f"{_service(path)} was not reached ({fault}).", fix, in_doubt=in_doubt)
    document = _decoded(reply.body)
    if reply.status in _OK:
        if reply.body and document is None:
            raise AdobeError(reply.status, f"{_service(path)} answers with what is not JSON.")
        return AdobeResponse(reply.status, document)
    sentence, fix = _refusal(reply.status, _code(document), sent)
    if reply.status in _EXPLAINED and (title := _title(document)):
        sentence = f"{sentence} It says: {title}"
    raise AdobeError(reply.status, sentence, fix, in_doubt=reply.status in _AGAIN)


def _refusal(status: int, code: str, sent: SentRequest) -> tuple[str, str]:
    """Return what a refusal means and what to do."""
    path = sent.path
    service, shown = _service(path), f"{status} {code}".strip()
    if status in _REFUSED:
        return _no_access(status, code, sent)
    if status in _PLAIN:
        what, fix = _PLAIN[status]
        return f"{service} {what} ({shown}).", fix
    return (
        f"{service} answers {shown}.",
        "It is a fault of Adobe's side." if status >= _FAULT else "",
    )


def _no_access(status: int, code: str, sent: SentRequest) -> tuple[str, str]:
    path = sent.path
    service, shown = _service(path), f"{status} {code}".strip()
    if code in _NO_API:
        fix = (
            f"In the Developer Console: the project > Add API > {_product(path)}; take its "
            "scopes into aep.auth.scopes."
        )
        return f"The developer project has no access to {service} ({shown}).", fix
    if status == _UNAUTHORIZED:
        fix = "Look at aep.auth: client id, secret, scopes; and at aep.org_id."
        return f"{service} refuses the access token ({shown}).", fix
    sentence = f"The credential has no permission in {service} ({shown})."
    return sentence, _WRITE_FIX if sent.method != "GET" else _PERMISSION_FIX[
        path.startswith(CJA_PATH)
    ]


_UNAUTHORIZED: Final = 401
_FAULT: Final = 500
_REFUSED: Final = frozenset((_UNAUTHORIZED, 403))
_NO_API: Final = frozenset(("403000", "403003", "insufficient_scope"))
_PLAIN: Final = {
    404: ("has no such object", "Look at aep.sandbox_name, and whether the object was deleted."),
    409: (
        "has another object in the way",
        "Look for an object of the same name in AEP, or repeat the command.",
    ),
    429: (
        "refuses for too many requests",
        "Others use the limit of this user; repeat the command later.",
    ),
}
_PERMISSION_FIX: Final = {
    True: "In the Admin Console: Products > Customer Journey Analytics > a product profile > API "
    "credentials: add that of the developer project; product administrators see all connections.",
    False: "In AEP: Permissions > Roles: add the API credential to a role with this sandbox "
    "(aep.sandbox_name) and View Datasets, View Schemas.",
}


_WRITE_FIX: Final = (
    "In AEP: Permissions > Roles: a role with this sandbox (aep.sandbox_name) and Manage Schemas, "
    "Manage Datasets, Manage Sources; without roles, in the Admin Console: Products > Experience "
    "Platform > a product profile with the same permissions. Add the API credential to it."
)


def _service(path: str) -> str:
    return "CJA" if path.startswith(CJA_PATH) else "AEP"


def _product(path: str) -> str:
    return "Customer Journey Analytics" if path.startswith(CJA_PATH) else "Experience Platform API"


def no_token(error: UnavailableError) -> AdobeError:
    """Return the error of a request that was not sent for want of a token."""
    fix = "Look at aep.auth: client id, secret, scopes, and that the credential is alive."
    return AdobeError(0, f"No access token was granted: {error.detail}.", fix)


def _decoded(body: bytes) -> Any:  # noqa: ANN401  JSON
    try:
        return msgspec.json.decode(body) if body else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _title(document: object) -> str:
    """Return the title of a problem, shortened; it names objects of AEP and no identities."""
    title = document.get("title") if isinstance(document, dict) else None
    text = " ".join(str(title).split())[:_MOST_TITLE] if isinstance(title, str) else ""
    return text if text.isprintable() else ""


def next_page(document: object) -> dict[str, str]:
    """Return what to ask for the next page of a listing; empty where there is none.

    Sources: Flow Service (`_links.next.href` with a `continuationToken`), Schema Registry
    (`_links.next` or `_page.next` with the next `start`).
    """
    if not isinstance(document, dict):
        return {}
    links, page = document.get("_links"), document.get("_page")
    following = links.get("next") if isinstance(links, dict) else None
    href = following.get("href") if isinstance(following, dict) else following
    if isinstance(href, str) and href:
        return dict(parse_qsl(urlsplit(href).query))
    start = page.get("next") if isinstance(page, dict) else None
    return {"start": start} if isinstance(start, str) and start else {}


def _code(document: object) -> str:
    """Return the error code of an answer; nothing else of it is shown."""
    if not isinstance(document, dict):
        return ""
    code = document.get("error_code") or document.get("errorCode")
    return code if isinstance(code, str) and code.replace("_", "").isalnum() else ""

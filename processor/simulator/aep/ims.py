"""The token endpoint of IMS, Adobe's identity service, for server-to-server clients.

Source: AEP "authenticate and access Experience Platform APIs"; error bodies as Adobe's own clients
expect them.
"""

import secrets
from collections.abc import Mapping
from enum import StrEnum

from processor.domain.clock import Clock
from processor.simulator.aep.organisation import Credentials

_NEEDED_SCOPES = {"openid", "AdobeID"}


class TokenState(StrEnum):
    """The state of a bearer token."""

    VALID = "valid"
    MISSING = "missing"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


class Ims:
    """Issues tokens that are valid for `token_seconds`, and checks them."""

    def __init__(self, credentials: Credentials, clock: Clock, token_seconds: float) -> None:
        self.credentials = credentials
        self.token_seconds = token_seconds
        self.issued = 0
        self._clock = clock
        self._ends: dict[str, float] = {}

    def token_response(self, form: Mapping[str, str]) -> tuple[int, dict[str, object]]:
        """Return status and body of the response to a token request."""
        refusal = self._refusal(form)
        if refusal:
            return 400, {"error": refusal[0], "error_description": refusal[1]}
        return 200, {
            "access_token": self.issue(),
            "token_type": "bearer",
            "expires_in": int(self.token_seconds),
        }

    def issue(self) -> str:
        """Return a new token."""
        token = f"eyJ.{secrets.token_urlsafe(24)}.simulator"
        self._ends[token] = self._clock.monotonic() + self.token_seconds
        self.issued += 1
        return token

    def expire_all(self) -> None:
        """Make every token expire now."""
        self._ends = dict.fromkeys(self._ends, self._clock.monotonic())

    def state(self, authorization: str | None) -> TokenState:
        """Return the state of the token in an `Authorization` header."""
        scheme, _, token = (authorization or "").partition(" ")
        if not token or scheme.lower() != "bearer":
            return TokenState.MISSING
        end = self._ends.get(token)
        if end is None:
            return TokenState.UNKNOWN
        return TokenState.VALID if self._clock.monotonic() < end else TokenState.EXPIRED

    def _refusal(self, form: Mapping[str, str]) -> tuple[str, str] | None:
        if form.get("grant_type") != "client_credentials":
            return "unsupported_grant_type", "unsupported grant_type"
        if form.get("client_id") != self.credentials.client_id:
            return "invalid_client", "invalid client_id parameter"
        if form.get("client_secret") != self.credentials.client_secret:
            return "invalid_client", "invalid client_secret parameter"
        if not set(form.get("scope", "").split(",")) >= _NEEDED_SCOPES:
            return "invalid_scope", "invalid scope parameter"
        return None

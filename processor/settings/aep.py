"""Settings: the right door and what lies behind it."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from processor.settings.page import Page

__all__ = ["AepSettings", "AuthSettings", "LimitSettings", "RetrySettings", "RouteSettings"]


class AuthSettings(Page):
    """OAuth server-to-server credentials of an Adobe developer project."""

    token_url: str = "https://ims-na1.adobelogin.com/ims/token/v3"  # noqa: S105  an address
    client_id: str
    client_secret: SecretStr | None = None
    client_secret_file: Path | None = None
    """Read again whenever a token is fetched, so a rotated secret needs no restart."""
    scopes: str = (
        "openid,AdobeID,read_organizations,additional_info.projectedProductContext,session"
    )


class LimitSettings(Page):
    """What one inlet takes (AEP streaming ingestion limits), and how near we go."""

    request_bytes: Annotated[int, Field(ge=10_000, le=1_048_576)] = 1_000_000
    """Upper bound of a request body; AEP answers 413 above 1 MB."""
    linger_seconds: Annotated[float, Field(ge=0, le=10)] = 0.1
    """A request that is not full leaves after so long."""
    requests_per_second: Annotated[float, Field(gt=0)] = 1_000
    messages_per_second: Annotated[float, Field(gt=0)] = 10_000
    """Both per inlet and shared by all replicas: divide by the number of replicas."""
    max_in_flight: Annotated[int, Field(ge=1, le=256)] = 16
    """Requests under way per inlet at most; fewer while the inlet is slow or refuses."""


class RetrySettings(Page):
    """How the sink waits and tries again. Retryable failures never end in the dead-letter topic."""

    first_seconds: Annotated[float, Field(gt=0)] = 0.5
    max_seconds: Annotated[float, Field(gt=0)] = 30.0
    retry_after_cap_seconds: Annotated[float, Field(gt=0)] = 300.0
    breaker_failures: Annotated[int, Field(ge=1)] = 5
    """Failures in a row after which the circuit opens and the partitions are paused."""
    connect_timeout_seconds: Annotated[float, Field(gt=0)] = 5.0
    request_deadline_seconds: Annotated[float, Field(gt=0)] = 60.0
    """Total time for one request, answer included, however it drips."""
    max_answer_bytes: Annotated[int, Field(ge=65_536)] = 4 << 20


class AepSettings(Page):
    """The organisation and the way to its inlets."""

    org_id: Annotated[str, Field(pattern=r"^[^\s@]+@AdobeOrg$")]
    sandbox_name: str = "prod"
    source_name: str = "customer-ai-scores"
    auth: AuthSettings | None = None
    """None only for inlets created without `authenticationRequired`."""
    allow_hosts: list[str] = ["*.adobedc.net", "*.adobe.io", "*.adobelogin.com"]
    """Hosts that may be talked to; a leading `*.` matches subdomains."""
    allow_http: bool = False
    """Plain HTTP and private addresses, for the simulator on loopback only."""
    ca_file: Path | None = None
    proxy: str | None = None
    """An explicit proxy URL; the environment's proxy variables are never read."""
    proxy_username: str | None = None
    proxy_password: SecretStr | None = None
    limits: LimitSettings = LimitSettings()
    retry: RetrySettings = RetrySettings()


class RouteSettings(Page):
    """One prediction and the dataset behind its CJA connection."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    """Short name for logs, metrics and commands."""
    models: Annotated[list[str], Field(min_length=1)]
    """Model names as records carry them, or shell-style patterns; compared without regard to
    letter case and to characters other than letters and digits. The first matching route wins."""
    prediction: str | None = None
    """Display name for reports (`predictionName`); the model name as it came where unset."""
    model_key: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9]*$")] | None = None
    """Key of the model object in the event and its XDM schema; where unset, the record's model name
    reduced to letters and digits, as Customer AI does."""
    inlet_url: str
    """The connection's `inletUrl`, such as `https://dcs.adobedc.net/collection/<id>`."""
    flow_id: str
    dataset_id: str
    schema_id: str
    """`$id` of the dataset's XDM schema."""
    schema_content_type: str = "application/vnd.adobe.xed-full+json;version=1"
    """Taken from the dataset's `schemaRef`, letter for letter."""
    schema_file: Path | None = None
    """The dataset's schema as the Schema Registry resolves it (`xed-full`), to validate against in
    place of the field group in `schemas/xdm/`."""
    late: Literal["send", "drop"] = "send"
    """What to do with a score dated before today (UTC), which CJA queues as a backfill."""

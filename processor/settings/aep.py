"""Settings: the right door and what lies behind it."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from processor.settings.section import Section


class AuthSettings(Section):
    """OAuth server-to-server credentials of an Adobe developer project."""

    token_url: str = "https://ims-na1.adobelogin.com/ims/token/v3"  # noqa: S105  an address
    """Where tokens are fetched."""
    client_id: Annotated[str, Field(min_length=1, examples=["0123456789abcdef0123456789abcdef"])]
    """The credential's client id, sent as `x-api-key` too."""
    client_secret: SecretStr | None = None
    """Better in a file, or in `CAI__AEP__AUTH__CLIENT_SECRET`."""
    client_secret_file: Annotated[
        Path | None, Field(examples=["/run/secrets/aep_client_secret"])
    ] = None
    """Read again whenever a token is fetched, so a rotated secret needs no restart."""
    scopes: str = (
        "openid,AdobeID,read_organizations,additional_info.projectedProductContext,session"
    )
    """Scopes of the token, as the developer project lists them."""


class LimitSettings(Section):
    """What one inlet takes (AEP streaming ingestion limits), and how near we go."""

    request_bytes: Annotated[int, Field(ge=10_000, le=1_048_576)] = 1_000_000
    """Upper bound of a request body; AEP answers 413 above 1 MB."""
    linger_seconds: Annotated[float, Field(ge=0, le=10)] = 0.1
    """A request that is not full leaves after so long."""
    requests_per_second: Annotated[float, Field(gt=0)] = 1_000
    """Requests to one inlet."""
    messages_per_second: Annotated[float, Field(gt=0)] = 10_000
    """Events to one inlet. Both budgets are shared by all replicas: divide by their number."""
    max_in_flight: Annotated[int, Field(ge=1, le=256)] = 16
    """Requests under way per inlet at most; fewer while the inlet is slow or refuses."""


class RetrySettings(Section):
    """How the sink waits and tries again. Retryable failures never end in the dead-letter topic."""

    first_seconds: Annotated[float, Field(gt=0)] = 0.5
    """The first wait; each further one doubles, less a random part."""
    max_seconds: Annotated[float, Field(gt=0)] = 30.0
    """The longest wait of our own choosing."""
    retry_after_cap_seconds: Annotated[float, Field(gt=0)] = 300.0
    """The longest wait that an inlet's `Retry-After` may ask for."""
    breaker_failures: Annotated[int, Field(ge=1)] = 5
    """Failures in a row after which the circuit opens and the partitions are paused."""
    connect_timeout_seconds: Annotated[float, Field(gt=0)] = 5.0
    """Time to connect, name look-up and TLS included."""
    request_deadline_seconds: Annotated[float, Field(gt=0)] = 60.0
    """Total time for one request, answer included, however it drips."""
    max_answer_bytes: Annotated[int, Field(ge=65_536)] = 4 << 20
    """A longer answer is cut off and counts as unknown."""


class AepSettings(Section):
    """The organisation and the way to its inlets."""

    org_id: Annotated[
        str, Field(pattern=r"^[^\s@]+@AdobeOrg$", examples=["0123456789ABCDEF01234567@AdobeOrg"])
    ]
    """The organisation, as `<id>@AdobeOrg`."""
    sandbox_name: str = "prod"
    """The AEP sandbox, sent as `x-sandbox-name`."""
    source_name: str = "customer-ai-scores"
    """How the source calls itself in the envelope of an event."""
    auth: AuthSettings | None = None
    """None only for inlets created without `authenticationRequired`."""
    allow_hosts: list[str] = ["*.adobedc.net", "*.adobe.io", "*.adobelogin.com"]
    """Hosts that may be talked to; a leading `*.` matches subdomains."""
    allow_http: bool = False
    """Plain HTTP and private addresses, for the simulator on loopback only."""
    ca_file: Path | None = None
    """Certificates to trust in place of the system's."""
    proxy: str | None = None
    """An explicit proxy URL; the environment's proxy variables are never read."""
    proxy_username: str | None = None
    """The user the proxy knows."""
    proxy_password: SecretStr | None = None
    """Better in a file, or in `CAI__AEP__PROXY_PASSWORD`."""
    proxy_password_file: Path | None = None
    """Read at start, in place of `proxy_password`."""
    limits: LimitSettings = LimitSettings()
    retry: RetrySettings = RetrySettings()


class RouteSettings(Section):
    """One prediction and the dataset behind its CJA connection."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", examples=["upgrade"])]
    """Short name for logs, metrics and commands."""
    models: Annotated[list[str], Field(min_length=1, examples=[["Likelihood to upgrade account"]])]
    """Model names as records carry them, or shell-style patterns; compared without regard to
    letter case and to characters other than letters and digits. The first matching route wins."""
    prediction: str | None = None
    """Display name for reports (`predictionName`); where unset, the name in `models` that matched,
    or the record's own name where a pattern did."""
    model_key: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9]*$")] | None = None
    """Key of the model object in the event and its XDM schema, and part of every `_id`. Where it is
    unset, the name in `models` that matched (the record's own, where a pattern did), reduced to
    letters and digits as Customer AI does."""
    inlet_url: Annotated[
        str,
        Field(pattern=r"^https?://", examples=["https://dcs.adobedc.net/collection/0a1b2c3d4e5f"]),
    ]
    """The connection's `inletUrl`, such as `https://dcs.adobedc.net/collection/<id>`."""
    flow_id: Annotated[str, Field(min_length=1, examples=["d8a5f7c2-6f0e-4c53-9d0c-3a1b5e7f9a10"])]
    """The flow of the inlet's streaming connection that writes the dataset."""
    dataset_id: Annotated[str, Field(min_length=1, examples=["67f0c1a2b3d4e5f60718293a"])]
    """The dataset; no two routes may share one."""
    schema_id: Annotated[
        str,
        Field(
            min_length=1, examples=["https://ns.adobe.com/acme/schemas/0a1b2c3d4e5f60718293a4b5"]
        ),
    ]
    """`$id` of the dataset's XDM schema."""
    schema_content_type: str = "application/vnd.adobe.xed-full+json;version=1"
    """Taken from the dataset's `schemaRef`, letter for letter."""
    schema_file: Path | None = None
    """The dataset's schema as the Schema Registry resolves it (`xed-full`), to validate against in
    place of the field group in `schemas/xdm/`."""
    late: Literal["send", "drop"] = "send"
    """What to do with a score dated before today (UTC), which CJA queues as a backfill."""

"""Settings: the AEP organisation, its inlets and the routes to datasets."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from processor.settings.section import Section


class AuthSettings(Section):
    """OAuth server-to-server credentials of an Adobe developer project."""

    token_url: str = "https://ims-na1.adobelogin.com/ims/token/v3"  # noqa: S105  an address
    """Address of the token service."""
    client_id: Annotated[str, Field(min_length=1, examples=["0123456789abcdef0123456789abcdef"])]
    """Client id of the credential; also sent as `x-api-key`."""
    client_secret: SecretStr | None = None
    """The client secret; better set in a file or in `CAI__AEP__AUTH__CLIENT_SECRET`."""
    client_secret_file: Annotated[
        Path | None, Field(examples=["/run/secrets/aep_client_secret"])
    ] = None
    """File with the client secret, read again for each token: a new secret needs no restart."""
    scopes: str = (
        "openid,AdobeID,read_organizations,additional_info.projectedProductContext,session"
    )
    """Scopes of the token, as listed in the developer project."""


class LimitSettings(Section):
    """Limits of one inlet (AEP streaming ingestion limits) as this replica uses them."""

    request_bytes: Annotated[int, Field(ge=10_000, le=1_048_576)] = 1_000_000
    """Maximum size of a request body; AEP responds with 413 above 1 MB."""
    linger_seconds: Annotated[float, Field(ge=0, le=10)] = 0.1
    """A request that is not full is sent after this time."""
    requests_per_second: Annotated[float, Field(gt=0)] = 1_000
    """Maximum rate of requests to one inlet."""
    messages_per_second: Annotated[float, Field(gt=0)] = 10_000
    """Maximum rate of events to one inlet. AEP counts all replicas together: divide both rates by
    the number of replicas."""
    max_in_flight: Annotated[int, Field(ge=1, le=256)] = 16
    """Maximum number of requests in flight per inlet; fewer while the inlet is slow or refuses."""


class RetrySettings(Section):
    """Timeouts and retries of requests.

    A failure that may pass leads to no dead letter, unless it is shown to be that of one event:
    see `undeliverable_attempts`.
    """

    first_seconds: Annotated[float, Field(gt=0)] = 0.5
    """First wait; each further wait is twice as long, less a random part."""
    max_seconds: Annotated[float, Field(gt=0)] = 30.0
    """Longest wait, unless an inlet asks for a longer one. One that fails is tried again within 5
    seconds all the same."""
    retry_after_cap_seconds: Annotated[float, Field(gt=0)] = 300.0
    """Longest wait that is accepted from an inlet's `Retry-After`."""
    breaker_failures: Annotated[int, Field(ge=1)] = 5
    """Consecutive failures after which the circuit opens and the partitions are paused."""
    undeliverable_attempts: Annotated[int, Field(ge=3)] = 8
    """An event that failed so often, alone in its request, for `undeliverable_seconds`, while
    `undeliverable_others` were accepted, is dead-lettered as `undeliverable`."""
    undeliverable_seconds: Annotated[float, Field(gt=0)] = 600.0
    """For how long such an event has to fail; an outage of its route starts the time again."""
    undeliverable_others: Annotated[int, Field(ge=1)] = 1_000
    """How many other events of its route have to be accepted meanwhile; of its inlet, while no more
    than 10 of the route wait."""
    connect_timeout_seconds: Annotated[float, Field(gt=0)] = 5.0
    """Time limit to connect, including name lookup and TLS."""
    request_deadline_seconds: Annotated[float, Field(gt=0)] = 60.0
    """Time limit for one request, including the complete response."""
    max_response_bytes: Annotated[int, Field(ge=65_536)] = 4 << 20
    """A longer response is not read to its end and counts as unknown."""


class AepSettings(Section):
    """The organisation, and how its inlets are reached."""

    org_id: Annotated[
        str, Field(pattern=r"^[^\s@]+@AdobeOrg$", examples=["0123456789ABCDEF01234567@AdobeOrg"])
    ]
    """The organisation, as `<id>@AdobeOrg`."""
    sandbox_name: str = "prod"
    """The AEP sandbox, sent as `x-sandbox-name`."""
    source_name: str = "customer-ai-scores"
    """Name of the source in the envelope of an event."""
    auth: AuthSettings | None = None
    """Null only for inlets created without `authenticationRequired`."""
    allow_hosts: list[str] = ["*.adobedc.net", "*.adobe.io", "*.adobelogin.com"]
    """Hosts to which requests may be sent; a leading `*.` matches subdomains."""
    platform_url: Annotated[str, Field(pattern=r"^https?://")] = "https://platform.adobe.io"
    """Where the control APIs of AEP are."""
    cja_url: Annotated[str, Field(pattern=r"^https?://")] = "https://cja.adobe.io"
    """Where the API of CJA is."""
    record_file: Path | None = None
    """Append each request to the control APIs and its answer to this file as NDJSON, without
    secrets, to hold them against Adobe's specifications."""
    allow_http: bool = False
    """Allow plain HTTP and private addresses; only for the simulator on loopback."""
    ca_file: Path | None = None
    """Certificates to trust instead of the system's."""
    proxy: str | None = None
    """URL of a proxy; the proxy variables of the environment are never read."""
    proxy_username: str | None = None
    """User name for the proxy."""
    proxy_password: SecretStr | None = None
    """Password for the proxy; better set in a file or in `CAI__AEP__PROXY_PASSWORD`."""
    proxy_password_file: Path | None = None
    """File with the password, read at start, instead of `proxy_password`."""
    limits: LimitSettings = LimitSettings()
    retry: RetrySettings = RetrySettings()


class PredictionSettings(Section):
    """One prediction: how it is called, and how the dataset of its events is to be made."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", examples=["upgrade"])]
    """Short name for logs, metrics and commands."""
    models: Annotated[list[str], Field(min_length=1, examples=[["Likelihood to upgrade account"]])]
    """Model names as in the records, or shell-style patterns. Letter case and characters other than
    letters and digits are ignored. The first matching route is used."""
    prediction: str | None = None
    """Display name in reports (`predictionName`). By default the matching name in `models`, or the
    name in the record if a pattern matched."""
    model_key: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9]*$")] | None = None
    """Key of the model object in the event and its XDM schema, and part of every `_id`. By default
    the matching name in `models` (the name in the record if a pattern matched), reduced to letters
    and digits as Customer AI does."""
    dataset_name: Annotated[str, Field(min_length=1)] | None = None
    """Name of the dataset that `provision apply` makes. By default `Customer AI Scores –
    <prediction> (events)`."""
    score_dataset: Annotated[str, Field(min_length=1)] | None = None
    """Customer AI's own dataset of this prediction: its id, or how its name begins. By default it
    is found by the prediction's name."""
    inlet: Literal["shared", "own"] = "shared"
    """Whether `provision apply` makes this route a streaming connection of its own; its limits are
    then its own, too."""
    schema_file: Path | None = None
    """The dataset's schema as the Schema Registry returns it (`xed-full`); events are validated
    against it instead of the field group in `schemas/xdm/`."""
    late: Literal["send", "drop"] = "send"
    """What to do with a score dated before today (UTC), which CJA treats as a backfill."""


class RouteSettings(PredictionSettings):
    """One prediction and the dataset behind its CJA connection."""

    inlet_url: Annotated[
        str,
        Field(pattern=r"^https?://", examples=["https://dcs.adobedc.net/collection/0a1b2c3d4e5f"]),
    ]
    """`inletUrl` of the streaming connection, such as `https://dcs.adobedc.net/collection/<id>`."""
    flow_id: Annotated[str, Field(min_length=1, examples=["d8a5f7c2-6f0e-4c53-9d0c-3a1b5e7f9a10"])]
    """Id of the flow from the streaming connection to the dataset."""
    dataset_id: Annotated[str, Field(min_length=1, examples=["67f0c1a2b3d4e5f60718293a"])]
    """Id of the dataset; each route needs its own."""
    schema_id: Annotated[
        str,
        Field(
            min_length=1, examples=["https://ns.adobe.com/acme/schemas/0a1b2c3d4e5f60718293a4b5"]
        ),
    ]
    """`$id` of the dataset's XDM schema."""
    schema_content_type: str = "application/vnd.adobe.xed-full+json;version=1"
    """`contentType` of the dataset's `schemaRef`, copied exactly."""


class PlannedRoute(PredictionSettings):
    """A prediction whose dataset may not exist yet."""

    inlet_url: str | None = None
    flow_id: str | None = None
    dataset_id: str | None = None
    schema_id: str | None = None
    schema_content_type: str | None = None

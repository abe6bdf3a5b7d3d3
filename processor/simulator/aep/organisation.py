"""The simulated organisation: credentials, inlets, flows, datasets and their schemas."""

from typing import Any

import msgspec


class Credentials(msgspec.Struct, frozen=True):
    """An OAuth server-to-server client of the organisation."""

    client_id: str = "simulator-client"
    client_secret: str = "simulator-secret"  # noqa: S105  opens nothing but the simulator


EVENT_CLASS = "https://ns.adobe.com/xdm/context/experienceevent"
PROFILE_CLASS = "https://ns.adobe.com/xdm/context/profile"


class Dataset(msgspec.Struct, frozen=True):
    """A dataset and its schema; without `schema` (JSON Schema) its rows are not validated."""

    id: str
    name: str
    schema_id: str
    content_type: str = "application/vnd.adobe.xed-full+json;version=1"
    schema: dict[str, Any] | None = None
    class_id: str = EVENT_CLASS
    """`meta:class` of the schema."""


class CatalogBatch(msgspec.Struct, frozen=True):
    """A batch in the data lake; `predecessors` are the batches that it replaces."""

    id: str
    dataset_id: str
    created_ms: int
    rows: int
    status: str = "success"
    predecessors: tuple[str, ...] = ()


class StreamingConnection(msgspec.Struct, frozen=True):
    """A streaming connection; `id` is the last part of its `inletUrl`."""

    id: str
    authentication_required: bool = True


class Flow(msgspec.Struct, frozen=True):
    """A dataflow from an inlet into a dataset."""

    id: str
    inlet_id: str
    dataset_id: str
    ready_ms: int = 0
    """What is sent before this time is lost."""
    enabled: bool = True

    def takes(self, now_ms: int) -> bool:
        """Return whether what is sent now arrives."""
        return self.enabled and now_ms >= self.ready_ms


class Organisation:
    """The inlets, flows and datasets of the organisation.

    A permissive organisation accepts messages for unregistered inlets, flows and datasets.
    """

    def __init__(
        self,
        org_id: str = "SIMULATOR000000000000000@AdobeOrg",
        sandbox_name: str = "prod",
        *,
        tenant: str = "acme",
        credentials: Credentials | None = None,
        permissive: bool = False,
    ) -> None:
        self.org_id = org_id
        self.sandbox_name = sandbox_name
        self.tenant = tenant
        self.credentials = credentials or Credentials()
        self.permissive = permissive
        self.inlets: dict[str, StreamingConnection] = {}
        self.flows: dict[str, Flow] = {}
        self.datasets: dict[str, Dataset] = {}
        self.batches: dict[str, CatalogBatch] = {}

    def register(self, inlet: StreamingConnection, flow_id: str, dataset: Dataset) -> Flow:
        """Create, or replace, an inlet, a dataset and the flow between them."""
        flow = Flow(flow_id, inlet.id, dataset.id)
        self.inlets[inlet.id] = inlet
        self.datasets[dataset.id] = dataset
        self.flows[flow_id] = flow
        return flow

    def add_score_dataset(self, dataset: Dataset, *batches: CatalogBatch) -> None:
        """Create a dataset that no flow writes, as Customer AI does, with its batches."""
        self.datasets[dataset.id] = dataset
        self.batches |= {batch.id: batch for batch in batches}

    def inlet(self, inlet_id: str) -> StreamingConnection | None:
        """Return the inlet, created if the organisation is permissive; None if there is none."""
        if self.permissive:
            return self.inlets.setdefault(inlet_id, StreamingConnection(inlet_id))
        return self.inlets.get(inlet_id)

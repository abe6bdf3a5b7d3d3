"""The objects in AEP that `provision` makes: how each kind is found, read and created.

Sources: AEP Schema Registry, Catalog and Flow Service APIs. Lists may be late, may answer fewer
objects than asked for, and may have several of one name; a look-up by id is exact.
"""

from collections.abc import AsyncIterator, Mapping
from enum import Enum
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import quote

from processor.adobe.answer import AdobeError, AdobeResponse

_FOUNDATION: Final = "/data/foundation"
_REGISTRY: Final = f"{_FOUNDATION}/schemaregistry"
_DATASETS: Final = f"{_FOUNDATION}/catalog/dataSets"
_BATCHES: Final = f"{_FOUNDATION}/catalog/batches"
_FLOWS: Final = f"{_FOUNDATION}/flowservice"
_LIST: Final = {"Accept": "application/vnd.adobe.xed-id+json"}
_FULL: Final = {"Accept": "application/vnd.adobe.xed-full+json; version=1"}
_PAGE, _MOST_PAGES, _NOT_FOUND = 100, 1_000, 404


class _Place(NamedTuple):
    title: str
    folder: str
    registry: bool = False


class ObjectKind(Enum):
    """A kind of object, as people call it and where it is."""

    FIELD_GROUP = _Place("field group", "fieldgroups", registry=True)
    SCHEMA = _Place("schema", "schemas", registry=True)
    DATASET = _Place("dataset", "")
    CONNECTION = _Place("streaming connection", "connections")
    SOURCE = _Place("source connection", "sourceConnections")
    TARGET = _Place("target connection", "targetConnections")
    FLOW = _Place("dataflow", "flows")

    @property
    def title(self) -> str:
        """What people call it."""
        return self.value.title


class AepApi(Protocol):
    """What is used of the client of the control APIs."""

    async def get(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AdobeResponse:
        """Return the success of a GET."""
        ...

    def pages(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Any]:
        """Yield the documents of a listing."""
        ...

    async def post(
        self, path: str, document: object, headers: Mapping[str, str] | None = None
    ) -> AdobeResponse:
        """Return the success of a POST."""
        ...

    async def patch(
        self, path: str, document: object, headers: Mapping[str, str] | None = None
    ) -> AdobeResponse:
        """Return the success of a PATCH."""
        ...


class AepObject(NamedTuple):
    """An object of AEP: its id and its document."""

    id: str
    document: dict[str, Any]

    @property
    def description(self) -> str:
        """Its description, empty where it has none."""
        return str(self.document.get("description") or "")

    @property
    def created_ms(self) -> int:
        """When it was created, as AEP says; 0 where it does not."""
        registry = self.document.get("meta:registryMetadata")
        stamps = [self.document.get("createdAt"), self.document.get("created")]
        if isinstance(registry, dict):
            stamps.append(registry.get("repo:createdDate"))
        return next((each for each in stamps if isinstance(each, int)), 0)


class AepObjects:
    """Reads and creates objects of one sandbox; raises AdobeError."""

    def __init__(self, api: AepApi) -> None:
        self._api = api

    async def tenant(self) -> tuple[str, str]:
        """Return organisation and tenant id, as the registry's `/stats` has them."""
        stats = _dict((await self._api.get(f"{_REGISTRY}/stats")).document)
        return str(stats.get("imsOrg") or ""), str(stats.get("tenantId") or "")

    async def find(self, kind: ObjectKind, object_id: str) -> AepObject | None:
        """Return the object with this id; None where there is none."""
        headers = _FULL if kind.value.registry else {}
        try:
            document = (await self._api.get(_path(kind, object_id), None, headers)).document
        except AdobeError as error:
            if error.status == _NOT_FOUND:
                return None
            raise
        if kind is ObjectKind.DATASET:
            found = _dict(document).get(object_id)
        elif kind.value.registry:
            found = document
        else:
            found = next(iter(_list(_dict(document).get("items"))), None)
        return AepObject(object_id, found) if isinstance(found, dict) else None

    async def named(self, kind: ObjectKind, name: str) -> list[AepObject]:
        """Return all objects of a kind that have exactly this name and are in lists by now."""
        ids = [object_id async for object_id, each in self._listed(kind, name) if each == name]
        found = [await self.find(kind, object_id) for object_id in dict.fromkeys(ids)]
        return [each for each in found if each is not None]

    async def create(self, kind: ObjectKind, body: Mapping[str, Any]) -> str:
        """Create an object and return its id."""
        document = (await self._api.post(_path(kind), dict(body))).document
        if kind is ObjectKind.DATASET:
            first = next(iter(_list(document)), "")
            object_id = str(first).removeprefix("@/dataSets/")
        else:
            object_id = str(_dict(document).get("$id" if kind.value.registry else "id") or "")
        if not object_id:
            raise AdobeError(200, f"AEP created a {kind.title} without an id.", in_doubt=True)
        return object_id

    async def add_fields(self, group_id: str, fields: Mapping[str, Any]) -> None:
        """Add fields to a field group, by JSON pointer."""
        patch = [{"op": "add", "path": path, "value": value} for path, value in fields.items()]
        await self._api.patch(_path(ObjectKind.FIELD_GROUP, group_id), patch)

    async def datasets(self, name: str | None = None) -> AsyncIterator[AepObject]:
        """Yield the datasets of the sandbox, or those of a name."""
        start = 0
        for _ in range(_MOST_PAGES):
            query = {"limit": str(_PAGE), "start": str(start)} | ({"name": name} if name else {})
            page = _dict((await self._api.get(_DATASETS, query)).document)
            for dataset_id, document in page.items():
                yield AepObject(dataset_id, _dict(document))
            if not page:
                return
            start += len(page)

    async def batches(self, dataset_id: str) -> list[AepObject]:
        """Return the oldest successful batches of a dataset, one page of them."""
        query = {"dataSet": dataset_id, "status": "success", "limit": str(_PAGE)}
        found = _dict((await self._api.get(_BATCHES, query)).document)
        return [AepObject(batch_id, _dict(each)) for batch_id, each in found.items()]

    async def flows_into(self, dataset_id: str) -> list[AepObject]:
        """Return the dataflows that write a dataset, from anywhere."""
        return [
            AepObject(str(each["id"]), each)
            async for page in self._api.pages(f"{_FLOWS}/flows", {"limit": str(_PAGE)})
            for each in _list(_dict(page).get("items"))
            if isinstance(each, dict) and dataset_id in _target_datasets(each)
        ]

    async def _listed(self, kind: ObjectKind, name: str) -> AsyncIterator[tuple[str, str]]:
        if kind is ObjectKind.DATASET:
            async for dataset in self.datasets(name):
                yield dataset.id, str(dataset.document.get("name"))
            return
        id_key, name_key = ("$id", "title") if kind.value.registry else ("id", "name")
        query = {"property": f"{name_key}=={name}", "limit": str(_PAGE)}
        headers = _LIST if kind.value.registry else {}
        async for page in self._api.pages(_path(kind), query, headers):
            for each in _list(_dict(page).get("results" if kind.value.registry else "items")):
                if isinstance(each, dict):
                    yield str(each.get(id_key)), str(each.get(name_key))


def _path(kind: ObjectKind, object_id: str | None = None) -> str:
    if kind is ObjectKind.DATASET:
        root = _DATASETS
    elif kind.value.registry:
        root = f"{_REGISTRY}/tenant/{kind.value.folder}"
    else:
        root = f"{_FLOWS}/{kind.value.folder}"
    return root if object_id is None else f"{root}/{quote(object_id, safe='')}"


def _target_datasets(flow: Mapping[str, Any]) -> list[object]:
    inherited = _dict(flow.get("inheritedAttributes"))
    targets = [_dict(each) for each in _list(inherited.get("targetConnections"))]
    return [_dict(each.get("params")).get("dataSetId") for each in targets]


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []

"""Whether CJA's connections hold the datasets of the routes as the reports need them.

Source: CJA API, `Connection` and `DataSetMetadata`; the names of settings in the UI are those of
CJA's page "Create or edit a connection". The API cannot change a connection, so what is missing is
said as what to select there.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from processor.adobe.connection import (
    BackfillCounts,
    ConnectedDataset,
    Connection,
    connection_names,
    connections_with,
)
from processor.adobe.control_api import ControlApi
from processor.domain.check_result import CheckResult, CheckStatus

_LIVE: Final = timedelta(minutes=150)
"""Up to 60 minutes into the data lake (AEP guardrails), up to 90 into CJA (CJA FAQ)."""
_BACKFILL: Final = timedelta(days=30)
"""A large backfill is done within 30 days (CJA FAQ)."""
_CLOCKS: Final = timedelta(minutes=1)
"""How far the clocks of Adobe and of a replica may differ."""
_EVENT, _TIMESTAMP = "event", "timestamp"
_OWN_NAME: Final = "customer ai scores"
"""How the names of Customer AI's datasets begin, whatever letter case."""


class ExpectedDataset(msgspec.Struct, frozen=True):
    """The dataset of a route, and the sandbox that it is in."""

    route: str
    dataset_id: str
    sandbox_name: str


class Delivered(msgspec.Struct, frozen=True):
    """What replicas say that they delivered for a route since they started.

    `last_ms` is when, `last_date_ms` the newest score date, as epoch milliseconds.
    """

    events: int
    last_ms: int
    last_date_ms: int


class ConnectionJudge:
    """Judges connections for routes whose events have an identity in one of `namespaces`.

    `namespaces` is `identity.order`: the first that a person has is the primary identity.
    """

    def __init__(
        self, expected: Sequence[ExpectedDataset], namespaces: Sequence[str], now_ms: int
    ) -> None:
        self.expected = expected
        self._ours = {each.dataset_id for each in expected}
        self._namespaces = [name.casefold() for name in namespaces]
        self._now = _time(now_ms)

    def results(
        self,
        connections: Sequence[Connection],
        delivered: Mapping[str, Delivered | None],
        others: Sequence[str] = (),
    ) -> Iterator[CheckResult]:
        """Yield the results for each route in each connection that has its dataset.

        `delivered` is by route, None where it is not known; `others` names connections that a
        dataset could be added to.
        """
        used: dict[str, Connection] = {}
        for expected in self.expected:
            found = [each for each in connections if _of(each, expected.dataset_id)]
            used |= {each.id: each for each in found}
            yield _connected(expected, found, others or [each.title for each in used.values()])
            for connection in found:
                yield from self._dataset(expected, connection, delivered.get(expected.route))
        for connection in used.values():
            yield from self._connection(connection)

    def _dataset(
        self, expected: ExpectedDataset, connection: Connection, delivered: Delivered | None
    ) -> Iterator[CheckResult]:
        dataset = _of(connection, expected.dataset_id)
        if dataset is None:
            return
        name = f"{expected.route} in {connection.title}"
        yield _sandbox(name, expected, connection)
        kind = _kind(name, connection, dataset)
        yield kind
        if kind.mark is CheckStatus.FAIL:
            return
        yield self._person_id(name, connection, dataset)
        yield _streaming(name, connection, dataset)
        yield _backfills(name, connection, dataset)
        yield self._ingested(name, connection, dataset, delivered)

    def _person_id(
        self, name: str, connection: Connection, dataset: ConnectedDataset
    ) -> CheckResult:
        label = f"person id of {name}"
        if dataset.by_primary:
            sentence = "The person id is the primary identity of the identity map."
            return CheckResult(label, CheckStatus.OK, sentence)
        fix = _edit(connection, dataset, "Person ID: Identity Map > Use primary identity namespace")
        fix += " CJA then ingests the dataset again."
        if not dataset.identity_map:
            sentence = f"The person id is the field {dataset.visitor_id}, not the identity map."
            return CheckResult(label, CheckStatus.FAIL, sentence, fix)
        namespace = dataset.identity_namespace or ""
        if self._namespaces == [namespace.casefold()]:
            sentence = f"The person id is {namespace} of the identity map, as in identity.order."
            return CheckResult(label, CheckStatus.OK, sentence)
        known = namespace.casefold() in self._namespaces
        mark = CheckStatus.WARN if known else CheckStatus.FAIL
        sentence = f"The person id is {namespace or 'no namespace'} of the identity map: "
        sentence += "CJA drops every event without an identity in it."
        return CheckResult(label, mark, sentence, fix)

    def _ingested(
        self,
        name: str,
        connection: Connection,
        dataset: ConnectedDataset,
        delivered: Delivered | None,
    ) -> CheckResult:
        label = f"ingestion of {name}"
        last = _parse(dataset.last_ingested_time)
        known = f"CJA last ingested at {last:%Y-%m-%d %H:%M} UTC" if last else "CJA ingested none"
        if delivered is None:
            sentence = f"{known}; what was delivered is not known: no metrics page says it."
            mark = CheckStatus.OK if last else CheckStatus.WARN
            fix = "Give the address of a replica with --metrics, and repeat this once it delivered."
            return CheckResult(label, mark, sentence, fix)
        if not delivered.events:
            sentence = f"{known}; no event was delivered since the replicas started."
            return CheckResult(label, CheckStatus.SKIP, sentence)
        at = _time(delivered.last_ms)
        sentence = f"{known}, the last of {delivered.events:,} events delivered at "
        sentence += f"{at:%Y-%m-%d %H:%M} UTC."
        if last is not None and last >= at - _CLOCKS:
            return CheckResult(label, CheckStatus.OK, sentence)
        return CheckResult(label, *self._late(sentence, connection, dataset, delivered))

    def _late(
        self,
        sentence: str,
        connection: Connection,
        dataset: ConnectedDataset,
        delivered: Delivered,
    ) -> tuple[CheckStatus, str, str]:
        at = _time(delivered.last_ms)
        waited = self._now - at
        if waited <= _LIVE:
            return CheckStatus.WARN, sentence, "Live events show within 150 minutes: wait."
        if _time(delivered.last_date_ms).date() < at.date() and waited <= _BACKFILL:
            fix = (
                "Scores dated before the day of delivery are a backfill for CJA: 7 days for a "
                "small one, 30 for a large one."
            )
            return CheckStatus.WARN, sentence, fix
        fix = (
            f"In AEP: Datasets > {dataset.title}: failed batches. In CJA: Connections > "
            f"{connection.title} > this dataset: records skipped."
        )
        return CheckStatus.FAIL, sentence, fix

    def _connection(self, connection: Connection) -> Iterator[CheckResult]:
        ours = [each for each in connection.data_sets or () if each.data_set_id in self._ours]
        others = [
            each
            for each in connection.data_sets or ()
            if each.type == _EVENT and each.data_set_id not in self._ours
        ]
        native = [each for each in others if _is_native(each)]
        for dataset in native:
            yield _double(connection, dataset)
        yield from self._behaviour(connection, ours, [one for one in others if one not in native])
        for error in connection.connection_validation_errors or ():
            dataset_name = error.data_set_name or error.data_set_id or "the connection"
            sentence = f"CJA finds {error.error_code} in {dataset_name}."
            fix = f"{_open(connection)} > correct it > Save."
            yield CheckResult(f"validation of {connection.title}", CheckStatus.FAIL, sentence, fix)

    def _behaviour(
        self,
        connection: Connection,
        ours: Sequence[ConnectedDataset],
        others: Sequence[ConnectedDataset],
    ) -> Iterator[CheckResult]:
        label = f"behaviour in {connection.title}"
        if not others:
            sentence = "No event dataset with behaviour is beside the scores."
            fix = (
                f"{_open(connection)} > Add datasets > the datasets with behaviour > Next > "
                "Person ID as of the scores > Import new data: On > Add datasets > Save."
            )
            yield CheckResult(label, CheckStatus.FAIL, sentence, fix)
        for dataset in others:
            yield self._same_person(label, connection, ours, dataset)

    def _same_person(
        self,
        label: str,
        connection: Connection,
        ours: Sequence[ConnectedDataset],
        dataset: ConnectedDataset,
    ) -> CheckResult:
        mark = max((self._match(own, dataset) for own in ours), key=_WORST.index)
        if mark is CheckStatus.OK:
            sentence = f"{dataset.title} has the same person id as the scores."
            return CheckResult(label, mark, sentence)
        theirs = _person_id_text(dataset)
        sentence = f"{dataset.title} has the person id {theirs}, the scores "
        sentence += ", ".join(sorted({_person_id_text(own) for own in ours})) + "."
        fix = _edit(connection, dataset, "Person ID: as of the scores")
        return CheckResult(label, mark, sentence, fix)

    def _match(self, own: ConnectedDataset, other: ConnectedDataset) -> CheckStatus:
        """Compare the person ids of scores and behaviour; WARN where some persons are not joined.

        A namespace is compared with `identity.order`, by which the primary identity is chosen.
        """
        if own.by_primary and other.by_primary:
            return CheckStatus.OK
        namespace = (other.identity_namespace or "").casefold()
        if own.by_primary:
            if self._namespaces == [namespace]:
                return CheckStatus.OK
            return CheckStatus.WARN if namespace in self._namespaces else CheckStatus.FAIL
        same = (own.identity_namespace or "").casefold() == namespace != ""
        return CheckStatus.OK if same and not other.by_primary else CheckStatus.FAIL


async def verify(
    api: ControlApi,
    judge: ConnectionJudge,
    delivered: Mapping[str, Delivered | None],
) -> list[CheckResult]:
    """Return what is right and what is missing in the connections that the credential sees."""
    expected = judge.expected
    found = await connections_with(api, [each.dataset_id for each in expected])
    connected = {each.data_set_id for one in found for each in one.data_sets or ()}
    others: list[str] = []
    missing = [each for each in expected if each.dataset_id not in connected]
    if missing:
        others = await connection_names(api, missing[0].sandbox_name)
    return list(judge.results(found, delivered, others))


_WORST: Final = (CheckStatus.OK, CheckStatus.WARN, CheckStatus.FAIL)


def _of(connection: Connection, dataset_id: str) -> ConnectedDataset | None:
    found = (each for each in connection.data_sets or () if each.data_set_id == dataset_id)
    return next(found, None)


def _connected(
    expected: ExpectedDataset, found: Sequence[Connection], others: Sequence[str]
) -> CheckResult:
    label = f"connection of {expected.route}"
    if found:
        names = ", ".join(f"`{each.title}`" for each in found)
        return CheckResult(label, CheckStatus.OK, f"{expected.dataset_id} is in {names}.")
    sentence = f"No connection that the credential sees has the dataset {expected.dataset_id}."
    choice = "Create new connection"
    if others:
        choice = " or ".join([*(f"`{name}`" for name in others[:5]), choice])
    fix = (
        f"In CJA: Connections > {choice} > Sandbox: {expected.sandbox_name} > Add datasets > "
        f"Dataset ID {expected.dataset_id} > Next > Person ID: Identity Map > Use primary identity "
        "namespace > Import new data: On > Add datasets > Save. If it is there, the credential "
        "lacks product administration of CJA and sees its own connections only."
    )
    return CheckResult(label, CheckStatus.FAIL, sentence, fix)


def _sandbox(name: str, expected: ExpectedDataset, connection: Connection) -> CheckResult:
    label = f"sandbox of {name}"
    if connection.sandbox_name in (None, expected.sandbox_name):
        return CheckResult(label, CheckStatus.OK, f"It is {expected.sandbox_name}.")
    sentence = f"The connection reads {connection.sandbox_name}, the settings name "
    sentence += f"{expected.sandbox_name}."
    fix = "Set aep.sandbox_name, or connect the dataset of the right sandbox."
    return CheckResult(label, CheckStatus.FAIL, sentence, fix)


def _kind(name: str, connection: Connection, dataset: ConnectedDataset) -> CheckResult:
    label = f"dataset of {name}"
    if dataset.type == _EVENT and dataset.timestamp_id == _TIMESTAMP:
        return CheckResult(label, CheckStatus.OK, "It is an event dataset by `timestamp`.")
    delete = f"{_open(connection)} > More > Delete dataset"
    if dataset.type != _EVENT:
        sentence = f"It is a dataset of type {dataset.type}, without history: the schema has not "
        sentence += "the class XDM ExperienceEvent."
        fix = f"{delete}, and add one that `provision apply` made."
    else:
        sentence = f"Its time is {dataset.timestamp_id or 'not set'}, not `timestamp`."
        fix = f"{delete}, and add it again: CJA takes `timestamp` by itself."
    return CheckResult(label, CheckStatus.FAIL, sentence, fix)


def _streaming(name: str, connection: Connection, dataset: ConnectedDataset) -> CheckResult:
    label = f"new data of {name}"
    if dataset.streaming:
        return CheckResult(label, CheckStatus.OK, "New data is imported.")
    fix = _edit(connection, dataset, "Import new data: On")
    return CheckResult(label, CheckStatus.FAIL, "New data is not imported.", fix)


def _backfills(name: str, connection: Connection, dataset: ConnectedDataset) -> CheckResult:
    label = f"backfills of {name}"
    summary = dataset.backfill_summary or BackfillCounts()
    states = [each.status for each in dataset.backfills or ()]
    failed = max(summary.failed, states.count("FAILED"))
    running = max(summary.in_progress, states.count("IN_PROGRESS") + states.count("IN_QUEUE"))
    if failed:
        sentence = f"{failed} of {max(summary.total, len(states))} backfills failed."
        fix = (
            f"{_open(connection)} > {dataset.title} > More > Past backfills; then Edit dataset > "
            "request the backfill again > Apply > Save."
        )
        return CheckResult(label, CheckStatus.FAIL, sentence, fix)
    if running:
        sentence = f"{running} are in progress or in the queue."
        return CheckResult(
            label, CheckStatus.WARN, sentence, "Wait: up to 30 days for a large one."
        )
    completed = max(summary.completed, states.count("COMPLETED"))
    sentence = f"{completed} completed." if completed else "None was asked for."
    return CheckResult(label, CheckStatus.OK, sentence)


def _double(connection: Connection, dataset: ConnectedDataset) -> CheckResult:
    sentence = f"{dataset.title} is Customer AI's own event dataset: scores may count twice."
    fix = (
        f"Keep one of the two: {_open(connection)} > {dataset.title} > More > Delete dataset > "
        "Save, or remove the route."
    )
    label = f"double rows in {connection.title}"
    return CheckResult(label, CheckStatus.FAIL, sentence, fix)


def _is_native(dataset: ConnectedDataset) -> bool:
    return (dataset.name or "").casefold().startswith(_OWN_NAME)


def _person_id_text(dataset: ConnectedDataset) -> str:
    if dataset.by_primary:
        return "primary identity of the identity map"
    source = "identity map" if dataset.identity_map else f"field {dataset.visitor_id}"
    return f"{dataset.identity_namespace or 'no namespace'} of the {source}"


def _open(connection: Connection) -> str:
    return f"In CJA: Connections > `{connection.title}`"


def _edit(connection: Connection, dataset: ConnectedDataset, setting: str) -> str:
    return (
        f"{_open(connection)} > {dataset.title} > More > Edit dataset > {setting} > Apply > Save."
    )


def _time(epoch_ms: int) -> datetime:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)


def _parse(text: str | None) -> datetime | None:
    """Return a time of the API; the guide shows RFC 3339, one without a zone is taken as UTC."""
    try:
        at = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return at if at is None or at.tzinfo else at.replace(tzinfo=UTC)

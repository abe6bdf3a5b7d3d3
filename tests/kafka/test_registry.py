"""Writer schemas from a registry: the fake and a real Apicurio under the same checks."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Protocol
from urllib.request import Request, urlopen

import pytest

from processor.codec.registry import RegistrySchemas
from processor.codec.schemas import SchemaFolder
from processor.domain.clock import SystemClock
from processor.domain.errors import UnavailableError
from processor.domain.schema_files import schemas_folder
from processor.settings import RegistrySettings
from tests.support.framed import SCORE_ROW, framed_avro
from tests.support.job import Job
from tests.support.judge import judge
from tests.support.recipe import MODELS, TENANT
from tests.support.reference import expected
from tests.support.registry import FakeRegistry, fetch_all

_MONEY = '{"type": "record", "name": "Money", "fields": [{"name": "cents", "type": "long"}]}'
_ORDER = '{"type": "record", "name": "Order", "fields": [{"name": "total", "type": "Money"}]}'
_NO_SUCH_ID = 4_711


class Registry(Protocol):
    @property
    def url(self) -> str: ...


@pytest.fixture(params=["fake", "real"])
def either(request: pytest.FixtureRequest) -> Iterator[Registry]:
    if request.param == "real":
        yield request.getfixturevalue("registry")
        return
    with FakeRegistry() as fake:
        yield fake


def test_registered_schema_is_fetched(either: Registry) -> None:
    number = _register(either, "learned-value", {"schema": SCORE_ROW})
    schemas = _schemas(either)

    fetch_all(schemas, {number})

    assert schemas.get(number) is not None


def test_references_are_resolved(either: Registry) -> None:
    _register(either, "money", {"schema": _MONEY})
    reference = {"name": "Money", "subject": "money", "version": 1}
    number = _register(either, "order-value", {"schema": _ORDER, "references": [reference]})
    schemas = _schemas(either)

    fetch_all(schemas, {number})

    assert schemas.get(number) is not None


def test_unknown_id_is_retried_and_then_rejected(either: Registry) -> None:
    with pytest.raises(UnavailableError, match=str(_NO_SUCH_ID)):
        fetch_all(_schemas(either, unknown_id_seconds=30), {_NO_SUCH_ID})

    impatient = _schemas(either, unknown_id_seconds=0)
    fetch_all(impatient, {_NO_SUCH_ID})
    assert impatient.get(_NO_SUCH_ID) is None


def test_failing_registry_is_an_outage_and_gets_the_credentials() -> None:
    with FakeRegistry() as fake:
        number = fake.register("s", SCORE_ROW)
        fake.credentials = ("reader", "opens-it")
        with pytest.raises(UnavailableError):
            fetch_all(_schemas(fake), {number})
        known = _schemas(fake, username="reader", password="opens-it")
        fake.status = 503
        with pytest.raises(UnavailableError):
            fetch_all(known, {number})
        fake.status = None
        fetch_all(known, {number})
        assert known.get(number) is not None


def test_framed_avro_is_delivered_and_an_unknown_schema_is_dead_lettered(
    job: Callable[..., Job], registry: Registry
) -> None:
    one = job(registry={"url": registry.url, "unknown_id_seconds": 0})
    number = _register(registry, f"{one.topics.scores}-value", {"schema": SCORE_ROW})
    rows = [_row(person) for person in range(200)]
    stray = framed_avro(_NO_SUCH_ID)(rows[0])
    one.feed_raw(*[("k", framed_avro(number)(row)) for row in rows], ("k", stray))
    texts = [json.dumps(row).encode() for row in rows]
    wanted = expected([], texts, tenant=TENANT, cohort=("none",))

    one.replica().start()
    one.wait_accepted(len(wanted))
    one.wait_caught_up()

    judgement = judge(wanted, one.accepted())
    assert judgement.clean, judgement
    assert [dead_letter.value() for dead_letter in one.dead_letters()] == [stray]


def test_shipped_schema_under_an_own_tenant_is_delivered(
    job: Callable[..., Job], registry: Registry
) -> None:
    one = job(registry={"url": registry.url}, event={"tenant": "initech"})
    file = schemas_folder() / "avro" / "customer-ai-score-profile.v1.avsc"
    schema = file.read_text().replace('"_acme"', '"_initech"')
    number = _register(registry, f"{one.topics.scores}-value", {"schema": schema})
    rows = [_row(person, "initech") for person in range(100)]
    one.feed_raw(*[("k", framed_avro(number, schema)(row)) for row in rows])
    texts = [json.dumps(row).encode() for row in rows]
    wanted = expected([], texts, tenant="initech", cohort=("none",))

    one.replica().start()
    one.wait_accepted(len(wanted))
    one.wait_caught_up()

    judgement = judge(wanted, one.accepted())
    assert judgement.clean, judgement
    assert one.dead_letters() == []


def _row(person: int, tenant: str = TENANT) -> dict[str, object]:
    at = datetime.now(UTC) - timedelta(days=2)  # noqa: TID251  a date for input
    model = {
        "score": float(person % 101),
        "probability": 0.25,
        "percentileScore": 7,
        "modelType": "Churn",
        "scoreDate": at.strftime("%Y-%m-%d"),
        "influentialFactors": [{"code": "visits", "value": "3", "importance": "low"}],
    }
    identity = {"ECID": [{"id": f"{person + 1:038d}", "primary": True}]}
    return {"identityMap": identity, f"_{tenant}": {"CustomerAI": {MODELS[0]: model}}}


def _schemas(registry: Registry, **more: object) -> RegistrySchemas:
    settings = RegistrySettings.model_validate({"url": registry.url, **more})
    return RegistrySchemas(settings, SchemaFolder(schemas_folder()), SystemClock())


def _register(registry: Registry, subject: str, body: dict[str, object]) -> int:
    request = Request(  # noqa: S310  loopback
        f"{registry.url}/subjects/{subject}/versions",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/vnd.schemaregistry.v1+json"},
    )
    with urlopen(request, timeout=20) as answer:  # noqa: S310  loopback
        number: int = json.load(answer)["id"]
    return number

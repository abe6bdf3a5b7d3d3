"""The provisioning of an empty sandbox against the simulator: interrupted, repeated, in the way."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from processor.adobe.answer import AdobeError, AdobeResponse
from processor.adobe.blueprint import Blueprint
from processor.adobe.client import AdobeClient
from processor.adobe.objects import AepApi, AepObjects
from processor.adobe.provision import Provisioner, ProvisionPlan, ProvisionTimes, StepAction
from processor.domain.check_result import CheckStatus
from processor.domain.clock import SystemClock
from processor.settings import PlannedRoute
from processor.settings.routes_file import ProvisionedRoutes, read_routes_file, write_routes_file
from processor.simulator.aep.faults import Endpoint as Part
from processor.simulator.aep.faults import FaultAction, ScriptedFault
from processor.simulator.aep.organisation import CatalogBatch, Dataset
from processor.simulator.aep.simulator import AepSimulator, SimulatorSettings
from tests.contract.test_adobe_client import settings

ROUTES = [PlannedRoute(name="upgrade", models=["Likelihood to upgrade account"])]
TWO = [*ROUTES, PlannedRoute(name="churn", models=["Churn risk"], inlet="own")]
TIMES = ProvisionTimes(list_seconds=0.3, poll_seconds=0.02, flow_seconds=0.0)
LATE = SimulatorSettings(time_scale=0.005, page_size=1)  # lists are 50 ms late
KINDS = {"connections": 1, "sourceConnections": 1, "targetConnections": 1, "flows": 1}


class KilledError(Exception):
    """The process ends here."""


class Killed:
    """A client after whose n-th request, or before it, the process ends."""

    def __init__(self, api: AepApi, requests: int, *, before: bool) -> None:
        self._api = api
        self._left = requests
        self._before = before

    async def get(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AdobeResponse:
        response: AdobeResponse = await self._count(lambda: self._api.get(path, query, headers))
        return response

    async def pages(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Any]:
        async for page in self._api.pages(path, query, headers):
            yield await self._count(partial(_same, page))

    async def post(
        self, path: str, document: object, headers: Mapping[str, str] | None = None
    ) -> AdobeResponse:
        response: AdobeResponse = await self._count(lambda: self._api.post(path, document, headers))
        return response

    async def patch(
        self, path: str, document: object, headers: Mapping[str, str] | None = None
    ) -> AdobeResponse:
        response: AdobeResponse = await self._count(
            lambda: self._api.patch(path, document, headers)
        )
        return response

    async def _count(self, send: Callable[[], Any]) -> Any:  # noqa: ANN401  what it returns
        self._left -= 1
        if self._left == 0 and self._before:
            raise KilledError
        response = await send()
        if self._left == 0:
            raise KilledError
        return response


async def _same(page: object) -> object:
    return page


class Sandbox(NamedTuple):
    """A simulated sandbox and the routes file beside the settings."""

    simulator: AepSimulator
    file: Path

    def run(
        self,
        step: str = "apply",
        routes: list[PlannedRoute] = ROUTES,
        adopt: tuple[str, ...] = (),
        kill: int = 0,
        *,
        before: bool = False,
    ) -> ProvisionPlan:
        def wrapped(client: AepApi) -> AepApi:
            return Killed(client, kill, before=before) if kill else client

        return asyncio.run(self._run(step, routes, adopt, wrapped))

    async def _run(
        self,
        step: str,
        routes: list[PlannedRoute],
        adopt: tuple[str, ...],
        wrapped: Callable[[AepApi], AepApi],
    ) -> ProvisionPlan:
        clock = SystemClock()
        async with AdobeClient(settings(self.simulator).aep, clock) as client:
            provisioner = Provisioner(
                AepObjects(wrapped(client)),
                Blueprint("acme", routes),
                self.stored,
                lambda content: write_routes_file(self.file, content),
                clock=clock,
                times=TIMES,
            )
            if step == "plan":
                return await provisioner.plan(routes, adopt)
            return await provisioner.apply(routes, adopt)

    @property
    def stored(self) -> ProvisionedRoutes:
        org = self.simulator.organisation
        empty = ProvisionedRoutes(org_id=org.org_id, sandbox_name="prod", tenant="acme")
        return read_routes_file(self.file) or empty

    def counts(self) -> dict[str, int]:
        return {kind: self.simulator.flow_service.count(kind) for kind in KINDS}

    def failures(self, routes: list[PlannedRoute] = ROUTES) -> list[str]:
        plan = self.run("plan", routes)
        return [each.sentence for each in plan.results if each.mark is CheckStatus.FAIL]


@contextmanager
def sandbox(folder: Path, simulated: SimulatorSettings | None = None) -> Iterator[Sandbox]:
    with AepSimulator(settings=simulated) as simulator:
        yield Sandbox(simulator, folder / "routes.yaml")


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Sandbox]:
    with sandbox(tmp_path) as empty:
        empty.run(routes=TWO)
        yield empty


def actions(plan: ProvisionPlan) -> Counter[StepAction]:
    return Counter(step.action for step in plan.steps)


def test_an_empty_sandbox_gets_one_of_each_and_complete_routes(tmp_path: Path) -> None:
    with sandbox(tmp_path) as empty:
        planned = empty.run("plan", TWO)
        assert actions(planned) == {StepAction.CREATE: 12}
        assert not empty.file.exists()

        empty.run(routes=TWO)

        upgrade, churn = empty.stored.routes
        names = [each.name for each in empty.simulator.organisation.datasets.values()]
        assert names == [
            "Customer AI Scores – Likelihood to upgrade account (events)",
            "Customer AI Scores – Churn risk (events)",
        ]
        assert upgrade.inlet_url != churn.inlet_url
        assert str(upgrade.inlet_url).startswith(f"{empty.simulator.url}/collection/")
        assert upgrade.schema_id == churn.schema_id
        assert upgrade.schema_content_type == "application/vnd.adobe.xed-full+json;version=1"
        assert empty.stored.pending == {}
        assert actions(empty.run("plan", TWO)) == {StepAction.KEEP: 12}
        assert empty.failures(TWO) == []


@pytest.mark.slow
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_an_apply_that_is_killed_at_any_request_and_repeated_makes_nothing_twice(
    tmp_path: Path, *, before: bool
) -> None:
    for kill in count(1):
        folder = tmp_path / str(kill)
        folder.mkdir()
        with sandbox(folder, LATE) as late:
            try:
                late.run(kill=kill, before=before)
            except KilledError:
                late.run()
            else:
                assert kill > 20
                return

            assert (kill, late.counts()) == (kill, KINDS)
            assert len(late.simulator.organisation.datasets) == 1
            assert late.simulator.registry.count("fieldgroups") == 1
            assert late.simulator.registry.count("schemas") == 1
            assert late.stored.pending == {}
            assert late.stored.routes[0].dataset_id in late.simulator.organisation.datasets
            assert late.stored.routes[0].inlet_url


@pytest.mark.parametrize("action", [FaultAction.RESET, FaultAction.STATUS])
def test_a_request_without_an_answer_is_not_simply_repeated(
    tmp_path: Path, action: FaultAction
) -> None:
    with sandbox(tmp_path, LATE) as late:
        late.simulator.add_faults(
            *(
                ScriptedFault(action, on=Part.PLATFORM, accept=True, count=1, match=f"POST {path}")
                for path in (
                    "/data/foundation/catalog/dataSets",
                    "/data/foundation/flowservice/flows",
                    "/data/foundation/schemaregistry/tenant/schemas",
                )
            )
        )
        late.run()

        assert late.counts() == KINDS
        assert len(late.simulator.organisation.datasets) == 1
        assert late.simulator.registry.count("schemas") == 1


def test_a_dataset_of_others_with_the_name_is_not_taken_over_unless_named(made: Sandbox) -> None:
    made.file.unlink()
    (first, *_) = made.simulator.organisation.datasets
    made.simulator.catalog.change(first, description="Made by somebody")

    (refused,) = made.failures(TWO)
    plan = made.run(routes=TWO)
    assert "is taken" in refused
    assert plan.refused

    made.run(routes=TWO, adopt=(first,))
    assert made.stored.objects["dataset upgrade"] == first


def test_an_adopted_dataset_with_batches_is_refused(made: Sandbox) -> None:
    (first, *_) = made.simulator.organisation.datasets
    batch = CatalogBatch("b", first, created_ms=1, rows=5)
    made.simulator.organisation.batches["b"] = batch

    assert made.failures(TWO) == ["1 batches are not ours, such as b."]


def test_batches_that_replace_others_and_a_second_dataflow_are_refused(made: Sandbox) -> None:
    organisation = made.simulator.organisation
    (first, *_) = organisation.datasets
    later = SystemClock().now_ms() + 1_000
    organisation.batches["b"] = CatalogBatch("b", first, later, 5, predecessors=("a",))
    stored = made.stored.objects
    body = {
        "flowSpec": {"id": "d8a6f005-7eaf-4153-983e-e8574508b877", "version": "1.0"},
        "sourceConnectionIds": [stored["source churn"]],
        "targetConnectionIds": [stored["target upgrade"]],
    }
    made.simulator.flow_service.create("flows", json.dumps(body).encode())

    batches, flows = made.failures(TWO)
    assert "batches are not ours" in batches
    assert "Another dataflow writes the dataset" in flows


def test_a_dataset_that_does_not_become_ready_is_said_and_the_next_run_goes_on(
    tmp_path: Path,
) -> None:
    with sandbox(tmp_path) as empty:
        fault = ScriptedFault(
            FaultAction.STATUS,
            on=Part.PLATFORM,
            status=404,
            match="GET /data/foundation/catalog/dataSets/",
        )
        empty.simulator.add_faults(fault)
        with pytest.raises(AdobeError, match=r"is not ready\. Repeat the command"):
            empty.run()
        empty.simulator.clear_faults()

        empty.run()

        assert len(empty.simulator.organisation.datasets) == 1
        assert empty.counts() == KINDS


def test_a_native_event_dataset_of_the_same_prediction_is_refused(made: Sandbox) -> None:
    (ours, *_) = made.simulator.organisation.datasets.values()
    native = Dataset(
        "native", "Customer AI Scores in EE Format – Likelihood to upgrade account", ours.schema_id
    )
    made.simulator.organisation.add_score_dataset(native)

    (sentence,) = made.failures(TWO)
    assert "each score twice" in sentence


def test_a_deleted_dataset_and_a_disabled_flow_are_found(made: Sandbox) -> None:
    made.simulator.catalog.delete(made.stored.objects["dataset churn"])
    made.simulator.flow_service.disable(made.stored.objects["flow upgrade"])

    gone, disabled = sorted(made.failures(TWO), key=lambda each: "disabled" in each)
    assert "is gone" in gone
    assert "disabled" in disabled
    assert made.run(routes=TWO).refused


def test_a_field_that_was_changed_by_hand_is_a_breaking_change(made: Sandbox) -> None:
    group = made.stored.objects["field group"]
    body = made.simulator.registry.body(group)
    models = body["definitions"]["customFields"]["properties"]["_acme"]["properties"]["CustomerAI"]
    models["properties"]["Churnrisk"]["properties"]["score"] = {"type": "string"}
    made.simulator.registry.replace(group, body)

    (sentence,) = made.failures(TWO)
    assert "CustomerAI.Churnrisk.score has the type string, not number" in sentence


def test_a_field_that_was_removed_by_hand_is_found_and_added_again(made: Sandbox) -> None:
    group = made.stored.objects["field group"]
    body = made.simulator.registry.body(group)
    own = body["definitions"]["customFields"]["properties"]["_acme"]["properties"]
    del own["scoreContext"]["properties"]["scoreBucket"]
    made.simulator.registry.replace(group, body)

    assert "lacks scoreBucket" in made.failures(TWO)[0]
    made.run(routes=TWO)
    assert made.failures(TWO) == []


def test_another_prediction_is_added_to_the_field_group(tmp_path: Path) -> None:
    with sandbox(tmp_path) as empty:
        empty.run()
        plan = empty.run("plan", TWO)
        assert plan.steps[0].action is StepAction.EXTEND
        assert empty.failures(TWO) == []

        empty.run(routes=TWO)

        assert empty.simulator.registry.count("fieldgroups") == 1
        assert actions(empty.run("plan", TWO)) == {StepAction.KEEP: 12}


def test_profile_is_off_and_where_it_is_on_the_plan_warns(made: Sandbox) -> None:
    assert not any(each.mark is CheckStatus.WARN for each in made.run("plan", TWO).results)
    dataset = made.stored.objects["dataset churn"]
    made.simulator.catalog.change(dataset, tags={"unifiedProfile": ["enabled: true"]})

    warned = [each for each in made.run("plan", TWO).results if each.mark is CheckStatus.WARN]
    assert [each.name for each in warned] == ["dataset of churn"]


def test_a_refusal_leaves_no_doubt_and_names_the_permission(tmp_path: Path) -> None:
    with sandbox(tmp_path) as empty:
        empty.simulator.add_faults(
            ScriptedFault(
                FaultAction.STATUS, on=Part.PLATFORM, status=403, match="POST /data/foundation/cat"
            )
        )
        with pytest.raises(AdobeError, match="Manage Datasets"):
            empty.run()
        assert empty.stored.pending == {}

        empty.simulator.clear_faults()
        empty.run()
        assert empty.counts() == KINDS

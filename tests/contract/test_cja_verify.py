"""`verify` reads the simulated connections page by page, and judges them."""

import asyncio
from collections.abc import Iterator

import pytest

from processor.adobe.cja import ConnectionJudge, ExpectedDataset, verify
from processor.adobe.connection import read_connection
from processor.domain.check_result import CheckStatus
from processor.domain.clock import SystemClock
from processor.domain.errors import UnavailableError
from processor.simulator.aep.cja_api import (
    CjaAccess,
    CjaBackfill,
    CjaConnection,
    CjaDataset,
    CjaState,
)
from processor.simulator.aep.simulator import AepSimulator
from tests.support.aep_caller import AepCaller, with_dataset
from tests.support.control_api import SimulatorApi

UUID = "7110bb3e-76ce-4201-90bb-3e7656100{:03d}"
WEB = CjaDataset("web", "Web")
SCORES = CjaDataset("ds", "Scores", last_ingested="2026-11-02T03:04:05Z")


@pytest.fixture
def simulator() -> Iterator[AepSimulator]:
    with with_dataset(AepSimulator()) as running:
        yield running


def verified(simulator: AepSimulator, *connections: CjaConnection) -> tuple[list[str], list[str]]:
    """Return what is not right, and the requests made."""
    simulator.cja.replace(CjaState(connections=connections))
    api = SimulatorApi(AepCaller(simulator))
    expected = [ExpectedDataset("churn", "ds", "prod")]
    judge = ConnectionJudge(expected, ["ECID"], SystemClock().now_ms())
    found = asyncio.run(verify(api, judge, {}))
    return [each.name for each in found if each.mark is not CheckStatus.OK], api.paths


def main(*datasets: CjaDataset, sandbox: str = "prod") -> CjaConnection:
    return CjaConnection(UUID.format(0), "Main", datasets, sandbox)


def test_a_complete_connection_needs_one_request(simulator: AepSimulator) -> None:
    problems, paths = verified(simulator, main(SCORES, WEB))

    assert problems == []
    assert len(paths) == 1


@pytest.mark.parametrize(
    ("scores", "problem"),
    [
        (CjaDataset("ds", "S", type="profile", timestamp_id=None), "dataset of churn in Main"),
        (CjaDataset("ds", "S", primary_namespace=False, namespace="X"),
         "person id of churn in Main"),
        (CjaDataset("ds", "S", streaming=False), "new data of churn in Main"),
        (CjaDataset("ds", "S", backfills=(CjaBackfill("1", "FAILED"),)),
         "backfills of churn in Main"),
        (CjaDataset("ds", "S", backfills=(CjaBackfill("1", "IN_QUEUE"),)),
         "backfills of churn in Main"),
        (CjaDataset("ds", "S"), "ingestion of churn in Main"),
    ],
)  # fmt: skip
def test_each_wrong_state_is_found(
    simulator: AepSimulator, scores: CjaDataset, problem: str
) -> None:
    assert problem in verified(simulator, main(scores, WEB))[0]


def test_behaviour_of_another_person_id_is_found(simulator: AepSimulator) -> None:
    other = CjaDataset(
        "web", "Web", identity_map=False, primary_namespace=False, visitor_id="_a.crm",
        namespace="CRM",
    )  # fmt: skip

    assert verified(simulator, main(SCORES, other))[0] == ["behaviour in Main"]


def test_a_connection_to_another_sandbox_is_found(simulator: AepSimulator) -> None:
    found = verified(simulator, main(SCORES, WEB, sandbox="dev"))[0]

    assert found == ["sandbox of churn in Main"]


def test_a_dataset_in_no_connection_names_those_there_are(simulator: AepSimulator) -> None:
    problems, paths = verified(simulator, main(WEB))

    assert problems == ["connection of churn"]
    assert "sandboxName=prod" in paths[1]


def test_every_page_is_read(simulator: AepSimulator) -> None:
    many = [
        CjaConnection(UUID.format(number), f"C{number}", (SCORES, WEB)) for number in range(150)
    ]
    many[-1] = CjaConnection(UUID.format(149), "C149", (SCORES,))

    problems, paths = verified(simulator, *many)

    assert problems == ["behaviour in C149"]
    assert len(paths) == 2


def test_a_credential_without_cja_is_an_error(simulator: AepSimulator) -> None:
    simulator.cja.replace(CjaState(CjaAccess.NO_PROFILE))
    judge = ConnectionJudge([ExpectedDataset("churn", "ds", "prod")], [], 0)

    with pytest.raises(UnavailableError, match="403"):
        asyncio.run(verify(SimulatorApi(AepCaller(simulator)), judge, {}))


def test_a_document_of_another_shape_is_an_error() -> None:
    with pytest.raises(UnavailableError, match="another way"):
        read_connection({"id": 7})

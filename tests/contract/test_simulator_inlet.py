"""The simulator's inlet against what Adobe documents (streaming ingestion API and tutorials)."""

import json
from collections.abc import Iterator

import pytest

from processor.simulator.aep.inlet import RateLimits
from processor.simulator.aep.simulator import AepSimulator, SimulatorSettings
from tests.support.aep_caller import AepCaller, Json, message, row, with_dataset

NAMED = "inletId: [in] imsOrgId: [SIMULATOR000000000000000@AdobeOrg]"
OTHER_REF = {"id": "https://ns.adobe.com/acme/schemas/2", "contentType": "application/json"}


@pytest.fixture
def simulator() -> Iterator[AepSimulator]:
    with with_dataset(AepSimulator()) as running:
        yield running


@pytest.fixture
def aep(simulator: AepSimulator) -> AepCaller:
    return AepCaller(simulator)


def test_a_single_message_is_answered_with_inlet_transaction_and_time(aep: AepCaller) -> None:
    answer = aep.single(message())

    assert answer.status == 200
    assert answer.json["inletId"] == "in"
    assert answer.json["xactionId"].endswith("-0")
    assert type(answer.json["receivedTimeMs"]) is int


def test_a_batch_is_answered_with_207_and_one_response_a_message(aep: AepCaller) -> None:
    answer = aep.batch(message(row(1)), message(row(2)))

    assert answer.status == 207
    assert set(answer.json) == {"inletId", "batchId", "receivedTimeMs", "responses"}
    assert [set(item) for item in answer.json["responses"]] == [{"xactionId"}] * 2
    assert [item["xactionId"][-2:] for item in answer.json["responses"]] == ["-0", "-1"]


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ({}, "The 'header' field is mandatory. Provide a valid 'header' value and try again."),
        (7, "The 'header' field is mandatory. Provide a valid 'header' value and try again."),
        ({"header": message()["header"]}, f"{NAMED} Message has unknown xdm format"),
        (
            message(imsOrgId="OTHER@AdobeOrg"),
            f"{NAMED} Message has an absent or wrong ims org in the header",
        ),
        (
            message(imsOrgId=None),
            f"{NAMED} Message has an absent or wrong ims org in the header",
        ),
        (message(schemaRef=None), f"{NAMED} Message has unknown xdm format"),
        (message(schemaRef=OTHER_REF), f"{NAMED} Message has unknown xdm format"),
        (
            message(flowId=None),
            "The 'flowId' field is mandatory. Provide a valid 'flowId' value and try again.",
        ),
        (
            message(datasetId=None),
            "The 'datasetId' field is mandatory. Provide a valid 'datasetId' value and try again.",
        ),
        (message(datasetId="nowhere"), f"{NAMED} Dataset [nowhere] was not found"),
        (
            message(flowId="other"),
            f"{NAMED} Flow [other] does not belong to this inlet and dataset",
        ),
    ],
)
def test_only_the_message_with_a_bad_envelope_is_refused(
    aep: AepCaller, bad: Json, error: str
) -> None:
    responses = aep.batch(message(row(1)), bad, message(row(2))).json["responses"]

    assert responses[1]["status"] == 400
    assert responses[1]["message"] == error
    assert responses[1]["xactionId"].endswith("-1")
    assert [set(responses[0]), set(responses[2])] == [{"xactionId"}] * 2
    assert aep.simulator.accepted_events.total("ds") == 2


def test_a_refused_single_message_is_a_400_with_a_problem_body(aep: AepCaller) -> None:
    answer = aep.single(message(imsOrgId=None))

    assert answer.status == 400
    assert answer.json == {
        "type": "http://ns.adobe.com/adobecloud/problem/data-collection-service/inlet",
        "status": 400,
        "title": "Invalid XDM Message Format",
        "report": {"message": f"{NAMED} Message has an absent or wrong ims org in the header"},
    }


@pytest.mark.parametrize(
    "body",
    [b"{nope", b"[]", b'{"messages": 1}', b"{}", b"\xff\xfe", b'{"messages":' + b"[" * 9_999],
)
def test_a_body_that_is_not_a_batch_is_a_400(aep: AepCaller, body: bytes) -> None:
    assert aep.call("POST", "/collection/batch/in", body).status == 400
    assert aep.simulator.accepted_events.total() == 0


def test_a_schema_version_may_have_a_fraction_and_a_blank(aep: AepCaller) -> None:
    ref = {**message()["header"]["schemaRef"]}
    ref["contentType"] = "application/vnd.adobe.xed-full+json; version=1.0"
    loose = message(schemaRef=ref)
    loose["body"]["xdmMeta"]["schemaRef"] = ref

    assert aep.single(loose).status == 200


def test_a_request_without_a_token_is_a_401_whose_status_is_text(aep: AepCaller) -> None:
    answer = aep.single(message(), Authorization=None)

    assert answer.status == 401
    assert answer.json == {
        "type": "https://ns.adobe.com/adobecloud/problem/data-collection-service-authorization",
        "status": "401",
        "title": "Authorization",
        "report": {"message": "[id] Ims service token is empty"},
    }


def test_an_expired_token_is_refused_until_a_new_one_is_used(aep: AepCaller) -> None:
    aep.simulator.expire_tokens()

    assert aep.single(message()).status == 401
    assert AepCaller(aep.simulator).single(message()).status == 200


def test_an_expired_token_can_be_answered_with_403() -> None:
    settings = SimulatorSettings(expired_status=403)
    with with_dataset(AepSimulator(settings=settings)) as simulator:
        aep = AepCaller(simulator)
        simulator.expire_tokens()

        answer = aep.single(message())

        assert (answer.status, answer.json["status"]) == (403, "403")


def test_an_inlet_without_authentication_requires_no_token(aep: AepCaller) -> None:
    dataset = aep.simulator.organisation.datasets["ds"]
    aep.simulator.register(
        inlet_id="in", flow_id="flow", dataset=dataset, authentication_required=False
    )

    assert aep.single(message(), Authorization=None).status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"x_sandbox_name": None}, 400),
        ({"x_sandbox_name": "other"}, 400),
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "application/json; charset=utf-8"}, 200),
    ],
)
def test_headers_are_checked(aep: AepCaller, headers: dict[str, str | None], status: int) -> None:
    assert aep.single(message(), **headers).status == status


def test_an_unknown_inlet_is_a_404(aep: AepCaller) -> None:
    assert aep.call("POST", "/collection/nowhere", json.dumps(message())).status == 404


def test_more_than_one_megabyte_is_a_413_and_nothing_is_accepted(aep: AepCaller) -> None:
    large = message(row(1, note="x" * 1_100_000))

    answer = aep.batch(message(), large)

    assert (answer.status, answer.json["status"]) == (413, 413)
    assert aep.simulator.accepted_events.total() == 0


@pytest.mark.parametrize(
    "limits", [RateLimits(requests_per_second=2), RateLimits(messages_per_second=4)]
)
def test_a_rate_limit_is_a_429_with_retry_after(limits: RateLimits) -> None:
    settings = SimulatorSettings(limits=limits)
    with with_dataset(AepSimulator(settings=settings)) as simulator:
        aep = AepCaller(simulator)

        answers = [aep.batch(message(row(1)), message(row(2))) for _ in range(3)]

        assert [answer.status for answer in answers] == [207, 207, 429]
        assert answers[-1].headers["Retry-After"] == "1"


def test_sync_validation_passes_a_good_row(aep: AepCaller) -> None:
    answer = aep.single(message(), "?syncValidation=true")

    assert answer.status == 200
    assert answer.json["syncValidation"] == {"status": "pass"}


def test_sync_validation_reports_a_bad_row_and_drops_it(aep: AepCaller) -> None:
    answer = aep.single(message({"_id": 7, "timestamp": "monday", "x": 1}), "?syncValidation=true")

    report = answer.json["report"]
    causes = report["cause"]["_streamingValidation"][0]["causingExceptions"]
    found = {(cause["pointerToViolation"], cause["keyword"]): cause["message"] for cause in causes}
    assert answer.status == 400
    assert report["message"] == f"{NAMED} Message is invalid"
    assert found["#/_id", "type"] == "expected type: String, found: Long"
    assert found["#", "additionalProperties"] == "extraneous key [x] is not permitted"
    assert found["#/timestamp", "format"].startswith("[monday] is not a valid date-time. Expected")
    assert aep.simulator.accepted_events.total() == 0


def test_sync_validation_stops_after_five_violations(aep: AepCaller) -> None:
    extraneous = {f"x{number}": 1 for number in range(9)}

    answer = aep.single(message(row(1, **extraneous)), "?syncValidation=true")

    causes = answer.json["report"]["cause"]["_streamingValidation"][0]["causingExceptions"]
    assert len(causes) == 5


def test_sync_validation_is_limited_by_the_minute_and_by_region() -> None:
    for limits, statuses in (
        (RateLimits(sync_validations_per_minute=2), [200, 200, 429]),
        (RateLimits(sync_validation_supported=False), [501, 501, 501]),
    ):
        settings = SimulatorSettings(limits=limits)
        with with_dataset(AepSimulator(settings=settings)) as simulator:
            aep = AepCaller(simulator)

            found = [aep.single(message(), "?syncValidation=true").status for _ in range(3)]

            assert found == statuses


def test_a_row_that_breaks_the_schema_is_accepted_and_ends_in_a_failed_batch(
    aep: AepCaller,
) -> None:
    answer = aep.batch(message(row(1)), message(row(2, extra=True)))

    failed = aep.simulator.failed_rows("ds")
    assert [set(item) for item in answer.json["responses"]] == [{"xactionId"}] * 2
    assert [one["body"]["xdmEntity"]["_id"] for one in failed] == [f"{2:064x}"]
    assert failed[0]["header"]["datasetId"] == "ds"
    report = failed[0]["_errors"]["_streamingValidation"][0]
    assert report["causingExceptions"][0]["message"] == "extraneous key [extra] is not permitted"


def test_a_missing_source_name_and_entity_fail_later(aep: AepCaller) -> None:
    bare = message()
    del bare["body"]["xdmEntity"]

    answer = aep.batch(message(source=None), bare)

    first, second = aep.simulator.failed_rows()
    assert [set(item) for item in answer.json["responses"]] == [{"xactionId"}] * 2
    assert first["_errors"]["_streamingValidation"] == [
        {"message": "Payload header is missing Source Name"}
    ]
    assert second["_validationErrors"] == [{"message": "Payload body is missing xdmEntity"}]


@pytest.mark.parametrize(
    "entity",
    [b'{"_id":"\xff"}', b'{"_id":"\\ud800"}', b'{"_id":1e999}', b'{"_id":' + b"9" * 400 + b"}"],
)
def test_a_hostile_row_does_not_affect_other_rows(aep: AepCaller, entity: bytes) -> None:
    good = json.dumps(message(row(1))).encode()
    bad = json.dumps(message({})).encode().replace(b'"xdmEntity": {}', b'"xdmEntity": ' + entity)

    answer = aep.call("POST", "/collection/batch/in", b'{"messages":[%b,%b]}' % (bad, good))

    assert answer.status in {207, 400}
    assert aep.batch(message(row(2))).status == 207
    failed = aep.simulator.failed_rows()
    assert len(failed) == (1 if answer.status == 207 else 0)


def test_a_permissive_simulator_accepts_unknown_datasets_and_flows() -> None:
    with AepSimulator(settings=SimulatorSettings(permissive=True)) as simulator:
        answer = AepCaller(simulator).batch(message(datasetId="any", flowId="any"))

        assert [set(item) for item in answer.json["responses"]] == [{"xactionId"}]
        assert simulator.accepted_events.total("any") == 1

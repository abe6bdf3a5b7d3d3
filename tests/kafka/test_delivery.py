"""Delivery on a real broker: what is read, what is accepted, and what a restart repeats."""

from collections.abc import Callable

from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType

from processor.simulator.aep.simulator import AepSimulator
from tests.support.job import Job
from tests.support.judge import judge
from tests.support.kafka_cluster import RealKafka
from tests.support.recipe import COHORT, TENANT
from tests.support.reference import expected
from tests.support.workload import History

_STOP_SECONDS = 25


def test_every_score_becomes_the_event_of_the_reference(
    job: Callable[..., Job], past: History, aep: AepSimulator
) -> None:
    one = job()
    events, scores = one.feed_events(past.events), one.feed_scores(past.scores)
    wanted = expected(events, scores, tenant=TENANT, cohort=COHORT)

    one.replica().start()
    one.wait_accepted(len(wanted))
    one.wait_caught_up()

    judgement = judge(wanted, one.accepted())
    assert judgement.clean, judgement
    assert not judgement.repeated
    assert set(aep.accepted_events.datasets()) == {"dataset-one", "dataset-two"}
    assert aep.failed_rows() == []


def test_bad_records_are_dead_lettered_with_their_bytes_unchanged(
    job: Callable[..., Job], past: History
) -> None:
    one = job()
    poison = [b"{not json", b"\x00\x00\x00", b'{"score": 5}', b"[]", b"\xff\xfe" * 50]
    one.feed_raw(*[(f"poison-{number}", value) for number, value in enumerate(poison)])
    scores = one.feed_scores(past.scores)
    wanted = expected([], scores, tenant=TENANT, cohort=COHORT)

    one.replica().start()
    one.wait_accepted(len(wanted))
    one.wait_caught_up()

    dead_letters = one.dead_letters()
    assert {dead_letter.value() for dead_letter in dead_letters} == set(poison)
    assert {dead_letter.key() for dead_letter in dead_letters} == {
        b"poison-%d" % n for n in range(len(poison))
    }
    assert len(dead_letters) == len(poison)
    assert judge(wanted, one.accepted()).clean


def test_restart_repeats_nothing(job: Callable[..., Job], past: History) -> None:
    one = job()
    half = len(past.scores) // 2
    events, scores = one.feed_events(past.events), one.feed_scores(past.scores[:half])
    replica = one.replica()
    replica.start()
    one.wait_caught_up()

    assert replica.terminate(_STOP_SECONDS) == 0
    scores += one.feed_scores(past.scores[half:])
    replica.start()
    wanted = expected(events, scores, tenant=TENANT, cohort=COHORT)
    one.wait_accepted(len(wanted))
    one.wait_caught_up()

    judgement = judge(wanted, one.accepted())
    assert judgement.clean, judgement
    assert not judgement.repeated


def test_second_copy_of_every_score_is_a_duplicate(job: Callable[..., Job], past: History) -> None:
    one = job()
    events, scores = one.feed_events(past.events), one.feed_scores(past.scores)
    replica = one.replica()
    replica.start()
    one.wait_caught_up()

    one.feed_scores(past.scores)
    one.wait_caught_up()

    wanted = expected(events, scores, tenant=TENANT, cohort=COHORT)
    judgement = judge(wanted, one.accepted())
    assert judgement.clean, judgement
    assert not judgement.repeated
    assert replica.metric("cai_duplicate_scores_total") == len(wanted)


def test_state_is_restored_from_a_compacted_changelog_when_the_disk_is_lost(
    job: Callable[..., Job], past: History, kafka: RealKafka
) -> None:
    one = job()
    runs = len(past.scores) // 3
    events, scores = one.feed_events(past.events), one.feed_scores(past.scores[: 2 * runs])
    first = one.replica("first")
    first.start()
    one.wait_caught_up()
    assert first.terminate(_STOP_SECONDS) == 0

    scores += one.feed_scores(past.scores[2 * runs :])
    one.replica("on-an-empty-disk").start()
    wanted = expected(events, scores, tenant=TENANT, cohort=COHORT)
    one.wait_accepted(len(wanted))
    one.wait_caught_up()

    judgement = judge(wanted, one.accepted())
    assert judgement.clean, judgement
    assert not judgement.repeated
    assert _config(kafka, one.topics.changelog)["cleanup.policy"] == "compact"


def _config(kafka: RealKafka, topic: str) -> dict[str, str]:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    admin = kafka.admin()
    found = admin.describe_configs([resource])[resource].result(timeout=20)
    return {name: entry.value for name, entry in found.items()}

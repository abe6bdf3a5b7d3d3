"""The control topic on a real broker: pauses that a restart does not end, and skips."""

from collections.abc import Callable

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType

from tests.support.job import Job
from tests.support.kafka_cluster import RealKafka
from tests.support.replica import Replica
from tests.support.waiting import until
from tests.support.workload import History

CONTROL = "customer-ai-control"


def wait_readiness(replica: Replica, *words: str) -> None:
    until(
        lambda: all(word in replica.readiness() for word in words),
        seconds=20,
        what=f"{replica.name} says {words}",
        tell=lambda: replica.readiness() + replica.log_tail(),
    )


def run(replica: Replica, *arguments: str) -> str:
    code, printed = replica.command(*arguments)
    assert code == 0, printed
    return printed


def test_the_reject_limit_pauses_a_restart_stays_paused_and_resume_goes_on(
    job: Callable[..., Job], past: History, kafka: RealKafka
) -> None:
    one = job(dead_letter={"stop_after_consecutive": 200}, join={"enabled": False})
    one.feed_raw(*[(f"poison-{number}", b"{not json") for number in range(300)])
    replica = one.replica()
    replica.start()
    wait_readiness(replica, "paused", "in a row", "resume")
    assert replica.metric("cai_paused_at_limit", cause="reject_limit") == 1
    dead_letters = len(one.dead_letters())

    for _ in range(2):
        assert replica.terminate() in (0, 4)
        replica.start()
        wait_readiness(replica, "paused", "in a row")
    assert len(one.dead_letters()) == dead_letters < 200
    assert "in a row" in run(replica, "control", "show")

    one.feed_scores(past.scores)
    assert "All replicas resume" in run(replica, "resume")
    one.wait_accepted(len(past.scores))
    one.wait_caught_up()
    assert len(one.dead_letters()) == 300
    replica.wait_ready()
    policy, admin = ConfigResource(ResourceType.TOPIC, CONTROL), kafka.admin()
    found = admin.describe_configs([policy])[policy].result(10)
    assert found["cleanup.policy"].value == "compact"


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_two_replicas_obey_pause_and_resume(
    job: Callable[..., Job], past: History, protocol: str
) -> None:
    one = job(kafka={"group_protocol": protocol})
    replicas = [one.replica("first"), one.replica("second")]
    for replica in replicas:
        replica.start()
    for replica in replicas:
        replica.wait_ready()

    run(replicas[0], "pause", "--reason", "inlet moves")
    for replica in replicas:
        wait_readiness(replica, "paused", "inlet moves")
    one.feed_scores(past.scores)
    assert replicas[0].command("pause")[0] == 2
    assert one.accepted() == []

    run(replicas[1], "resume")
    one.wait_accepted(len(past.scores))
    one.wait_caught_up()


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_deleted_records_pause_a_restart_stays_paused_and_resume_reads_the_oldest(
    job: Callable[..., Job], past: History, kafka: RealKafka, protocol: str
) -> None:
    one = job(kafka={"group_protocol": protocol}, join={"enabled": False})
    _commit_start(one, kafka)
    one.feed_scores(past.scores)
    gone = [offset for topic, number, offset in one.placed if number == 0 and offset < 5]
    cut = TopicPartition(one.topics.scores, 0, 5)
    admin = kafka.admin()
    admin.delete_records([cut])[cut].result(10)
    replica = one.replica()
    replica.start()
    wait_readiness(replica, "paused", f"{one.topics.scores}/0", "on_gap")
    assert replica.metric("cai_retention_overrun_records_total") == len(gone) == 5

    assert replica.terminate() in (0, 4)
    replica.start()
    wait_readiness(replica, "paused", f"{one.topics.scores}/0", "on_gap")

    run(replica, "resume")
    one.wait_accepted(len(past.scores) - 5)
    replica.wait_ready()
    one.wait_caught_up()


def test_a_skipped_record_is_dead_lettered_with_its_bytes_and_the_others_go_on(
    job: Callable[..., Job], past: History
) -> None:
    one = job(join={"enabled": False})
    one.feed_scores(past.scores)
    replica = one.replica()
    place = min(one.placed)
    position = "/".join(map(str, place))
    replica.start()
    wait_readiness(replica, "ready")
    one.wait_caught_up()
    code, printed = replica.command("skip", position, "--reason", "poison")
    assert code == 2
    assert "settled already" in printed

    run(replica, "pause", "--reason", "to skip one")
    wait_readiness(replica, "paused")
    fed = set(one.placed)
    one.feed_scores(past.scores[:40])
    place = min(set(one.placed) - fed)
    run(replica, "skip", "/".join(map(str, place)), "--reason", "poison")
    run(replica, "resume")
    one.wait_caught_up()

    (dead_letter,) = one.dead_letters()
    assert dead_letter.value() == one.placed[place]
    assert "record_skipped" in replica.log_path.read_text()


def _commit_start(one: Job, kafka: RealKafka) -> None:
    """Let the group have offset 0 of every scores partition committed."""
    admin = kafka.admin()
    places = [TopicPartition(one.topics.scores, number, 0) for number in range(4)]
    wanted = ConsumerGroupTopicPartitions(one.name, places)
    admin.alter_consumer_group_offsets([wanted])[one.name].result(10)

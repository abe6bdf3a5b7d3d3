"""More members than partitions: a member without partitions knows that it is one."""

from uuid import uuid4

import pytest

from processor.settings import JoinSettings
from tests.support.kafka_cluster import RealKafka
from tests.support.kafka_io import SourceReplica
from tests.support.waiting import until

_JOIN, _NO_JOIN = JoinSettings(), JoinSettings(enabled=False)


@pytest.mark.parametrize("join", [_JOIN, _NO_JOIN], ids=["join", "no_join"])
@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_surplus_member_is_a_member(kafka: RealKafka, protocol: str, join: JoinSettings) -> None:
    name = f"members-{uuid4().hex[:6]}"
    kafka.create_topics({f"{name}-scores": 2, f"{name}-events": 2})
    replicas = [
        SourceReplica(
            kafka,
            join=join,
            group_id=name,
            group_protocol=protocol,
            scores={"topics": [f"{name}-scores"]},
            events={"topics": [f"{name}-events"]} if join.enabled else None,
        ).start()
        for _ in range(3)
    ]

    def idle() -> list[int]:
        for replica in replicas:
            replica.turn()
        members = [each.source for each in replicas if each.source.is_member]
        return sorted(len(each.assigned) for each in members)

    each = 2 if join.enabled else 1
    until(lambda: idle() == [0, each, each], seconds=20, what="one is idle", tell=idle)
    for replica in replicas:
        assert replica.source.close(5)

from processor.domain.record import Partition
from processor.source.partition_status import PauseCauses

P, Q = Partition("scores", 0), Partition("events", 0)


def test_partition_is_paused_while_it_has_any_cause() -> None:
    pauses = PauseCauses()
    pauses.pause("destination")
    pauses.pause("state", [P])

    assert pauses.paused([P, Q]) == {P, Q}
    pauses.resume("destination")
    assert pauses.paused([P, Q]) == {P}
    pauses.resume("state", [P])
    assert pauses.paused([P, Q]) == set()


def test_cause_for_all_pauses_partitions_assigned_later() -> None:
    pauses = PauseCauses()
    pauses.pause("destination")

    assert pauses.paused([Q]) == {Q}


def test_partition_assigned_again_is_not_paused_for_old_causes() -> None:
    pauses = PauseCauses()
    pauses.pause("state", [P, Q])

    pauses.forget([P])

    assert pauses.paused([P, Q]) == {Q}
    assert pauses.by_cause([P, Q]) == {"state": 1}

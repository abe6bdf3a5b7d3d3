from processor.domain.record import Partition
from processor.source.partition_status import PauseCauses

P, Q = Partition("scores", 0), Partition("events", 0)


def test_a_partition_rests_while_any_cause_holds_it() -> None:
    pauses = PauseCauses()
    pauses.pause("destination")
    pauses.pause("state", [P])

    assert pauses.paused([P, Q]) == {P, Q}
    pauses.resume("destination")
    assert pauses.paused([P, Q]) == {P}
    pauses.resume("state", [P])
    assert pauses.paused([P, Q]) == set()


def test_a_house_wide_cause_holds_partitions_that_come_later() -> None:
    pauses = PauseCauses()
    pauses.pause("destination")

    assert pauses.paused([Q]) == {Q}


def test_what_leaves_and_comes_back_is_not_held_for_old_causes() -> None:
    pauses = PauseCauses()
    pauses.pause("state", [P, Q])

    pauses.forget([P])

    assert pauses.paused([P, Q]) == {Q}
    assert pauses.by_cause([P, Q]) == {"state": 1}

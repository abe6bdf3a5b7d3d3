import asyncio

from processor.sink.slots import ConcurrencyLimit


def test_no_more_than_the_limit_are_taken_and_the_first_comes_first() -> None:
    async def scene() -> list[int]:
        slots, order = ConcurrencyLimit(2), []

        async def take(number: int) -> None:
            await slots.take()
            order.append(number)

        tasks = [asyncio.create_task(take(i)) for i in range(4)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert order == [0, 1]
        slots.give()
        slots.give()
        await asyncio.gather(*tasks)
        return order

    assert asyncio.run(scene()) == [0, 1, 2, 3]


def test_one_who_gives_up_waiting_leaves_no_hole() -> None:
    async def scene() -> int:
        slots = ConcurrencyLimit(1)
        await slots.take()
        waiting = [asyncio.create_task(slots.take()) for _ in range(3)]
        await asyncio.sleep(0)
        slots.give()
        waiting[0].cancel()
        waiting[1].cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert not waiting[2].cancelled()
        slots.give()
        return slots.used

    assert asyncio.run(scene()) == 0


def _full(slots: ConcurrencyLimit) -> ConcurrencyLimit:
    slots.used = slots.limit
    return slots


def test_good_answers_at_the_limit_raise_it_to_the_most() -> None:
    slots = ConcurrencyLimit(16)

    for _ in range(400):
        _full(slots).learn(0.05, good=True)

    assert slots.limit == 16


def test_good_answers_below_the_limit_do_not_raise_it() -> None:
    slots = ConcurrencyLimit(16)

    for _ in range(400):
        slots.learn(0.05, good=True)

    assert slots.limit == 4


def test_failures_halve_it_to_one() -> None:
    slots = ConcurrencyLimit(16)

    for _ in range(10):
        slots.learn(0.05, good=False)

    assert slots.limit == 1


def test_an_inlet_that_slows_down_gets_fewer_and_one_that_stays_slow_gets_them_back() -> None:
    slots = ConcurrencyLimit(16)
    for _ in range(400):
        _full(slots).learn(0.05, good=True)

    levels = []
    for _ in range(600):
        _full(slots).learn(1.0, good=True)
        levels.append(slots.limit)

    assert min(levels) < 10
    assert levels[-1] == 16

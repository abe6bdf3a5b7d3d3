"""Compares the accepted events with the expected ones."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from processor.simulator.aep.accepted_events import Accepted

_SHOWN = 3


class Judgement(NamedTuple):
    """Events by `_id`.

    `lost` were expected and not accepted, `phantom` accepted and not expected, `repeated` accepted
    more than once (with how often beyond the first), `wrong` accepted with other content.
    """

    lost: frozenset[str]
    phantom: frozenset[str]
    repeated: Mapping[str, int]
    wrong: Mapping[str, list[str]]

    @property
    def clean(self) -> bool:
        """True where every expected event was accepted as expected; repetitions do not matter."""
        return not (self.lost or self.phantom or self.wrong)

    @property
    def repetitions(self) -> int:
        """How many events were accepted beyond the first time."""
        return sum(self.repeated.values())

    def __str__(self) -> str:
        shown = [line for lines in self.wrong.values() for line in lines][:_SHOWN]
        return (
            f"lost {len(self.lost)}, phantom {len(self.phantom)}, "
            f"repeated {self.repetitions}, wrong {len(self.wrong)}"
            + "".join(f"\n  {line}" for line in shown)
        )


def judge(expected: Mapping[str, Mapping[str, Any]], accepted: Iterable[Accepted]) -> Judgement:
    """Return the judgement; the content of repetitions is compared too."""
    times: Counter[str] = Counter()
    wrong: dict[str, list[str]] = {}
    for one in accepted:
        times[one.id] += 1
        want = expected.get(one.id)
        if want is not None and (found := _differences(want, one.event())):
            wrong[one.id] = found
    return Judgement(
        lost=frozenset(expected.keys() - times.keys()),
        phantom=frozenset(times.keys() - expected.keys()),
        repeated={name: count - 1 for name, count in times.items() if count > 1},
        wrong=wrong,
    )


def _differences(want: Mapping[str, Any], got: Mapping[str, Any], path: str = "") -> list[str]:
    found: list[str] = []
    for key in want.keys() | got.keys():
        one, other, at = want.get(key), got.get(key), f"{path}/{key}"
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found += _differences(one, other, at)
        elif one != other:
            found.append(f"{at}: {other!r} instead of {one!r}")
    return found

"""Changes that are not durable yet: visible to later batches at once, and separate by batch.

What is made durable for one batch must not hold a score that only a later batch delivers: after a
crash it would count as delivered. So each batch keeps its own version of a person.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from processor.domain.errors import InvariantError
from processor.domain.event import ScoreEvent
from processor.state.person import Person, PersonKey, PersonLimits, merge, without_score


class Overlay:
    """Staged changes by ticket, tickets ascending, and the newest version of each person."""

    def __init__(self) -> None:
        self._staged: dict[int, dict[PersonKey, Person]] = {}
        self._newest: dict[PersonKey, Person] = {}
        self._ticket = 0

    def find(self, key: PersonKey) -> Person | None:
        """Return the newest staged version of a person."""
        return self._newest.get(key)

    def stage(self, changes: Mapping[PersonKey, Person]) -> int:
        """Add a batch's changes; return their ticket."""
        self._ticket += 1
        self._staged[self._ticket] = dict(changes)
        self._newest.update(changes)
        return self._ticket

    def staged(self, ticket: int) -> Mapping[PersonKey, Person]:
        """Return the changes of a ticket as they are now."""
        if ticket not in self._staged:
            raise InvariantError(f"No changes are staged under ticket {ticket}.")
        return self._staged[ticket]

    def settle(self, tickets: Iterable[int]) -> None:
        """Drop tickets whose changes are in the store; later versions stay."""
        for ticket in tickets:
            for key, person in self._staged.pop(ticket).items():
                if self._newest.get(key) is person:
                    del self._newest[key]

    def revoke(self, partitions: frozenset[int]) -> None:
        """Drop what is staged for partitions that are no longer assigned."""
        for changes in (*self._staged.values(), self._newest):
            for key in [key for key in changes if key[0] in partitions]:
                del changes[key]

    def keys(self, partition: int) -> list[PersonKey]:
        """Return the persons of a partition that have staged versions."""
        return [key for key in self._newest if key[0] == partition]

    def withdraw(self, ticket: int, event: ScoreEvent) -> None:
        """Take a score out of a ticket's changes and of all staged since."""
        key = (event.record.partition, event.person)
        self._change(key, partial(without_score, event=event), ticket)

    def merge(self, key: PersonKey, other: Person, limits: PersonLimits) -> None:
        """Merge what another writer wrote into each version of a person."""
        self._change(key, partial(merge, other, limits=limits))

    def erase(self, key: PersonKey) -> None:
        """Take a person out of everything that is staged."""
        self._change(key, lambda _: None)

    def _change(
        self, key: PersonKey, change: Callable[[Person], Person | None], since: int = 0
    ) -> None:
        """Change every version of a person from a ticket on; None deletes it."""
        newest = self._newest.get(key)
        for ticket, changes in self._staged.items():
            version = changes.get(key)
            if ticket < since or version is None:
                continue
            changed = change(version)
            _replace(changes, key, changed)
            if newest is version:
                _replace(self._newest, key, changed)


def _replace(persons: dict[PersonKey, Person], key: PersonKey, person: Person | None) -> None:
    if person is None:
        del persons[key]
    else:
        persons[key] = person

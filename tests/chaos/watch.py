"""Checks from outside that no offset is committed before its record is settled."""

from collections.abc import Mapping
from threading import Event, Thread

from confluent_kafka import KafkaException

from tests.support.job import Job
from tests.support.recipe import TENANT
from tests.support.reference import names_of

_EVERY_SECONDS = 0.3


class CommitWatch:
    """Compares committed offsets with accepted events, again and again, in its own thread.

    Commits are read first, accepted events second: every event of a committed record must have been
    accepted by then. The records are those that the job itself fed.
    """

    def __init__(self, job: Job) -> None:
        self.looks = 0
        self.overshoots: list[str] = []
        self._job = job
        self._checked: dict[int, int] = {}
        self._over = Event()
        self._thread = Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop the thread and compare a last time."""
        self._over.set()
        self._thread.join(30)
        self._look()

    def _run(self) -> None:
        while not self._over.wait(_EVERY_SECONDS):
            try:
                self._look()
            except KafkaException:  # the broker is down just now
                continue

    def _look(self) -> None:
        committed = self._job.committed()
        accepted = self._job.aep.accepted_events.times()
        for (topic, partition), offset in committed.items():
            if topic == self._job.topics.scores:
                self._compare(partition, offset, accepted)
        self.looks += 1

    def _compare(self, partition: int, committed: int, accepted: Mapping[str, int]) -> None:
        """Check the records between the last comparison and what is committed now."""
        topic, offset = self._job.topics.scores, self._checked.get(partition, 0)
        while offset < committed and (value := self._job.placed.get((topic, partition, offset))):
            if any(name not in accepted for name in names_of(value, tenant=TENANT)):
                self.overshoots.append(f"{partition}@{offset} is committed without its event")
            offset += 1
        self._checked[partition] = offset

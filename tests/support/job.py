"""One job under test: its topics, its settings, its replicas, what goes in and what came out."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.cimpl import OFFSET_BEGINNING

from processor.enrich.event_schema import closed_event
from processor.simulator.aep.accepted_events import Accepted
from processor.simulator.aep.inlet import RateLimits
from processor.simulator.aep.organisation import Dataset, Organisation
from processor.simulator.aep.simulator import AepSimulator, SimulatorSettings
from tests.support.recipe import COHORT, MODELS, ORG, TENANT, laid_over, recipe
from tests.support.replica import Replica
from tests.support.waiting import until
from tests.support.workload import Row

_encode: Callable[[Any], bytes] = msgspec.json.Encoder().encode


class Topics(NamedTuple):
    """The names of a job's topics; the changelog is the processor's to create."""

    scores: str
    events: str
    dead_letters: str
    changelog: str

    @classmethod
    def of(cls, name: str) -> "Topics":
        """Return names that no other job has."""
        return cls(f"{name}-scores", f"{name}-events", f"{name}-dead-letters", f"{name}-state")


class Job:
    """A consumer group with a name, reading its own topics and posting to a simulator.

    The topics must exist. `pages` are laid over the settings of every replica.
    """

    def __init__(
        self,
        name: str,
        bootstrap: str,
        simulator: AepSimulator,
        folder: Path,
        **pages: Any,  # noqa: ANN401  pages of settings
    ) -> None:
        self.name = name
        self.topics = Topics.of(name)
        self.bootstrap = bootstrap
        self.placed: dict[tuple[str, int, int], bytes] = {}
        """Every record fed, by topic, partition and offset."""
        self.aep = simulator
        self._folder = folder
        self._pages = pages
        self._replicas: list[Replica] = []

    def replica(self, name: str = "only", *, static: bool = False) -> Replica:
        """Return a new replica, not started; `static` gives it a membership that outlives it."""
        folder = self._folder / name
        inlet = f"{self.aep.url}/collection"
        pages = laid_over(self._own(), self._pages)
        if static:
            pages = laid_over(pages, {"kafka": {"group_instance_id": name}})
        replica = Replica(name, folder, recipe(self.bootstrap, inlet, folder, **pages))
        self._replicas.append(replica)
        return replica

    def end(self) -> None:
        """Kill whatever still runs."""
        for replica in self._replicas:
            replica.kill()

    def feed_events(self, rows: Iterable[Row]) -> list[bytes]:
        """Write experience events; returns the record values once the broker has them."""
        return self._feed(self.topics.events, ((row.key, self.encoded(row)) for row in rows))

    def feed_scores(self, rows: Iterable[Row]) -> list[bytes]:
        """Write scores; returns the record values once the broker has them."""
        return self._feed(self.topics.scores, ((row.key, self.encoded(row)) for row in rows))

    def feed_raw(self, *records: tuple[str, bytes]) -> None:
        """Write score records as they stand: key and value."""
        self._feed(self.topics.scores, records)

    def encoded(self, row: Row) -> bytes:
        """Return a row as the record value that is written for it."""
        return _encode(row.content)

    def accepted(self) -> list[Accepted]:
        """Return every event the inlet took, in order, repetitions included."""
        return self.aep.accepted_events.events()

    def wait_accepted(self, distinct: int, seconds: float = 45) -> None:
        """Return once so many different events were accepted."""
        until(
            lambda: self._alive() and self.aep.accepted_events.distinct() >= distinct,
            seconds=seconds,
            what=f"{distinct} events accepted",
            tell=lambda: f"({self.aep.accepted_events.distinct()} were){self.story()}",
        )

    def wait_caught_up(self, seconds: float = 45) -> None:
        """Return once everything in both input topics is committed."""
        until(
            lambda: self._alive() and self._caught_up(),
            seconds=seconds,
            what="everything is committed",
            tell=self.story,
        )

    def lag(self) -> int:
        """Return how many records of both input topics are not committed."""
        return sum(self.ends().values()) - sum(self.committed().values())

    def committed(self) -> dict[tuple[str, int], int]:
        """Return the group's committed offsets; 0 where there is none."""
        with self._reader(self.name) as reader:
            inputs = [TopicPartition(*place) for place in self._places(reader)]
            found = reader.committed(inputs, timeout=10)
            return {(one.topic, one.partition): max(0, one.offset) for one in found}

    def ends(self) -> dict[tuple[str, int], int]:
        """Return the end offset of every input partition."""
        with self._reader("ends") as reader:
            return {
                place: reader.get_watermark_offsets(TopicPartition(*place), timeout=10)[1]
                for place in self._places(reader)
            }

    def dead_letters(self) -> list[Message]:
        """Return every record of the dead-letter topic."""
        return self.read(self.topics.dead_letters)

    def read(self, topic: str) -> list[Message]:
        """Return every record of a topic, in order per partition."""
        with self._reader("look") as reader:
            numbers = reader.list_topics(topic, timeout=10).topics[topic].partitions
            places = [TopicPartition(topic, number, OFFSET_BEGINNING) for number in numbers]
            left = sum(
                high - low
                for low, high in (reader.get_watermark_offsets(one, timeout=10) for one in places)
            )
            reader.assign(places)
            found: list[Message] = []
            while left > len(found) and (batch := reader.consume(left - len(found), timeout=5)):
                found += batch
            return found

    def story(self) -> str:
        """Return what is not committed, by partition, and the end of every replica's log."""
        try:
            done = self.committed()
            left = {place: (done[place], end) for place, end in self.ends().items()}
        except KafkaException as error:
            return str(error)
        behind = "".join(f"\n{at}: {one} of {end}" for at, (one, end) in left.items() if one != end)
        return behind + "".join(f"\n--- {one.name}{one.log_tail()}" for one in self._replicas)

    def _caught_up(self) -> bool:
        try:
            return self.lag() == 0
        except KafkaException:  # a broker that has just come back
            return False

    def _alive(self) -> bool:
        assert any(one.running for one in self._replicas), f"no replica is left{self.story()}"
        return True

    def _own(self) -> dict[str, Any]:
        return {
            "kafka": {
                "group_id": self.name,
                "scores": {"topics": [self.topics.scores]},
                "events": {"topics": [self.topics.events]},
            },
            "join": {"changelog_topic": self.topics.changelog, "cohort": ".".join(COHORT)},
            "dead_letter": {"topic": self.topics.dead_letters},
        }

    def _feed(self, topic: str, rows: Iterable[tuple[str, bytes]]) -> list[bytes]:
        producer = Producer(
            {
                "bootstrap.servers": self.bootstrap,
                "partitioner": "murmur2_random",
                "linger.ms": 5,
                "enable.idempotence": True,
                "log_level": 0,
            }
        )
        values = []
        for key, value in rows:
            producer.produce(topic, value, key, on_delivery=self._note)
            producer.poll(0)
            values.append(value)
        assert producer.flush(60) == 0, "the broker did not take the records"
        return values

    def _note(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            topic, partition, offset = message.topic(), message.partition(), message.offset()
            self.placed[topic or "", partition or 0, offset or 0] = message.value() or b""

    def _reader(self, group: str) -> "_Reader":
        settings = {"bootstrap.servers": self.bootstrap, "group.id": group, "log_level": 0}
        return _Reader({**settings, "enable.auto.commit": False})

    def _places(self, reader: Consumer) -> list[tuple[str, int]]:
        topics = reader.list_topics(timeout=10).topics
        return [
            (topic, number)
            for topic in (self.topics.scores, self.topics.events)
            for number in topics[topic].partitions
        ]


class _Reader(Consumer):
    """A consumer that closes with its block."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def new_simulator(**settings: Any) -> AepSimulator:  # noqa: ANN401  the simulator's settings
    """Return a simulator, not started, with a dataset and a closed schema behind each route."""
    account = Organisation(ORG)
    limits = RateLimits(requests_per_second=0, messages_per_second=0)
    simulator = AepSimulator(account, SimulatorSettings(**{"limits": limits, **settings}))
    for model, name in zip(MODELS, ("one", "two"), strict=True):
        schema = closed_event(TENANT, [model])
        schema_id = f"https://ns.adobe.com/{TENANT}/schemas/{name}"
        dataset = Dataset(f"dataset-{name}", model, schema_id, schema=schema)
        simulator.register(
            inlet_id=name,
            flow_id=f"flow-{name}",
            dataset=dataset,
            authentication_required=False,
        )
    return simulator

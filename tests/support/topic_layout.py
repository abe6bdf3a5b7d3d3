"""A layout of topics whose ids and settings tests set by hand."""

from collections.abc import Iterable, Mapping

from processor.domain.errors import UnavailableError
from processor.kafka.admin import Cluster
from processor.kafka.queries import TopicDescription


class FakeTopicLayout:
    """A layout, its admin client, and the answers of both; `id` is None where the topic is gone."""

    def __init__(self) -> None:
        self.admin = self
        self.id: str | None = "old"
        self.partitions = 2
        self.silent = False
        self.has_controller = True
        self.settings: dict[str, str] = {"cleanup.policy": "compact"}
        self.forgotten = 0
        self._asked: list[str] = []

    def cluster(self) -> Cluster | None:
        return Cluster("id", 1, has_controller=self.has_controller, layout={})

    def forget(self) -> None:
        self.forgotten += 1

    def describe(self, topics: Iterable[str]) -> "FakeTopicLayout":
        self._asked = list(topics)
        return self

    def query_config(self, topic: str) -> "FakeTopicLayout":
        assert topic in self._asked
        return self

    def done(self) -> bool:
        return True

    def topics(self) -> Mapping[str, TopicDescription | None]:
        if self.silent:
            return {}
        found = None if self.id is None else TopicDescription(self.id, self.partitions)
        return dict.fromkeys(self._asked, found)

    def config(self) -> Mapping[str, str]:
        if not self.settings:
            raise UnavailableError("kafka", "not authorized")
        return self.settings

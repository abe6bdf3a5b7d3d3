"""Whether this replica is a member of the group, also while it has no partitions.

Under the classic protocol the client reports every assignment, an empty one too. Under KIP-848 it
reports nothing to a member that never gets a partition: the coordinator is queried instead.
"""

from typing import Final

from processor.domain.clock import Clock, Deadline
from processor.kafka.admin import KafkaAdmin
from processor.kafka.consumer import KafkaConsumer
from processor.kafka.queries import IdleQuery
from processor.settings import KafkaSettings
from processor.telemetry.labels import ReleaseCause

_QUERY_SECONDS: Final = 2.0


class Membership:
    """Follows the assignments; `refresh` queries the coordinator where none was reported."""

    def __init__(
        self,
        kafka: KafkaSettings,
        consumer: KafkaConsumer,
        admin: KafkaAdmin,
        clock: Clock,
        *,
        eager: bool,
    ) -> None:
        self._queries = kafka.group_protocol == "consumer"
        self._consumer = consumer
        self._admin = admin
        self._clock = clock
        self._eager = eager
        self._due = Deadline(clock, _QUERY_SECONDS)
        self._query: IdleQuery | None = None
        self.is_member = False

    def assigned(self) -> None:
        """Note that the group has assigned partitions, or none."""
        self.is_member, self._query = True, None

    def ended(self, cause: ReleaseCause) -> None:
        """Note that an assignment has ended.

        An eager group assigns all anew, and who lost its partitions has to join again.
        """
        self.is_member = cause is ReleaseCause.REVOKED and not self._eager
        self._due = Deadline(self._clock, _QUERY_SECONDS)

    def refresh(self) -> None:
        """Query the coordinator now and then while this is not known to be a member."""
        if self.is_member or not self._queries:
            return
        if self._query is not None and self._query.done():
            self.is_member, self._query = self._query.is_idle(), None
        if not self.is_member and self._query is None and self._due.over():
            self._due = Deadline(self._clock, _QUERY_SECONDS)
            self._query = self._admin.idle_member(self._consumer.member_id)

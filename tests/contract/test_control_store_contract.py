"""What a `ControlStore` promises: the one in memory, and the control topic on a broker."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from confluent_kafka import KafkaError, Producer

from processor.control import store as store_module
from processor.control.store import KafkaControlStore, open_control_store
from processor.domain.clock import SystemClock
from processor.domain.control import ControlStore, InMemoryControlStore
from processor.domain.errors import SettingsError, UnavailableError
from processor.settings import Settings
from processor.simulator.broker import Api, EmbeddedBroker
from processor.telemetry.metrics import Metrics
from tests.support.settings import settings_with
from tests.support.waiting import until

TOPIC = "customer-ai-control"


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({TOPIC: 1}) as running:
        yield running


@pytest.fixture
def opened(broker: EmbeddedBroker) -> Iterator[Callable[..., KafkaControlStore]]:
    with ExitStack() as stack:

        def open_one(group: str = "a-group") -> KafkaControlStore:
            store = open_control_store(settings(broker, group), Metrics(), SystemClock())
            stack.callback(store.close, 0)
            return store

        yield open_one


def settings(broker: EmbeddedBroker, group: str) -> Settings:
    return settings_with({"kafka/bootstrap_servers": broker.bootstrap, "kafka/group_id": group})


@pytest.fixture(params=["memory", "topic"])
def store(request: pytest.FixtureRequest) -> ControlStore:
    if request.param == "memory":
        return InMemoryControlStore()
    found: ControlStore = request.getfixturevalue("opened")()
    return found


def follow(*stores: ControlStore) -> Callable[[Callable[[], object]], None]:
    """Return a function that polls these stores until something is true."""

    def wait(look: Callable[[], object]) -> None:
        def polled() -> object:
            for each in stores:
                each.poll()
            return look()

        until(polled, seconds=8, what="a fact is read", every=0.02)

    return wait


def test_a_fact_is_shown_at_once_and_is_gone_once_it_is_deleted(store: ControlStore) -> None:
    assert store.get("pause") is None

    store.put("pause", {"since": 1})
    assert store.get("pause") == {"since": 1}
    store.put("pause", {"since": 2})
    assert store.get("pause") == {"since": 2}
    store.put("pause", None)

    assert store.get("pause") is None
    assert store.unavailable_reason is None


def test_items_are_the_facts_below_a_prefix(store: ControlStore) -> None:
    for key in ("skip/a/0/1", "skip/a/0/2", "skipped"):
        store.put(key, {"key": key})

    assert set(store.items("skip/")) == {"skip/a/0/1", "skip/a/0/2"}


def test_everything_is_written_when_it_is_closed(store: ControlStore) -> None:
    store.put("pause", {"since": 1})
    store.poll()

    assert store.close(8)


def test_others_read_what_is_written_and_deleted(
    opened: Callable[..., KafkaControlStore],
) -> None:
    first, second = opened(), opened()
    wait = follow(first, second)

    first.put("pause", {"since": 1})
    wait(lambda: second.get("pause") == {"since": 1})
    second.put("pause", None)
    wait(lambda: first.get("pause") is None)


def test_a_later_start_reads_what_was_written(opened: Callable[..., KafkaControlStore]) -> None:
    first = opened()
    first.put("pause", {"since": 1})
    first.put("pause", {"since": 2})
    first.put("resumed", {"since": 3})
    first.put("resumed", None)
    assert first.close(8)

    assert opened().items("") == {"pause": {"since": 2}}


def test_groups_share_the_topic_and_do_not_see_each_other(
    opened: Callable[..., KafkaControlStore],
) -> None:
    first, other = opened("a"), opened('a","b')
    first.put("pause", {"since": 1})
    other.put("pause", {"since": 2})
    assert first.close(8)
    assert other.close(8)

    assert opened("a").get("pause") == {"since": 1}
    assert opened("b").items("") == {}


def test_the_last_write_in_the_topic_counts_for_all(
    opened: Callable[..., KafkaControlStore],
) -> None:
    first, second = opened(), opened()
    for number in range(20):
        first.put("pause", {"by": "first", "number": number})
        second.put("pause", {"by": "second", "number": number})
        first.poll()
        second.poll()
    follow(first, second)(lambda: first.get("pause") == second.get("pause"))
    assert first.close(8)
    assert second.close(8)

    assert opened().get("pause") == first.get("pause")


def test_unreadable_records_are_ignored(
    broker: EmbeddedBroker, opened: Callable[..., KafkaControlStore]
) -> None:
    following = opened()
    write(broker, (b"no json", b"{}"), (b'["a-group","x"]', b"\xff"), (b'["a-group","y"]', b"[]"))
    write(broker, (b'["a-group","pause"]', b'{"version":1,"value":{"since":1}}'))

    assert opened().items("") == {"pause": {"since": 1}}
    follow(following)(lambda: following.items("") == {"pause": {"since": 1}})


def test_a_newer_form_is_a_clear_error_and_that_of_another_group_is_not(
    broker: EmbeddedBroker, opened: Callable[..., KafkaControlStore]
) -> None:
    following = opened("b")
    write(broker, (b'["a-group","pause"]', b'{"version":2,"content":[]}'))

    with pytest.raises(SettingsError, match="run the newer processor"):
        opened()
    following.poll()
    assert following.items("") == {}


def test_a_newer_form_makes_a_running_store_unavailable_until_it_is_written_in_a_known_one(
    broker: EmbeddedBroker, opened: Callable[..., KafkaControlStore]
) -> None:
    store = opened()
    write(broker, (b'["a-group","pause"]', b'{"version":2,"content":[]}'))
    write(broker, (b'["a-group","x"]', b'{"version":1,"value":{"since":1}}'))

    follow(store)(lambda: store.unavailable_reason)
    assert "run the newer processor" in str(store.unavailable_reason)
    assert store.items("") == {"x": {"since": 1}}

    write(broker, (b'["a-group","pause"]', b'{"version":1,"value":{"since":2}}'))
    follow(store)(lambda: store.unavailable_reason is None)
    assert store.get("pause") == {"since": 2}


def test_a_topic_that_cannot_be_read_makes_a_running_store_unavailable_until_it_can(
    broker: EmbeddedBroker,
    opened: Callable[..., KafkaControlStore],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store_module, "_UNREAD_SECONDS", 0.5)
    store = opened()
    broker.fail_requests(Api.FETCH, *[KafkaError.TOPIC_AUTHORIZATION_FAILED] * 1000)
    follow(store)(lambda: store.unavailable_reason)
    assert "the control topic cannot be read" in str(store.unavailable_reason)
    assert "authorization failed" in str(store.unavailable_reason)

    broker.heal_requests(Api.FETCH)
    follow(store)(lambda: store.unavailable_reason is None)
    write(broker, (b'["a-group","pause"]', b'{"version":1,"value":{"since":1}}'))
    follow(store)(lambda: store.get("pause") == {"since": 1})


def test_a_fact_that_cannot_be_written_is_written_later(
    broker: EmbeddedBroker, opened: Callable[..., KafkaControlStore]
) -> None:
    store = opened()
    broker.fail_requests(Api.PRODUCE, *[KafkaError.TOPIC_AUTHORIZATION_FAILED] * 1000)
    store.put("pause", {"since": 1})
    follow(store)(lambda: store.unavailable_reason)
    assert TOPIC in str(store.unavailable_reason)

    broker.heal_requests(Api.PRODUCE)
    follow(store)(lambda: store.unavailable_reason is None)
    assert opened().get("pause") == {"since": 1}


def test_an_unavailable_broker_is_said_when_it_is_opened(
    broker: EmbeddedBroker, opened: Callable[..., KafkaControlStore]
) -> None:
    broker.fail_requests(Api.LIST_OFFSETS, *[KafkaError.LEADER_NOT_AVAILABLE] * 1000)

    with pytest.raises(UnavailableError, match="control"):
        opened()


def write(broker: EmbeddedBroker, *records: tuple[bytes, bytes]) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    for key, value in records:
        producer.produce(TOPIC, value, key, 0)
    assert producer.flush(8) == 0

"""`state` and `forget`, with and without a running state store."""

import sys
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

import pytest
from confluent_kafka import Producer

from processor.cli.state import forget, rebuild_state, show_person, verify_state
from processor.dead_letter.dead_letter import DeadLetter, headers
from processor.domain.errors import SettingsError, UnavailableError
from processor.domain.event import Fact
from processor.domain.outcome import Reason, Reject, Stage
from processor.domain.record import Record
from processor.settings import Settings
from processor.simulator.broker import EmbeddedBroker
from processor.state.format.person import encode
from processor.state.person import with_fact
from processor.state.state_store import ChangelogStateStore
from tests.support.settings import settings_with
from tests.support.state import (
    CHANGELOG,
    INPUTS,
    LIMITS,
    T0,
    open_store,
    person_with,
    restored,
    store_and_wait,
    wait_idle,
)

NAME = "ann@example.com"
ANN, BOB = (2, b"Email|ann@example.com"), (2, b"Email|bob@example.com")
ALL = (0, 1, 2, 3)
PERSON = with_fact(
    person_with(1, scores=(1,)), Fact(T0, "secret-event", "web", page="secret-page"), LIMITS
)


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    topics = (*INPUTS, CHANGELOG, "customer-ai-dead-letters")
    with EmbeddedBroker(dict.fromkeys(topics, 4)) as broker:
        yield broker


@pytest.fixture
def settings(broker: EmbeddedBroker, tmp_path: Path) -> Settings:
    return settings_with(
        {
            "kafka/bootstrap_servers": broker.bootstrap,
            "join/directory": str(tmp_path / "mine"),
        }
    )


@pytest.fixture
def state_store(broker: EmbeddedBroker, settings: Settings) -> Iterator[ChangelogStateStore]:
    state_store = restored(open_store(broker.bootstrap, Path(settings.join.directory)), *ALL)
    store_and_wait(state_store, state_store.stage({ANN: PERSON, BOB: person_with(1)}))
    yield state_store
    state_store.close(5)


@pytest.fixture
def stopped(broker: EmbeddedBroker, settings: Settings) -> None:
    """Store two persons, and stop."""
    state_store = restored(open_store(broker.bootstrap, Path(settings.join.directory)), *ALL)
    store_and_wait(state_store, state_store.stage({ANN: PERSON, BOB: person_with(1)}))
    state_store.close(5)


def verified_elsewhere(settings: Settings) -> int | None:
    """Return the exit code of `state verify` in a process of its own."""
    other = get_context("spawn").Process(target=_verify, args=(settings,))
    other.start()
    other.join(60)
    return other.exitcode


def _verify(settings: Settings) -> None:
    sys.exit(verify_state(settings))


@pytest.mark.parametrize("source", ["store", "changelog"])
@pytest.mark.usefixtures("stopped")
def test_a_person_is_shown_without_personal_data(
    settings: Settings, capsys: pytest.CaptureFixture[str], source: str
) -> None:
    changelog = source == "changelog"

    assert show_person(("email", NAME), settings, reveal=False, changelog=changelog) == 0

    output = capsys.readouterr().out
    assert '"type": "web"' in output
    assert '"bucket": "medium"' in output
    assert "secret" not in output
    assert "50.0" not in output


@pytest.mark.usefixtures("stopped")
def test_a_person_is_shown_whole_on_request(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show_person(("email", NAME), settings, reveal=True, changelog=False) == 0

    output = capsys.readouterr().out
    assert "secret-page" in output
    assert '"score": 50.0' in output


@pytest.mark.usefixtures("stopped")
def test_a_person_without_state_is_not_shown(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show_person(("Email", "eve@example.com"), settings, reveal=True, changelog=False) == 1

    assert "There is no state of this person" in capsys.readouterr().out


@pytest.mark.usefixtures("stopped")
def test_a_consistent_store_is_verified(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify_state(settings) == 0

    assert "differs" not in capsys.readouterr().out


def test_a_store_is_verified_beside_its_processor(
    settings: Settings, state_store: ChangelogStateStore
) -> None:
    assert state_store.ready(2)

    assert verified_elsewhere(settings) == 0


LESS, MORE = {BOB[1]: None}, {b"Email|eve": encode(person_with(1))}
OTHER = {BOB[1]: encode(person_with(1, 2))}


@pytest.mark.parametrize("change", [LESS, MORE, OTHER])
def test_a_store_that_differs_from_the_changelog_is_reported(
    settings: Settings, state_store: ChangelogStateStore, change: dict[bytes, bytes | None]
) -> None:
    state_store._store.write({2: change}, {})  # noqa: SLF001  nothing else corrupts it

    assert verified_elsewhere(settings) == 1


def test_a_store_in_use_is_not_deleted(
    settings: Settings, state_store: ChangelogStateStore
) -> None:
    with pytest.raises(SettingsError):
        rebuild_state(settings)

    assert set(state_store.load([ANN, BOB])) == {ANN, BOB}


def test_a_deleted_store_comes_back_from_the_changelog(
    broker: EmbeddedBroker, settings: Settings
) -> None:
    folder = Path(settings.join.directory)
    state_store = restored(open_store(broker.bootstrap, folder), *ALL)
    store_and_wait(state_store, state_store.stage({ANN: PERSON}))
    state_store.close(5)

    assert rebuild_state(settings) == 0
    with pytest.raises(UnavailableError):
        show_person(("Email", NAME), settings, reveal=False, changelog=False)

    state_store = restored(open_store(broker.bootstrap, folder), *ALL)
    assert state_store.load([ANN]) == {ANN: PERSON}
    state_store.close(5)


def test_an_erased_person_is_gone_from_a_running_replica_and_from_the_changelog(
    settings: Settings, state_store: ChangelogStateStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert forget(("email", NAME), settings) == 0

    store_and_wait(state_store, state_store.stage({BOB: person_with(1, 2)}))
    wait_idle(state_store)

    assert set(state_store.load([ANN, BOB])) == {BOB}
    assert show_person(("Email", NAME), settings, reveal=True, changelog=True) == 1
    output = " ".join(capsys.readouterr().out.split())
    assert "0 dead letters" in output
    assert "re-creates the person, and sends the scores again" in output


def test_dead_letters_that_name_an_erased_person_are_listed(
    broker: EmbeddedBroker, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    for value in (NAME.encode(), b"somebody else"):
        record = Record(INPUTS[0], 1, 7, T0, b"key", b'{"id": "' + value + b'"}')
        dead_letter = DeadLetter(record, Reject(Stage.READ, Reason.NO_SCORE, "No score."), T0, "1")
        producer.produce(
            settings.dead_letter.topic,
            record.value,
            record.key,
            headers=list(headers(dead_letter)),
            partition=1,
        )
    assert producer.flush(10) == 0

    assert forget(("Email", NAME), settings) == 1

    output = capsys.readouterr().out
    assert "dead letter 1/0" in output
    assert "1 dead letters" in output

"""`dlq`, `explain` and `run --dry-run` in a simulated environment."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import structlog

from processor.cli.dead_letters import (
    list_dead_letters,
    replay_dead_letters,
    show_dead_letter,
)
from processor.cli.explain import explain
from processor.dead_letter.reader import DeadLetterReader
from processor.dead_letter.sink import KafkaDeadLetterSink
from processor.domain.clock import SystemClock, rfc3339
from processor.domain.errors import SettingsError
from processor.domain.event import Fact
from processor.domain.outcome import Reason, Reject, Stage
from processor.domain.record import Partition, Record
from processor.kafka.topic_reader import fetch_record
from processor.settings import Settings
from processor.settings.load import load_settings
from processor.simulator.aep.simulator import AepSimulator
from processor.simulator.environment import (
    GROUP_ID,
    SCORES_TOPIC,
    EnvironmentSettings,
    SimulatedEnvironment,
)
from processor.state.format.person import encode
from processor.state.person import Person, PersonLimits, with_fact
from processor.telemetry.metrics import Metrics
from tests.support.kafka_io import committed, produce
from tests.support.paths import ROOT
from tests.support.recipe import written
from tests.support.stream_run import score_record
from tests.support.waiting import until

UNROUTED = Reject(Stage.ROUTE, Reason.UNKNOWN_PREDICTION, "No route takes this prediction.")
MALFORMED = Reject(Stage.DECODE, Reason.MALFORMED, "This is not JSON.")
_DAY_MS = 86_400_000


@pytest.fixture(autouse=True)
def _logs_are_not_printed() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


@pytest.fixture
def environment() -> Iterator[SimulatedEnvironment[AepSimulator]]:
    with SimulatedEnvironment(
        AepSimulator(), EnvironmentSettings(tenant="_acme", partitions=1)
    ) as environment:
        yield environment


@pytest.fixture
def config(environment: SimulatedEnvironment[AepSimulator], tmp_path: Path) -> Path:
    """Write settings; a second member joins a classic group only slowly in this broker."""
    tree = environment.settings(tmp_path / "state")
    tree["kafka"]["group_protocol"] = "consumer"
    return written(tree, tmp_path / "settings.yaml")


@pytest.fixture
def settings(config: Path) -> Settings:
    return load_settings(config)


def good(offset: int) -> Record:
    """Return a record of a person of its own that these settings deliver."""
    date = rfc3339((SystemClock().now_ms() // _DAY_MS - 7) * _DAY_MS)
    return score_record(offset, person=offset + 1, scoreDate=date)


def bad(offset: int) -> Record:
    return Record(SCORES_TOPIC, 0, offset, 1_700_000_000_000, b"a-key", b'{"email": "ann@')


def identity(record: Record) -> str:
    content = json.loads(record.value or b"")
    found: str = content["identityMap"]["ECID"][0]["id"]
    return found


def write_dead_letters(settings: Settings, *dead_letters: tuple[Record, Reject]) -> None:
    sink = KafkaDeadLetterSink(settings, Metrics(), SystemClock())
    write = sink.send(dead_letters)

    def written() -> bool:
        sink.poll()
        return write.done

    until(written, seconds=9, what="the dead letters are written", every=0.01)
    assert sink.close(5)


def feed(environment: SimulatedEnvironment[AepSimulator], *records: Record) -> None:
    for record in records:
        produce(environment.broker, SCORES_TOPIC, [record.value or b""], key=record.key)


def output(capsys: pytest.CaptureFixture[str]) -> str:
    """Return what was printed since the last call, without line breaks."""
    return " ".join(capsys.readouterr().out.split())


def test_dead_letters_are_counted_by_stage_and_reason(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dead_letters(settings, (good(1), UNROUTED), (bad(2), MALFORMED), (bad(3), MALFORMED))

    assert list_dead_letters(settings, as_json=True) == 0

    listed = json.loads(capsys.readouterr().out)
    assert [(each["stage"], each["reason"], each["count"]) for each in listed] == [
        ("decode", "malformed", 2),
        ("route", "unknown_prediction", 1),
    ]


def test_selected_dead_letters_are_listed_with_position_and_without_content(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dead_letters(settings, (good(1), UNROUTED), (bad(2), MALFORMED))

    assert list_dead_letters(settings, reason=[Reason.MALFORMED], each=True) == 0

    text = output(capsys)
    assert text == f"0/1 decode malformed {SCORES_TOPIC}/0/2 This is not JSON."


def test_a_dead_letter_is_shown_without_personal_data(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dead_letters(settings, (bad(2), MALFORMED))

    assert show_dead_letter("0/0", settings, reveal=False) == 0

    shown = json.loads(capsys.readouterr().out)
    assert shown["origin"] == f"{SCORES_TOPIC}/0/2"
    assert (shown["stage"], shown["reason"]) == ("decode", "malformed")
    assert shown["key"].startswith("5 bytes, sha256 ")
    assert shown["value"].startswith("15 bytes, sha256 ")


def test_a_dead_letter_is_shown_completely_if_revealed(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dead_letters(settings, (bad(2), MALFORMED))

    assert show_dead_letter("0/0", settings, reveal=True) == 0

    shown = json.loads(capsys.readouterr().out)
    assert (shown["key"], shown["value"]) == ("a-key", '{"email": "ann@')


def test_a_position_without_dead_letter_is_reported(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show_dead_letter("0/7", settings, reveal=True) == 1

    assert "no dead letter of this processor" in output(capsys)


def test_a_replay_without_send_reports_and_sends_nothing(
    environment: SimulatedEnvironment[AepSimulator],
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_dead_letters(settings, (good(1), UNROUTED), (bad(2), MALFORMED))

    assert replay_dead_letters(settings, send=False) == 1

    text = output(capsys)
    assert "2 records would be replayed: 1 events to route upgrade-account" in text
    assert "1 rejected again: malformed." in text
    assert "Nothing was sent." in text
    assert environment.simulator.accepted_events.distinct() == 0
    assert environment.simulator.summary()["requests"] == {}


def test_a_repeated_replay_delivers_only_once(
    environment: SimulatedEnvironment[AepSimulator],
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_dead_letters(settings, (good(1), UNROUTED), (good(2), UNROUTED))

    assert replay_dead_letters(settings, send=True) == 0
    assert "2 records were replayed: 2 events accepted by AEP" in output(capsys)

    assert replay_dead_letters(settings, send=True) == 0
    text = output(capsys)
    assert "0 events accepted by AEP 2 scores had been delivered before" in text
    assert [
        environment.simulator.accepted_events.total(),
        environment.simulator.accepted_events.distinct(),
    ] == [2, 2]
    assert committed(environment.broker, GROUP_ID, Partition(SCORES_TOPIC, 0)) == [-1001]


def test_a_record_rejected_again_has_still_one_dead_letter(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dead_letters(settings, (bad(2), MALFORMED))

    assert replay_dead_letters(settings, send=True) == 1

    assert "1 rejected again: malformed." in output(capsys)
    list_dead_letters(settings, as_json=True)
    assert [each["count"] for each in json.loads(capsys.readouterr().out)] == [1]


def test_a_record_is_explained_step_by_step_with_the_person_redacted(
    environment: SimulatedEnvironment[AepSimulator],
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    feed(environment, good(0))

    assert explain(f"{SCORES_TOPIC}/0/0", settings, reveal=False) == 0

    text = output(capsys)
    steps = ["record", "read", "routed", "identified", "named", "valid"]
    indexes = [text.index(f"✓ {step} ") for step in steps]
    assert indexes == sorted(indexes)
    assert "to upgrade-account" in text
    assert identity(good(0)) not in text


def test_a_score_is_explained_with_the_state_of_its_person(
    environment: SimulatedEnvironment[AepSimulator],
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    feed(environment, good(0))
    at_ms = SystemClock().now_ms() // _DAY_MS * _DAY_MS - 8 * _DAY_MS
    fact = Fact(at_ms, "event", kinds=("webVisit",), page="a-page")
    value = encode(with_fact(Person(), fact, PersonLimits.of(settings.join)))
    key = f"ECID|{identity(good(0))}".encode()
    produce(environment.broker, settings.join.changelog_topic, [value], key=key)

    assert explain(f"{SCORES_TOPIC}/0/0", settings, reveal=True) == 0

    text = output(capsys)
    assert "✓ context" in text
    assert '"contextStatus": "complete"' in text
    assert '"lastPageName": "a-page"' in text

    assert explain(f"{SCORES_TOPIC}/0/0", settings, reveal=False) == 0
    assert "a-page" not in output(capsys)


def test_a_person_without_state_has_the_context_status_none(
    environment: SimulatedEnvironment[AepSimulator],
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    feed(environment, good(0))

    assert explain(f"{SCORES_TOPIC}/0/0", settings, reveal=False) == 0

    assert '"contextStatus": "none"' in output(capsys)


def test_a_record_is_explained_without_context_if_the_changelog_is_unavailable(
    environment: SimulatedEnvironment[AepSimulator],
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    feed(environment, good(0))
    elsewhere = settings.join.model_copy(update={"changelog_topic": "a-topic-that-is-not"})

    settings = settings.model_copy(update={"join": elsewhere})
    assert explain(f"{SCORES_TOPIC}/0/0", settings, reveal=False) == 0

    text = output(capsys)
    assert "✗ context is omitted: " in text
    assert "a-topic-that-is-not" in text
    assert "contextStatus" not in text


def test_a_missing_partition_has_no_record(
    environment: SimulatedEnvironment[AepSimulator], settings: Settings
) -> None:
    feed(environment, good(0))

    assert fetch_record(settings.kafka, SCORES_TOPIC, 4_711, 0, clock=SystemClock()) is None


def test_a_record_is_explained_completely_if_revealed(
    environment: SimulatedEnvironment[AepSimulator],
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    feed(environment, good(0))

    assert explain(f"{SCORES_TOPIC}/0/0", settings, reveal=True) == 0

    assert identity(good(0)) in output(capsys)


def test_a_bad_record_is_explained_up_to_its_rejection(
    environment: SimulatedEnvironment[AepSimulator],
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    feed(environment, bad(0))

    assert explain(f"{SCORES_TOPIC}/0/0", settings, reveal=False) == 1

    text = output(capsys)
    assert "✗ decode malformed" in text
    assert "ann@" not in text


def test_a_file_is_explained_as_a_record(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "record.json"
    file.write_bytes(good(0).value or b"")

    assert explain(None, settings, file=file) == 0

    text = output(capsys)
    assert "✓ valid" in text
    assert "✗ context is omitted: a file has no partition" in text
    assert "contextStatus" not in text
    assert identity(good(0)) not in text


def test_an_invalid_and_an_empty_position_are_reported(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SettingsError, match="topic/partition/offset"):
        explain("nowhere", settings, reveal=False)

    assert explain(f"{SCORES_TOPIC}/0/5", settings, reveal=False) == 1
    assert "There is no record" in output(capsys)


def dry_run(config: Path, lines: Path, limit: int) -> subprocess.CompletedProcess[str]:
    options = ["--config", str(config), "--output", str(lines), "--limit", str(limit)]
    return subprocess.run(  # noqa: S603  our own code
        [sys.executable, "-m", "processor", "run", "--dry-run", *options],
        cwd=ROOT,
        check=False,
        timeout=60,
        capture_output=True,
        text=True,
    )


def assert_nothing_changed(
    environment: SimulatedEnvironment[AepSimulator], settings: Settings
) -> None:
    for group in (GROUP_ID, f"{GROUP_ID}-dry-run"):
        assert committed(environment.broker, group, Partition(SCORES_TOPIC, 0)) == [-1001]
    assert environment.simulator.summary()["requests"] == {}
    assert not Path(settings.join.directory).exists()


def events_in(lines: Path) -> Sequence[dict[str, object]]:
    return [json.loads(line) for line in lines.read_text().splitlines()]


def test_a_dry_run_writes_json_lines_and_changes_nothing_in_kafka(
    environment: SimulatedEnvironment[AepSimulator],
    config: Path,
    settings: Settings,
    tmp_path: Path,
) -> None:
    feed(environment, good(0), good(1), good(2))

    ran = dry_run(config, tmp_path / "lines", 3)

    assert ran.returncode == 0, ran.stderr
    assert "3 records read, 3 events, 0 rejects; nothing sent." in ran.stderr
    events = events_in(tmp_path / "lines")
    assert len({event["_id"] for event in events}) == 3
    assert {event["eventType"] for event in events} == {"customerAI.scored"}
    assert_nothing_changed(environment, settings)


def test_a_dry_run_prints_positions_of_rejects_and_exits_with_1(
    environment: SimulatedEnvironment[AepSimulator],
    config: Path,
    settings: Settings,
    tmp_path: Path,
) -> None:
    feed(environment, bad(0), good(1))

    ran = dry_run(config, tmp_path / "lines", 1)

    assert ran.returncode == 1, ran.stderr
    assert f"rejected {SCORES_TOPIC}/0/0: decode/malformed" in ran.stderr
    assert "ann@" not in ran.stdout + ran.stderr
    assert len(events_in(tmp_path / "lines")) == 1
    assert list(DeadLetterReader(settings, SystemClock()).scan()) == []
    assert_nothing_changed(environment, settings)


def test_a_second_dry_run_starts_with_the_oldest_remaining_record(
    environment: SimulatedEnvironment[AepSimulator], config: Path, tmp_path: Path
) -> None:
    """If the first had committed, the second would miss the deleted records, and stop."""
    feed(environment, good(0))
    assert dry_run(config, tmp_path / "first", 1).returncode == 0
    feed(environment, good(1))
    environment.broker.delete_records(SCORES_TOPIC, 0, 1)

    ran = dry_run(config, tmp_path / "second", 1)

    assert ran.returncode == 0, ran.stderr
    assert len(events_in(tmp_path / "second")) == 1

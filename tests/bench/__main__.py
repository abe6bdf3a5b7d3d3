"""`python -m tests.bench`: all measurements as tables; `--write` puts them into README.md."""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

from processor.domain.clock import SystemClock
from tests.bench import load, measurement, paced, report
from tests.bench.environment import Sink, broker
from tests.bench.measurement import Limits
from tests.bench.paced import Pace
from tests.bench.systems import System, Task, prepare, systems
from tests.support import java
from tests.support.framed import SCORE_ROW, framed_avro
from tests.support.registry import FakeRegistry

_PARTITIONS_REAL = 8
_PARTITIONS_EMBEDDED = 64  # each keeps 5 MiB only
_DEAD_LETTERS = "customer-ai-dead-letters"


class _Case(NamedTuple):
    """One table: what is read, how the inlet answers, and the pace where it is a steady stream."""

    key: str
    title: str
    scores: str
    events: str | None = None
    delay: float = 0.0
    avro: bool = False
    pace: Pace | None = None


_CASES = (
    _Case("json", "JSON in, no join", "bench-json"),
    _Case("avro", "Avro in, no join", "bench-avro", avro=True),
    _Case("slow", "JSON in, the inlet answers after 50 ms", "bench-json", delay=0.05),
    _Case(
        "join",
        "JSON in, with the join (of three records two are events, one is a score)",
        "bench-join-scores",
        "bench-join-events",
    ),
    _Case(
        "rate",
        "One inlet at its full rate: 10,000 scores a second, no join",
        "bench-rate",
        pace=Pace(10_000),
    ),
    _Case(
        "delay",
        "Delivery delay: 2,000 scores a second, the inlet answers after 50 ms, no join",
        "bench-delay",
        delay=0.05,
        pace=Pace(2_000),
    ),
)


def _main() -> int:
    asked = _arguments()
    if not asked.no_peers:
        prepare()
    tables: list[str] = []
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        _filled(Path(folder), asked) as bootstrap,
    ):
        for case in _CASES:
            if not asked.only or case.key in asked.only:
                tables.append(_table(case, bootstrap, Path(folder), asked))
                sys.stdout.write(tables[-1])
                sys.stdout.flush()
    if asked.write:
        report.write(tables)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--records", type=int, default=300_000, help="score records a topic holds")
    parser.add_argument("--only", nargs="*", choices=[case.key for case in _CASES], default=[])
    parser.add_argument("--embedded", action="store_true", help="the embedded broker, not Kafka")
    parser.add_argument("--no-peers", action="store_true", help="run the processor alone")
    parser.add_argument("--write", action="store_true", help="rewrite the figures in README.md")
    return parser.parse_args()


@contextmanager
def _filled(folder: Path, asked: argparse.Namespace) -> Iterator[str]:
    """Run a broker whose topics hold what the measurements read; yield its address."""
    embedded = asked.embedded or java.why_missing() is not None
    count = _PARTITIONS_EMBEDDED if embedded else _PARTITIONS_REAL
    names = {name for case in _CASES for name in (case.scores, case.events) if name}
    topics = dict.fromkeys([*names, _DEAD_LETTERS], count)
    with broker(folder, topics, embedded=embedded) as bootstrap:
        now_ms, records = SystemClock().now_ms(), asked.records
        keys = set(asked.only) or {case.key for case in _CASES}
        if keys & {"json", "slow"}:
            load.fill(bootstrap, load.scores("bench-json", records, now_ms), load.encode_json)
        if "avro" in keys:
            load.fill(bootstrap, load.scores("bench-avro", records, now_ms), framed_avro(1))
        if "join" in keys:
            rows = load.joined("bench-join-scores", "bench-join-events", records // 2, now_ms)
            load.fill(bootstrap, rows, load.encode_json)
        yield bootstrap


def _table(case: _Case, bootstrap: str, folder: Path, asked: argparse.Namespace) -> str:
    """Run one case and return its table."""
    sink = Sink(case.delay, timed=case.pace is not None)
    try:
        with FakeRegistry() if case.avro else nullcontext() as registry:
            if registry:
                registry.register(f"{case.scores}-value", SCORE_ROW)
            address = registry.url if registry else None
            runs = [
                (one, Task(bootstrap, case.scores, case.events, sink.url, place, address))
                for one in _entered(case, asked)
                for place in [folder / f"{case.key}-{one.name.split()[-1].lower()}"]
            ]
            if case.pace:
                steady = [paced.run(one, task, sink, case.pace) for one, task in runs]
                return report.paced_table(case.title, steady)
            limits = _limits(case, asked.records)
            return report.table(
                case.title, [measurement.run(one, task, sink, limits) for one, task in runs]
            )
    finally:
        sink.close()


def _entered(case: _Case, asked: argparse.Namespace) -> list[System]:
    """Return who takes part: steady streams are the processor's alone."""
    every_system = systems()
    if asked.no_peers or case.pace:
        return every_system[:1]
    return [one for one in every_system if one.joins or not case.events]


def _limits(case: _Case, records: int) -> Limits:
    return Limits(records // 2, records_per_event=3) if case.events else Limits(records)


if __name__ == "__main__":
    sys.exit(_main())

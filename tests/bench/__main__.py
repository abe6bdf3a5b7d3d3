"""`python -m tests.bench`: all races, printed as tables; `--write` puts them into README.md."""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

from processor.clock import SystemClock
from tests.bench import load, race, report
from tests.bench.contestants import Task, contestants, prepare
from tests.bench.race import Race, Result
from tests.bench.stage import Sink, broker
from tests.support import java
from tests.support.framed import SCORE_ROW, framed_avro
from tests.support.registry import FakeRegistry

__all__: list[str] = []

_PARTITIONS_REAL = 8
_PARTITIONS_EMBEDDED = 64  # each keeps 5 MiB only


class _Heat(NamedTuple):
    """One table: what is read, how the inlet answers."""

    key: str
    title: str
    scores: str
    events: str | None = None
    delay: float = 0.0
    avro: bool = False


_HEATS = (
    _Heat("json", "JSON in, no join", "bench-json"),
    _Heat("avro", "Avro in, no join", "bench-avro", avro=True),
    _Heat("slow", "JSON in, the inlet answers after 50 ms", "bench-json", delay=0.05),
    _Heat(
        "join",
        "JSON in, with the join (records: two events, one score)",
        "bench-join-scores",
        "bench-join-events",
    ),
)


def _main() -> int:
    asked = _arguments()
    if not asked.no_peers:
        prepare()
    wanted = [heat for heat in _HEATS if not asked.only or heat.key in asked.only]
    tables: dict[str, list[Result]] = {}
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        _filled(Path(folder), asked) as bootstrap,
    ):
        for heat in wanted:
            tables[heat.title] = list(_heat(heat, bootstrap, Path(folder), asked))
            sys.stdout.write(report.table(heat.title, tables[heat.title]))
    if asked.write:
        report.write(tables)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--records", type=int, default=300_000, help="score records a topic holds")
    parser.add_argument("--only", nargs="*", choices=[heat.key for heat in _HEATS], default=[])
    parser.add_argument(
        "--embedded", action="store_true", help="use the embedded broker, not Kafka"
    )
    parser.add_argument("--no-peers", action="store_true", help="run the processor alone")
    parser.add_argument("--write", action="store_true", help="rewrite the figures in README.md")
    return parser.parse_args()


@contextmanager
def _filled(folder: Path, asked: argparse.Namespace) -> Iterator[str]:
    embedded = asked.embedded or java.why_missing() is not None
    count = _PARTITIONS_EMBEDDED if embedded else _PARTITIONS_REAL
    names = [
        "bench-json",
        "bench-avro",
        "bench-join-scores",
        "bench-join-events",
        "customer-ai-dead-letters",
    ]
    with broker(folder, dict.fromkeys(names, count), embedded=embedded) as bootstrap:
        now_ms, records = SystemClock().now_ms(), asked.records
        keys = set(asked.only) or {heat.key for heat in _HEATS}
        if keys & {"json", "slow"}:
            load.fill(bootstrap, load.scores("bench-json", records, now_ms), load.encode_json)
        if "avro" in keys:
            load.fill(bootstrap, load.scores("bench-avro", records, now_ms), framed_avro(1))
        if "join" in keys:
            rows = load.joined("bench-join-scores", "bench-join-events", records // 2, now_ms)
            load.fill(bootstrap, rows, load.encode_json)
        yield bootstrap


def _heat(heat: _Heat, bootstrap: str, folder: Path, asked: argparse.Namespace) -> Iterator[Result]:
    events = asked.records // 2 if heat.events else asked.records
    limits = Race(events, records_per_event=3 if heat.events else 1)
    sink = Sink(heat.delay)
    try:
        with FakeRegistry() if heat.avro else nullcontext() as registry:
            address = registry.url if registry else None
            if registry:
                registry.register(f"{heat.scores}-value", SCORE_ROW)
            for contestant in contestants():
                if (heat.events and not contestant.joins) or (
                    asked.no_peers and contestant.name != "this processor"
                ):
                    continue
                place = folder / f"{heat.key}-{contestant.name.split()[-1].lower()}"
                task = Task(bootstrap, heat.scores, heat.events, sink.url, place, address)
                yield race.run(contestant, task, sink, limits)
    finally:
        sink.close()


if __name__ == "__main__":
    sys.exit(_main())

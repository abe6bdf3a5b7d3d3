"""`python -m tests.chaos`: campaigns with growing seeds; exit code 1 where one fails."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.chaos import campaign
from tests.chaos.campaign import Plan


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="seed of the first campaign")
    parser.add_argument("--campaigns", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=60, help="how long each one lasts")
    parser.add_argument("--people", type=int, default=3_000)
    parser.add_argument("--replicas", type=int, default=3)
    asked = parser.parse_args()
    passed = True
    with (
        tempfile.TemporaryDirectory(prefix="chaos-") as folder,
        campaign.broker(Path(folder)) as kafka,
    ):
        for seed in range(asked.seed, asked.seed + asked.campaigns):
            protocol = "consumer" if seed % 2 == 0 else "classic"
            plan = Plan(seed, asked.seconds, asked.people, 4, asked.replicas, protocol)
            result = campaign.run(plan, kafka, Path(folder))
            sys.stdout.write(f"{result}\n")
            passed &= result.passed
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(_main())

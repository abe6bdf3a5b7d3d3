"""The simulator as a process: settings as JSON in the first argument, its address on stdout.

It ends when its standard input does, and so never outlives whoever started it.
"""

import sys

import msgspec

from processor.simulator.aep.simulator import AepSimulator, SimulatorSettings


def _main() -> None:
    text = sys.argv[1] if len(sys.argv) > 1 else "{}"
    settings = msgspec.json.decode(text, type=SimulatorSettings)
    with AepSimulator(settings=settings) as simulator:
        sys.stdout.write(msgspec.json.encode({"url": simulator.url}).decode() + "\n")
        sys.stdout.flush()
        sys.stdin.read()


_main()

"""What goes wrong, when, and how often: seeded, so that a campaign can be run again."""

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random

from processor.simulator.aep.faults import FaultAction, ScriptedFault
from processor.simulator.aep.simulator import AepSimulator
from tests.support.kafka_cluster import RealKafka
from tests.support.replica import Replica

__all__ = ["Nemesis"]

_STOP_SECONDS = 30
_FAULTS = (
    ScriptedFault(FaultAction.STATUS, status=503, count=3),
    ScriptedFault(FaultAction.STATUS, status=503, retry_after="1", count=2),
    ScriptedFault(FaultAction.STATUS, status=500, count=2),
    ScriptedFault(FaultAction.STATUS, status=429, retry_after="1", count=2),
    ScriptedFault(FaultAction.ITEMS, item_status=503, share=0.3, count=2),
    ScriptedFault(FaultAction.RESET, count=2),
    ScriptedFault(FaultAction.RESET, count=1, accept=True),
    ScriptedFault(FaultAction.HALF, count=1),
    ScriptedFault(FaultAction.SHORT, count=1),
    ScriptedFault(FaultAction.LATENCY, delay=1.0, seconds=2),
)


class Nemesis:
    """Strikes once a call; `struck` counts what it did.

    Replicas that were killed or stopped are started again at once: their names, disks and settings
    are the same. The broker, where there is a real one, is killed and started again.
    """

    def __init__(
        self, seed: int, replicas: Sequence[Replica], aep: AepSimulator, kafka: RealKafka | None
    ) -> None:
        self.struck: Counter[str] = Counter()
        self._dice = Random(seed)  # noqa: S311  repeatable, not secret
        self._replicas = replicas
        self._aep = aep
        self._kafka = kafka

    def strike(self) -> str:
        """Do one bad thing and return its name."""
        actions: list[Callable[[], str]] = [self._kill] * 4 + [self._stop] * 2 + [self._fault] * 6
        if self._kafka is not None and not self.struck["broker killed"]:
            actions.append(self._break)
        name = self._dice.choice(actions)()
        self.struck[name] += 1
        return name

    def pause(self) -> float:
        """Return how many seconds to wait before the next strike."""
        return self._dice.uniform(0.1, 1.5)

    def _kill(self) -> str:
        replica = self._dice.choice(self._replicas)
        replica.kill()
        replica.start()
        return "replica killed"

    def _stop(self) -> str:
        replica = self._dice.choice(self._replicas)
        if replica.running:
            replica.terminate(_STOP_SECONDS)
        replica.start()
        return "replica stopped"

    def _fault(self) -> str:
        fault = self._dice.choice(_FAULTS)
        self._aep.faults.add(fault)  # beside the constant latency, which goes with any other
        doubt = fault.accept or fault.action in (FaultAction.HALF, FaultAction.SHORT)
        return f"inlet {fault.action}{' after accepting' if doubt else ''}"

    def _break(self) -> str:
        assert self._kafka is not None
        self._kafka.kill()
        self._kafka.start()
        return "broker killed"

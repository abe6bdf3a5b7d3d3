"""The faults of a campaign, seeded, so that it can be run again."""

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random

from processor.simulator.aep.faults import FaultAction, ScriptedFault
from processor.simulator.aep.simulator import AepSimulator
from tests.support.kafka_cluster import RealKafka
from tests.support.replica import Replica

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


class FaultInjector:
    """Causes one fault a call; `faults` counts them by name.

    A replica that was killed or stopped is started again at once, with the same name, disk and
    settings. The broker, where there is a real one, is killed and started again.
    """

    def __init__(
        self, seed: int, replicas: Sequence[Replica], aep: AepSimulator, kafka: RealKafka | None
    ) -> None:
        self.faults: Counter[str] = Counter()
        self._random = Random(seed)  # noqa: S311  repeatable, not secret
        self._replicas = replicas
        self._aep = aep
        self._kafka = kafka

    def cause_fault(self) -> str:
        """Cause one fault and return its name."""
        actions: list[Callable[[], str]] = [self._kill] * 4 + [self._stop] * 2 + [self._fault] * 6
        if self._kafka is not None and not self.faults["broker killed"]:
            actions.append(self._break)
        name = self._random.choice(actions)()
        self.faults[name] += 1
        return name

    def pause(self) -> float:
        """Return how many seconds to wait before the next fault."""
        return self._random.uniform(0.1, 1.5)

    def _kill(self) -> str:
        replica = self._random.choice(self._replicas)
        replica.kill()
        replica.start()
        return "replica killed"

    def _stop(self) -> str:
        replica = self._random.choice(self._replicas)
        if replica.running:
            replica.terminate(_STOP_SECONDS)
        replica.start()
        return "replica stopped"

    def _fault(self) -> str:
        fault = self._random.choice(_FAULTS)
        self._aep.faults.add(fault)  # beside the constant latency, which goes with any other
        in_doubt = fault.accept or fault.action in (FaultAction.HALF, FaultAction.SHORT)
        return f"inlet {fault.action}{' after accepting' if in_doubt else ''}"

    def _break(self) -> str:
        assert self._kafka is not None
        self._kafka.kill()
        self._kafka.start()
        return "broker killed"

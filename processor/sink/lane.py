"""A lane: the events of one route on their way to its inlet, packed, sent, and sent again.

Order: requests first leave in the order their events came in; several may be under way, and what is
sent again may arrive after what follows it. AEP orders events by timestamp, not by arrival.
"""

import asyncio
from collections import deque
from collections.abc import Sequence

from processor.domain.clock import Clock
from processor.domain.event import ScoreEvent
from processor.sink.delivery import InletDelivery
from processor.sink.gate import AdmissionGate
from processor.sink.packer import InletRequest, RequestPacker
from processor.sink.sender import Sender

_TICK = 0.005


class RouteWorker:
    """Packs events and carries each parcel until every event in it is accepted or refused.

    A parcel closes when it is full, or when it has lingered and none before it still waits: while
    the inlet is behind, requests grow rather than queue. `carrying` has the tasks that carry, and
    what each of them has still to send.
    """

    def __init__(
        self,
        packer: RequestPacker,
        sender: Sender,
        gate: AdmissionGate,
        *,
        clock: Clock,
        linger: float,
    ) -> None:
        self._packer = packer
        self._sender = sender
        self._gate = gate
        self._clock = clock
        self._linger = linger
        self._tasks: asyncio.TaskGroup | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.carrying: dict[asyncio.Task[None], deque[InletRequest]] = {}

    @property
    def unavailable_reason(self) -> str | None:
        """Why nothing is sent now, in plain words; None while it is, or has nothing to send.

        An idle lane holds nobody off: only an event can find out that the inlet is well again.
        """
        return self._gate.unavailable_reason if self.busy else None

    @property
    def busy(self) -> bool:
        """Whether there is anything left to send."""
        return bool(self.carrying) or self._packer.opened is not None

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Say where the lane's work runs."""
        self._tasks = tasks

    def take(self, events: Sequence[ScoreEvent], owner: InletDelivery) -> None:
        """Take over events of one delivery."""
        for parcel in self._packer.add(events, owner, self._clock.monotonic()):
            self._dispatch(parcel)
        self._watch()

    def flush(self) -> None:
        """Send what there is without lingering."""
        for parcel in self._packer.close():
            self._dispatch(parcel)

    def sift(self) -> None:
        """Release what is not to be sent any more; what is under way is looked at when it is back.

        A task left with nothing goes on to the gate, and turns round there.
        """
        self._packer.sift()
        for left in self.carrying.values():
            kept = [part for parcel in left if (part := parcel.sifted())]
            left.clear()
            left.extend(kept)

    def _watch(self) -> None:
        """Look at the open parcel again when it will have lingered."""
        opened = self._packer.opened
        if opened is not None and self._timer is None:
            ripe_in = max(_TICK, opened + self._linger - self._clock.monotonic())
            self._timer = asyncio.get_running_loop().call_later(ripe_in, self._ripen)

    def _ripen(self) -> None:
        self._timer = None
        opened = self._packer.opened
        if opened is None:
            return
        ripe = self._clock.monotonic() - opened >= self._linger
        if ripe and not self._gate.waiting:
            self.flush()
        self._watch()

    def _dispatch(self, parcel: InletRequest) -> None:
        assert self._tasks is not None  # noqa: S101  for the type checker: start comes first
        left = deque([parcel])
        task = self._tasks.create_task(self._carry(left))
        self.carrying[task] = left
        task.add_done_callback(self.carrying.pop)

    async def _carry(self, left: deque[InletRequest]) -> None:
        """See parcels through; what failed goes to the back, so that no event starves the rest."""
        while left:
            ticket = await self._gate.enter(len(left[0]))
            if not left:
                self._gate.leave()
                self._gate.returned(ticket)
                return
            again = await self._sender.send(left.popleft(), ticket)
            left.extend(part for parcel in again if (part := parcel.sifted()))

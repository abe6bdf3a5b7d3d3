"""The simulator's own paths, `/_sandbox/`: faults, registrations, ledger; and the page at `/`."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from aiohttp import web

from processor.simulator.aep.account import Dataset, Organisation, StreamingConnection
from processor.simulator.aep.faults import FaultScript, read_script
from processor.simulator.aep.ims import Ims
from processor.simulator.aep.lake import Lake
from processor.simulator.aep.ledger import AcceptedEvents
from processor.simulator.aep.page import status_page
from processor.simulator.aep.platform import as_count


class Registration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An inlet, a flow and a dataset to create."""

    inlet: StreamingConnection
    flow_id: str
    dataset: Dataset


def fault_routes(faults: FaultScript, ims: Ims) -> list[web.RouteDef]:
    """Return the paths that script faults and let tokens expire."""
    return [
        web.post("/_sandbox/faults", partial(_add_faults, faults)),
        web.get("/_sandbox/faults", partial(_list_faults, faults)),
        web.delete("/_sandbox/faults", partial(_end_faults, faults)),
        web.post("/_sandbox/expire-tokens", partial(_expire_tokens, ims)),
    ]


def ledger_routes(ledger: AcceptedEvents, lake: Lake) -> list[web.RouteDef]:
    """Return the paths that show and forget what was accepted."""
    return [
        web.get("/_sandbox/ledger", partial(_show_ledger, ledger, lake)),
        web.delete("/_sandbox/ledger", partial(_forget, ledger, lake)),
        web.get("/_sandbox/events", partial(_show_events, ledger)),
        web.get("/_sandbox/failed", partial(_show_failed, lake)),
    ]


def register_route(register: Callable[[Registration], None]) -> web.RouteDef:
    """Return the path that creates an inlet, a flow and a dataset."""
    return web.post("/_sandbox/register", partial(_register, register))


def page_route(
    account: Organisation, ledger: AcceptedEvents, lake: Lake, faults: FaultScript
) -> web.RouteDef:
    """Return the path of the page for people."""

    async def page(request: web.Request) -> web.Response:
        failed: Counter[str] = Counter()
        for batch in lake.failed():
            failed[batch.dataset_id] += len(batch.lines)
        address = str(request.url.origin())
        text = status_page(account, ledger, failed, faults.active(), address)
        return web.Response(text=text, content_type="text/html")

    return web.get("/", page)


async def _add_faults(faults: FaultScript, request: web.Request) -> web.Response:
    try:
        faults.add(*read_script(await request.read()))
    except msgspec.DecodeError as error:
        return _json({"error": str(error)}, 400)
    return await _list_faults(faults, request)


async def _list_faults(faults: FaultScript, _: web.Request) -> web.Response:
    return _json([{"fault": fault, "hits": hits} for fault, hits in faults.active()])


async def _end_faults(faults: FaultScript, _: web.Request) -> web.Response:
    faults.clear()
    return _json([])


async def _expire_tokens(ims: Ims, _: web.Request) -> web.Response:
    ims.expire_all()
    return _json({"issued": ims.issued})


def summary(ledger: AcceptedEvents, lake: Lake) -> dict[str, Any]:
    """Return what was accepted, refused and answered, in numbers."""
    datasets = {
        name: {
            "accepted": ledger.accepted(name),
            "distinct": ledger.distinct(name),
            "repeated": sum(times - 1 for times in ledger.duplicates(name).values()),
        }
        for name in ledger.datasets()
    }
    return {
        "accepted": ledger.accepted(),
        "cutRequests": ledger.cut_requests(),
        "failedRows": sum(len(batch.lines) for batch in lake.failed()),
        "datasets": datasets,
        "requests": {f"{inlet} {end}": count for (inlet, end), count in ledger.requests.items()},
        "refusals": dict(ledger.refusals),
    }


async def _show_ledger(ledger: AcceptedEvents, lake: Lake, _: web.Request) -> web.Response:
    return _json(summary(ledger, lake))


async def _show_events(ledger: AcceptedEvents, request: web.Request) -> web.Response:
    last = as_count(request.query.get("last"), 20)
    events = ledger.events(request.query.get("dataset"), last)
    return _json([msgspec.Raw(event.body) for event in events])


async def _show_failed(lake: Lake, request: web.Request) -> web.Response:
    return _json(lake.failed_rows(request.query.get("dataset")))


async def _forget(ledger: AcceptedEvents, lake: Lake, _: web.Request) -> web.Response:
    ledger.clear()
    lake.clear()
    return _json({})


async def _register(register: Callable[[Registration], None], request: web.Request) -> web.Response:
    try:
        register(msgspec.json.decode(await request.read(), type=Registration))
    except ValueError as error:  # msgspec's and the schema compiler's
        return _json({"error": str(error)}, 400)
    return _json({}, 201)


def _json(content: object, status: int = 200) -> web.Response:
    body = msgspec.json.encode(content)
    return web.Response(body=body, status=status, content_type="application/json")

"""The simulator's own paths: faults, registration and accepted events below `/_simulator/`; `/`."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from aiohttp import web

from processor.simulator.aep.accepted_events import AcceptedEvents
from processor.simulator.aep.data_lake import DataLake
from processor.simulator.aep.faults import FaultScript, read_script
from processor.simulator.aep.ims import Ims
from processor.simulator.aep.listing import as_count
from processor.simulator.aep.organisation import Dataset, Organisation, StreamingConnection
from processor.simulator.aep.status_page import status_page


class Registration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An inlet, a flow and a dataset to create."""

    inlet: StreamingConnection
    flow_id: str
    dataset: Dataset


def fault_routes(faults: FaultScript, ims: Ims) -> list[web.RouteDef]:
    """Return the paths that script faults and make tokens expire."""
    return [
        web.post("/_simulator/faults", partial(_add_faults, faults)),
        web.get("/_simulator/faults", partial(_list_faults, faults)),
        web.delete("/_simulator/faults", partial(_clear_faults, faults)),
        web.post("/_simulator/expire-tokens", partial(_expire_tokens, ims)),
    ]


def accepted_routes(accepted_events: AcceptedEvents, data_lake: DataLake) -> list[web.RouteDef]:
    """Return the paths that show and delete what was accepted."""
    return [
        web.get("/_simulator/accepted", partial(_show_summary, accepted_events, data_lake)),
        web.delete("/_simulator/accepted", partial(_delete_accepted, accepted_events, data_lake)),
        web.get("/_simulator/events", partial(_show_events, accepted_events)),
        web.get("/_simulator/failed", partial(_show_failed, data_lake)),
    ]


def register_route(register: Callable[[Registration], None]) -> web.RouteDef:
    """Return the path that creates an inlet, a flow and a dataset."""
    return web.post("/_simulator/register", partial(_register, register))


def page_route(
    organisation: Organisation,
    accepted_events: AcceptedEvents,
    data_lake: DataLake,
    faults: FaultScript,
) -> web.RouteDef:
    """Return the path of the status page."""

    async def page(request: web.Request) -> web.Response:
        failed: Counter[str] = Counter()
        for batch in data_lake.failed():
            failed[batch.dataset_id] += len(batch.lines)
        address = str(request.url.origin())
        text = status_page(organisation, accepted_events, failed, faults.active(), address)
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


async def _clear_faults(faults: FaultScript, _: web.Request) -> web.Response:
    faults.clear()
    return _json([])


async def _expire_tokens(ims: Ims, _: web.Request) -> web.Response:
    ims.expire_all()
    return _json({"issued": ims.issued})


def summary(accepted_events: AcceptedEvents, data_lake: DataLake) -> dict[str, Any]:
    """Return what was accepted, refused and answered, in numbers."""
    datasets = {
        name: {
            "accepted": accepted_events.total(name),
            "distinct": accepted_events.distinct(name),
            "repeated": sum(times - 1 for times in accepted_events.duplicates(name).values()),
        }
        for name in accepted_events.datasets()
    }
    return {
        "accepted": accepted_events.total(),
        "cutRequests": accepted_events.cut_requests(),
        "dropped": accepted_events.dropped.total(),
        "failedRows": sum(len(batch.lines) for batch in data_lake.failed()),
        "datasets": datasets,
        "requests": {
            f"{inlet} {result}": count
            for (inlet, result), count in accepted_events.requests.items()
        },
        "refusals": dict(accepted_events.refusals),
    }


async def _show_summary(
    accepted_events: AcceptedEvents, data_lake: DataLake, _: web.Request
) -> web.Response:
    return _json(summary(accepted_events, data_lake))


async def _show_events(accepted_events: AcceptedEvents, request: web.Request) -> web.Response:
    last = as_count(request.query.get("last"), 20)
    events = accepted_events.events(request.query.get("dataset"), last)
    return _json([msgspec.Raw(event.body) for event in events])


async def _show_failed(data_lake: DataLake, request: web.Request) -> web.Response:
    return _json(data_lake.failed_rows(request.query.get("dataset")))


async def _delete_accepted(
    accepted_events: AcceptedEvents, data_lake: DataLake, _: web.Request
) -> web.Response:
    accepted_events.clear()
    data_lake.clear()
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

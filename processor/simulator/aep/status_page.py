"""The HTML page of the simulator: accepted events, active faults, and how to use it. Pure."""

from html import escape

import msgspec

from processor.domain.clock import rfc3339
from processor.simulator.aep.accepted_events import AcceptedEvents
from processor.simulator.aep.faults import ScriptedFault
from processor.simulator.aep.organisation import Organisation

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #ddd;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
pre{background:#f5f5f2;padding:.8rem;overflow:auto;font-size:13px} code{background:#f5f5f2}
h1{font-size:1.4rem} h2{font-size:1.1rem;margin-top:2rem} .dim{color:#777}
"""
_LAST_EVENTS = 5


def status_page(
    organisation: Organisation,
    accepted_events: AcceptedEvents,
    failed: dict[str, int],
    faults: list[tuple[ScriptedFault, int]],
    base_url: str,
) -> str:
    """Return the page as HTML; `failed` counts rows in failed batches by dataset."""
    parts = [
        "<h1>Adobe Experience Platform simulator</h1>",
        f"<p class=dim>{escape(f'{organisation.org_id}, {organisation.sandbox_name}')}.</p>",
        _datasets(organisation, accepted_events, failed),
        _requests(accepted_events),
        _faults(faults),
        _events(accepted_events),
        _usage(organisation, base_url),
    ]
    head = f"<meta charset=utf-8><meta http-equiv=refresh content=5><style>{_STYLE}</style>"
    return f"<!doctype html><title>AEP simulator</title>{head}{''.join(parts)}"


def _datasets(
    organisation: Organisation, accepted_events: AcceptedEvents, failed: dict[str, int]
) -> str:
    rows = []
    for dataset_id in sorted({*organisation.datasets, *accepted_events.datasets()}):
        dataset = organisation.datasets.get(dataset_id)
        name = dataset.name if dataset else "not registered"
        repeated = sum(times - 1 for times in accepted_events.duplicates(dataset_id).values())
        counts = [accepted_events.total(dataset_id), accepted_events.distinct(dataset_id), repeated]
        rows.append([name, dataset_id, *counts, failed.get(dataset_id, 0)])
    head = ["dataset", "id", "accepted", "distinct _id", "repeats", "failed validation"]
    return "<h2>Datasets</h2>" + _table(head, rows)


def _requests(accepted_events: AcceptedEvents) -> str:
    rows = [
        [inlet, result, count]
        for (inlet, result), count in sorted(accepted_events.requests.items())
    ]
    refusals = [[sentence, count] for sentence, count in accepted_events.refusals.most_common(10)]
    text = "<h2>Requests</h2>" + _table(["inlet", "response", "requests"], rows)
    return text + (_table(["messages refused because", "messages"], refusals) if refusals else "")


def _faults(faults: list[tuple[ScriptedFault, int]]) -> str:
    if not faults:
        return "<h2>Faults</h2><p class=dim>None: all requests are handled normally.</p>"
    rows = [[msgspec.json.encode(_set_fields(fault)).decode(), hit] for fault, hit in faults]
    return "<h2>Faults</h2>" + _table(["fault", "requests hit"], rows)


def _set_fields(fault: ScriptedFault) -> dict[str, object]:
    defaults = msgspec.to_builtins(ScriptedFault(fault.action))
    found = msgspec.to_builtins(fault)
    return {
        name: found[name] for name in found if name == "action" or found[name] != defaults[name]
    }


def _events(accepted_events: AcceptedEvents) -> str:
    blocks = []
    for event in reversed(accepted_events.events(last=_LAST_EVENTS)):
        text = msgspec.json.format(event.body).decode()
        when = rfc3339(event.at_ms)
        blocks.append(
            f"<p class=dim>{when}, {escape(event.dataset_id)}</p><pre>{escape(text)}</pre>"
        )
    return "<h2>Last events</h2>" + ("".join(blocks) or "<p class=dim>None yet.</p>")


def _usage(organisation: Organisation, base_url: str) -> str:
    inlet = next(iter(organisation.inlets), "my-inlet")
    client = organisation.credentials
    text = f"""# a token
curl -s {base_url}/ims/token/v3 -d grant_type=client_credentials -d scope=openid,AdobeID \\
  -d client_id={client.client_id} -d client_secret={client.client_secret}
# one message
curl -s {base_url}/collection/{inlet} -H "Authorization: Bearer $TOKEN" \\
  -H "x-sandbox-name: {organisation.sandbox_name}" -H "Content-Type: application/json" \\
  -d @message.json
# a fault: respond with 503 three times
curl -s {base_url}/_simulator/faults -d '{{"action": "status", "status": 503, "count": 3}}'
# end all faults
curl -s -X DELETE {base_url}/_simulator/faults
# what was accepted
curl -s {base_url}/_simulator/accepted"""
    return f"<h2>How to use it</h2><pre>{escape(text)}</pre>"


def _table(head: list[str], rows: list[list[str | int]] | list[list[object]]) -> str:
    if not rows:
        return "<p class=dim>None yet.</p>"
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    lines = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table><tr>{titles}</tr>{lines}</table>"


def _cell(content: object) -> str:
    if isinstance(content, int):
        return f"<td class=n>{content:,}</td>"
    return f"<td>{escape(str(content))}</td>"

"""The XDM field group of score events, rendered for a tenant and its predictions."""

import json
from collections.abc import Iterable
from typing import Any

from processor.enrich.closed import Schema, close
from processor.enrich.models import MODEL_KEY
from processor.shipped import schemas_folder

__all__ = ["closed_event", "render_field_group"]

_TENANT, _MODEL = "_{TENANT}", "{MODEL}"


def render_field_group(tenant: str, model_keys: Iterable[str]) -> Schema:
    """Return the body to POST to AEP's Schema Registry (`/tenant/fieldgroups`).

    `tenant` is the tenant id with or without its underscore; each model key becomes an object
    beside the others.
    """
    group = _shipped("score-event.fieldgroup.json")
    fields = group["definitions"]["customFields"]["properties"]
    own = fields[f"_{tenant.removeprefix('_')}"] = fields.pop(_TENANT)
    models = own["properties"]["CustomerAI"]["properties"]
    template = models.pop(_MODEL)
    models.update({key: {**template, "title": key} for key in model_keys})
    return group


def closed_event(tenant: str, model_keys: Iterable[str], *, any_model: bool = False) -> Schema:
    """Return the closed schema of a whole score event: the class, and the field group upon it.

    `any_model` declares every usable model key, for routes whose predictions are not known yet.
    """
    keys = [*model_keys, _MODEL] if any_model else list(model_keys)
    event = _shipped("experience-event.class.json")
    event["allOf"] = [render_field_group(tenant, keys)["definitions"]["customFields"]]
    closed = close(event)
    if any_model:
        models = closed["properties"][f"_{tenant.removeprefix('_')}"]["properties"]["CustomerAI"]
        models["patternProperties"] = {f"^{MODEL_KEY}$": models["properties"].pop(_MODEL)}
    return closed


def _shipped(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((schemas_folder() / "xdm" / name).read_bytes())
    return content

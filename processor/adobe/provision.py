"""The plan of what is missing in a sandbox for the routes, and its execution step by step.

Every request can be the last one: before an object is created the routes file says so, and after
it the id is stored. A repeated run looks for the object first, for as long as lists may be late.
Nothing is ever deleted, and what others made is taken over only when it is named.

Sources: AEP guide to streaming connections over HTTP (5 minutes until a new flow takes events),
streaming validation (15 minutes of cached schemas).
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from processor.adobe.answer import AdobeError
from processor.adobe.blueprint import (
    CONTENT_TYPE,
    SCHEMA,
    UNKNOWN,
    Blueprint,
    Ids,
    Wanted,
    prediction_of,
)
from processor.adobe.drift import differences, is_model, missing_fields, profile_enabled
from processor.adobe.objects import AepObject, AepObjects, ObjectKind
from processor.adobe.rivals import RivalDatasets
from processor.domain.check_result import CheckResult, CheckStatus
from processor.domain.clock import Clock, rfc3339
from processor.domain.retry import Retry, RetryPolicy
from processor.settings import PlannedRoute
from processor.settings.routes_file import ProvisionedRoutes

FLOW_SECONDS: Final = 300.0
"""For how long a new dataflow may lose what it is sent."""
SCHEMA_MINUTES: Final = 15
PROFILE_ADVICE: Final = (
    "It is enabled for Profile: events above 10 KB are dropped there, and 1,500 events/s count "
    "against the capacity of the whole organisation."
)

_CREATE_RETRY: Final = RetryPolicy(first_seconds=1.0, max_seconds=10.0, budget_seconds=120.0)
_REPEAT: Final = "Repeat the command in some minutes: it continues where it stopped."


class StepAction(StrEnum):
    """What a plan says about an object."""

    KEEP = "keep"
    CREATE = "create"
    EXTEND = "extend"
    """Fields are added to a field group."""
    ADOPT = "adopt"
    REFUSE = "refuse"
    """It stands in the way, or is not as it was made."""


class PlannedStep(NamedTuple):
    """An object, what is to be done about it, and a result for people."""

    wanted: Wanted
    action: StepAction
    result: CheckResult
    found: AepObject | None = None


class ProvisionTimes(NamedTuple):
    """What is waited for, in seconds: lists and look-ups of new objects, and new dataflows."""

    list_seconds: float = 60.0
    poll_seconds: float = 2.0
    flow_seconds: float = FLOW_SECONDS


USUAL_TIMES: Final = ProvisionTimes()


class ProvisionPlan(NamedTuple):
    """The steps of a plan in the order of creation, and what was found about the datasets."""

    steps: tuple[PlannedStep, ...]
    findings: tuple[CheckResult, ...]

    @property
    def results(self) -> list[CheckResult]:
        """All of it for people."""
        return [*(step.result for step in self.steps), *self.findings]

    @property
    def refused(self) -> bool:
        """Whether something stands in the way of `apply`."""
        steps = any(step.action is StepAction.REFUSE for step in self.steps)
        return steps or any(each.mark is CheckStatus.FAIL for each in self.findings)


class Provisioner:
    """Plans and makes what a blueprint wants; raises AdobeError where AEP refuses.

    `save` stores the content of the routes file at once, for good. `report` gets a sentence for
    each object that is made.
    """

    def __init__(  # noqa: PLR0913  each is used
        self,
        objects: AepObjects,
        blueprint: Blueprint,
        stored: ProvisionedRoutes,
        save: Callable[[ProvisionedRoutes], None],
        *,
        clock: Clock,
        times: ProvisionTimes = USUAL_TIMES,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._objects = objects
        self._blueprint = blueprint
        self._stored = stored
        self._save = save
        self._clock = clock
        self._times = times
        self._sleep = sleep
        self._report = report

    async def plan(
        self, routes: Sequence[PlannedRoute], adopt: Collection[str] = ()
    ) -> ProvisionPlan:
        """Read what exists and return what `apply` would do; nothing is written."""
        ids, steps = Ids(self._stored.objects), []
        for wanted in self._blueprint.wanted:
            step = await self._look(wanted, ids, adopt)
            steps.append(step)
            if step.found is not None:
                ids[wanted.step] = step.found.id
            elif step.action is StepAction.REFUSE:
                ids[wanted.step] = UNKNOWN
        rivals = RivalDatasets(self._objects)
        flows = {
            step.wanted.route: step.found for step in steps if step.wanted.kind is ObjectKind.FLOW
        }
        findings: list[CheckResult] = []
        for step in steps:
            if step.wanted.kind is ObjectKind.DATASET and step.found is not None:
                flow = flows.get(step.wanted.route)
                findings += await rivals.in_dataset(step.found, step.wanted.route, flow)
        ours = {
            step.found.id for step in steps if step.found and step.wanted.kind is ObjectKind.DATASET
        }
        names = {route.name: prediction_of(route) for route in routes}
        findings += await rivals.native(names, ours)
        return ProvisionPlan(tuple(steps), tuple(findings))

    async def apply(
        self, routes: Sequence[PlannedRoute], adopt: Collection[str] = ()
    ) -> ProvisionPlan:
        """Make everything that is missing, and complete the routes; return the plan that was made.

        A plan that is refused changes nothing.
        """
        plan = await self.plan(routes, adopt)
        if plan.refused:
            return plan
        ids = Ids(self._stored.objects)
        for step in plan.steps:
            ids[step.wanted.step] = await self._do(step, ids)
        complete = [await self._complete(route, ids) for route in routes]
        self._store(routes=complete)
        return plan

    async def seconds_until_ready(self, routes: Sequence[PlannedRoute]) -> float:
        """Return for how long the newest dataflow of the routes may still lose events."""
        left = 0.0
        for route in routes:
            flow = await self._objects.find(
                ObjectKind.FLOW, self._stored.objects[f"flow {route.name}"]
            )
            age = (self._clock.now_ms() - flow.created_ms) / 1000 if flow is not None else 0.0
            left = max(left, self._times.flow_seconds - age)
        return left

    async def _look(self, wanted: Wanted, ids: Ids, adopt: Collection[str]) -> PlannedStep:
        stored = self._stored.objects.get(wanted.step)
        if stored is None:
            return await self._look_by_name(wanted, ids, adopt)
        found = await self._objects.find(wanted.kind, stored)
        if found is None:
            sentence = f"{wanted.name} ({stored}) is gone: it was deleted in AEP."
            fix = "Remove its id below `objects` in the routes file to have another one made."
            return _step(wanted, StepAction.REFUSE, sentence, fix=fix)
        return self._judge(wanted, found, ids, StepAction.KEEP)

    async def _look_by_name(self, wanted: Wanted, ids: Ids, adopt: Collection[str]) -> PlannedStep:
        named = await self._objects.named(wanted.kind, wanted.name)
        adopted = [each for each in named if each.id in adopt]
        ours = [each for each in named if wanted.description in each.description]
        if len(adopted) == 1:
            return self._judge(wanted, adopted[0], ids, StepAction.ADOPT)
        if len(ours) == 1:
            return self._judge(wanted, ours[0], ids, StepAction.KEEP)
        found = ", ".join(each.id for each in adopted or ours or named)
        if ours or adopted:
            sentence = f"{wanted.name} is there {len(adopted or ours)} times: {found}."
            fix = "Delete all but one in AEP, or say which one to use by --adopt ID."
            return _step(wanted, StepAction.REFUSE, sentence, fix=fix)
        if named:
            sentence = f"The name {wanted.name} is taken: {found}."
            fix = "Take it over by --adopt ID, or give the route a `dataset_name`."
            return _step(wanted, StepAction.REFUSE, sentence, fix=fix)
        return _step(wanted, StepAction.CREATE, f"{wanted.name} is to be created.")

    def _judge(self, wanted: Wanted, found: AepObject, ids: Ids, action: StepAction) -> PlannedStep:
        problems = list(differences(self._blueprint, wanted, found, ids))
        if problems:
            sentence = f"{wanted.name} ({found.id}) is not as it has to be: {'; '.join(problems)}."
            return _step(wanted, StepAction.REFUSE, sentence, found, fix=_FIXES[wanted.kind])
        if wanted.kind is ObjectKind.FIELD_GROUP:
            missing = missing_fields(self._blueprint, found)
            if missing:
                return _extension(wanted, found, missing)
        if wanted.kind is ObjectKind.DATASET and profile_enabled(found.document):
            return _step(wanted, action, PROFILE_ADVICE, found, mark=CheckStatus.WARN)
        verb = "is taken over" if action is StepAction.ADOPT else "is there"
        return _step(wanted, action, f"{wanted.name} {verb} ({found.id}).", found)

    async def _do(self, step: PlannedStep, ids: Ids) -> str:
        wanted, found = step.wanted, step.found
        if found is None:
            object_id = await self._create(wanted, ids)
            self._report(f"Created the {wanted.kind.title} {wanted.name} ({object_id}).")
        else:
            object_id = found.id
        if step.action is StepAction.EXTEND and found is not None:
            missing = missing_fields(self._blueprint, found)
            await self._objects.add_fields(found.id, missing)
            self._report(
                f"Added {len(missing)} fields to {wanted.name}: for up to {SCHEMA_MINUTES} minutes "
                "AEP refuses events with them."
            )
        if self._stored.objects.get(wanted.step) != object_id:
            self._stored_id(wanted.step, object_id)
        return object_id

    async def _create(self, wanted: Wanted, ids: Ids) -> str:
        """Create an object once, however often this is interrupted, and return its id."""
        retry = Retry(_CREATE_RETRY, self._clock)
        while True:
            found = await self._pending(wanted)
            if found is not None:
                return found.id
            self._store(pending={**self._stored.pending, wanted.step: self._clock.now_ms()})
            try:
                object_id = await self._objects.create(
                    wanted.kind, self._blueprint.body(wanted, ids)
                )
            except AdobeError as error:
                if not error.in_doubt:
                    self._store(pending=_without(self._stored.pending, wanted.step))
                if not error.in_doubt or retry.exhausted:
                    raise
                await self._sleep(retry.failed())
                continue
            self._stored_id(wanted.step, object_id)
            await self._await_object(wanted, object_id)
            return object_id

    async def _pending(self, wanted: Wanted) -> AepObject | None:
        """Return what an interrupted attempt created; None if there was none, or it created none.

        Lists are late, so it is looked for until they must have it.
        """
        since = self._stored.pending.get(wanted.step)
        while since is not None:
            named = await self._objects.named(wanted.kind, wanted.name)
            ours = [each for each in named if wanted.description in each.description]
            if ours:
                return ours[0]
            if self._clock.now_ms() - since >= self._times.list_seconds * 1000:
                break
            await self._sleep(self._times.poll_seconds)
        return None

    async def _await_object(self, wanted: Wanted, object_id: str) -> AepObject:
        begin = self._clock.monotonic()
        while True:
            found = await self._objects.find(wanted.kind, object_id)
            if found is not None:
                return found
            if self._clock.monotonic() - begin >= self._times.list_seconds:
                sentence = f"The {wanted.kind.title} {wanted.name} ({object_id}) is not ready."
                raise AdobeError(0, sentence, _REPEAT)
            await self._sleep(self._times.poll_seconds)

    async def _complete(self, route: PlannedRoute, ids: Ids) -> PlannedRoute:
        """Return a route with everything that `run` needs."""
        dataset = await self._objects.find(ObjectKind.DATASET, ids[f"dataset {route.name}"])
        reference = dataset.document.get("schemaRef", {}) if dataset is not None else {}
        return route.model_copy(
            update={
                "inlet_url": await self._inlet_url(
                    ids[self._blueprint.connection_step(route.name)]
                ),
                "flow_id": ids[f"flow {route.name}"],
                "dataset_id": ids[f"dataset {route.name}"],
                "schema_id": ids[SCHEMA],
                "schema_content_type": str(reference.get("contentType") or CONTENT_TYPE),
            }
        )

    async def _inlet_url(self, connection_id: str) -> str:
        begin = self._clock.monotonic()
        while True:
            found = await self._objects.find(ObjectKind.CONNECTION, connection_id)
            auth = found.document.get("auth") if found is not None else None
            params = auth.get("params") if isinstance(auth, dict) else None
            url = params.get("inletUrl") if isinstance(params, dict) else None
            if isinstance(url, str) and url:
                return url
            if self._clock.monotonic() - begin >= self._times.list_seconds:
                sentence = f"The streaming connection {connection_id} has no inletUrl yet."
                raise AdobeError(0, sentence, _REPEAT)
            await self._sleep(self._times.poll_seconds)

    def _stored_id(self, step: str, object_id: str) -> None:
        self._store(
            objects={**self._stored.objects, step: object_id},
            pending=_without(self._stored.pending, step),
        )

    def _store(self, **changes: object) -> None:
        self._stored = self._stored.model_copy(update=changes)
        self._save(self._stored)


def identity_results(
    org_id: str, tenant: str, found: tuple[str, str], sandbox: str
) -> list[CheckResult]:
    """Judge what `/stats` says against the settings, before anything is written."""
    found_org, found_tenant = found
    tenant = tenant.removeprefix("_")
    if found_org and found_org != org_id:
        sentence = f"The credential belongs to the organisation {found_org}, not to {org_id}."
        fix = "Set aep.org_id, or use a credential of that organisation."
        return [CheckResult("organisation", CheckStatus.FAIL, sentence, fix)]
    if found_tenant != tenant:
        sentence = f"The tenant of this organisation is {found_tenant}, not {tenant}."
        fix = f"Set event.tenant to {found_tenant}: it is part of every field and every `_id`."
        return [CheckResult("tenant", CheckStatus.FAIL, sentence, fix)]
    sentence = f"Organisation {org_id}, sandbox {sandbox}, tenant {tenant}."
    return [CheckResult("sandbox", CheckStatus.OK, sentence)]


def ready_at(clock: Clock, seconds: float) -> str:
    """Return when events may be sent, as RFC 3339."""
    return rfc3339(clock.now_ms() + int(seconds * 1000) // 1000 * 1000)


_FIXES: Final = {
    ObjectKind.FIELD_GROUP: "This is a breaking schema change. Restore the field in AEP, or "
    "provision under other names: types of fields with data cannot be changed.",
    ObjectKind.SCHEMA: "Put it right in AEP: Schemas.",
    ObjectKind.DATASET: "Use a dataset of the schema above, or another `dataset_name`.",
    ObjectKind.CONNECTION: "Put it right in AEP: Sources > Accounts, or remove its id there.",
    ObjectKind.SOURCE: "Delete it in AEP together with its dataflow, or restore the routes file.",
    ObjectKind.TARGET: "Delete it in AEP together with its dataflow, or restore the routes file.",
    ObjectKind.FLOW: "In AEP: Sources > Dataflows > this one > Enable.",
}


def _extension(wanted: Wanted, found: AepObject, missing: dict[str, object]) -> PlannedStep:
    names = ", ".join(pointer.rsplit("/", 1)[1] for pointer in missing)
    if all(map(is_model, missing)):
        sentence = f"{wanted.name} ({found.id}) is to have more predictions: {names}."
        return _step(wanted, StepAction.EXTEND, sentence, found, mark=CheckStatus.SKIP)
    sentence = f"{wanted.name} ({found.id}) was changed by hand, or is older: it lacks {names}."
    fix = "`provision apply` adds the fields."
    return _step(wanted, StepAction.EXTEND, sentence, found, fix=fix, mark=CheckStatus.FAIL)


def _step(  # noqa: PLR0913  the parts of a result
    wanted: Wanted,
    action: StepAction,
    sentence: str,
    found: AepObject | None = None,
    *,
    fix: str = "",
    mark: CheckStatus | None = None,
) -> PlannedStep:
    by_action = {StepAction.CREATE: CheckStatus.SKIP, StepAction.REFUSE: CheckStatus.FAIL}
    name = f"{wanted.kind.title} of {wanted.route}" if wanted.route else wanted.kind.title
    result = CheckResult(name, mark or by_action.get(action, CheckStatus.OK), sentence, fix)
    return PlannedStep(wanted, action, result, found)


def _without(pending: dict[str, int], step: str) -> dict[str, int]:
    return {key: value for key, value in pending.items() if key != step}

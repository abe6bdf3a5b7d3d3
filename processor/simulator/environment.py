"""Embedded broker and AEP simulator together, with settings of the processor that fit."""

from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar
from uuid import NAMESPACE_URL, uuid5

import msgspec
import yaml

from processor.enrich.event_schema import closed_event
from processor.simulator.aep.organisation import Dataset, Organisation
from processor.simulator.aep.simulator import SimulatorSettings
from processor.simulator.broker import EmbeddedBroker
from processor.simulator.feed import Feed
from processor.simulator.history.settings import PREDICTIONS, HistorySettings, Prediction

SCORES_TOPIC = "customer-ai-scores"
EVENTS_TOPIC = "experience-events"
DEAD_LETTER_TOPIC = "customer-ai-dead-letters"
CHANGELOG_TOPIC = "customer-ai-scores-state"
CONTROL_TOPIC = "customer-ai-control"
REPARTITION_TOPIC = "customer-ai-scores-facts"
GROUP_ID = "customer-ai-scores"


class EnvironmentSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Partitions, brokers, tenant and predictions of a simulated environment."""

    partitions: int = 4
    """Partitions of the scores, experience events and changelog topics."""
    event_partitions: int | None = None
    """Partitions of the experience events if they may have any key; they are then repartitioned."""
    brokers: int = 1
    tenant: str = "_acme"
    predictions: tuple[Prediction, ...] = PREDICTIONS
    """Each has its own inlet, flow, dataset and route."""


class Simulator(Protocol):
    """An AEP simulator, in this process or in another."""

    organisation: Organisation
    settings: SimulatorSettings
    url: str

    def start(self) -> Self:
        """Start it."""
        ...

    def close(self) -> None:
        """Stop it."""
        ...

    def register(self, *, inlet_id: str, flow_id: str, dataset: Dataset) -> None:
        """Create an inlet, a dataset and the flow between them."""
        ...

    def inlet_url(self, inlet_id: str) -> str:
        """Return the address of an inlet."""
        ...


_Sim = TypeVar("_Sim", bound=Simulator)


class SimulatedEnvironment(Generic[_Sim]):
    """An embedded Kafka broker and an AEP simulator, with everything the processor needs.

    `SimulatedEnvironment(AepSimulator())` runs the simulator on a thread, with accepted events at
    hand; `SimulatedEnvironment(AepProcess())` in a process of its own, for measurements.

    Use it as a context manager, or `start` and `close` it. The topics exist; the simulator has an
    inlet, a flow and a dataset with a closed schema for each prediction.
    """

    def __init__(self, simulator: _Sim, settings: EnvironmentSettings | None = None) -> None:
        self.simulator = simulator
        self._settings = settings or EnvironmentSettings()
        partitions, others = self._settings.partitions, self._settings.event_partitions
        topics = {
            SCORES_TOPIC: partitions,
            EVENTS_TOPIC: others or partitions,
            CHANGELOG_TOPIC: partitions,
            DEAD_LETTER_TOPIC: 1,
            CONTROL_TOPIC: 1,
        }
        self._repartition = {} if others is None else {"repartition_topic": REPARTITION_TOPIC}
        topics |= dict.fromkeys(self._repartition.values(), partitions)
        self.broker = EmbeddedBroker(topics, self._settings.brokers)
        for prediction in self._settings.predictions:
            self.simulator.register(
                inlet_id=inlet_id(prediction),
                flow_id=flow_id(prediction),
                dataset=self._dataset(prediction),
            )

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> Self:
        """Start the simulator; the broker runs since the environment was created."""
        try:
            self.simulator.start()
        except BaseException:
            self.broker.close()
            raise
        return self

    def close(self) -> None:
        """Stop both; everything in them is deleted."""
        self.simulator.close()
        self.broker.close()

    def settings(self, state_directory: Path) -> dict[str, Any]:
        """Return the processor's settings for this environment, as in a settings file."""
        return {
            "kafka": {
                "bootstrap_servers": self.broker.bootstrap,
                "group_id": GROUP_ID,
                "scores": {"topics": [SCORES_TOPIC]},
                "events": {"topics": [EVENTS_TOPIC]},
            },
            "event": {"tenant": self._settings.tenant},
            "join": {
                "directory": str(state_directory),
                "changelog_topic": CHANGELOG_TOPIC,
                "changelog_replication": 1,
                "create_changelog": False,
                "cohort": f"{self._settings.tenant}.loyalty.tier",
                **self._repartition,
            },
            "aep": self._aep(),
            "routes": [self._route(prediction) for prediction in self._settings.predictions],
            "dead_letter": {"topic": DEAD_LETTER_TOPIC},
        }

    def write_settings(self, path: Path, state_directory: Path) -> Path:
        """Write `settings` as a YAML file and return its path."""
        text = yaml.safe_dump(self.settings(state_directory), sort_keys=False)
        path.write_text(f"# For the simulator; valid while it runs.\n{text}")
        return path

    def history_settings(self, now_ms: int, **sizes: Any) -> HistorySettings:  # noqa: ANN401
        """Return settings of a history whose last run was on the last Monday; sizes as given."""
        return HistorySettings(
            last_run_ms=HistorySettings.last_monday(now_ms),
            predictions=self._settings.predictions,
            tenant=self._settings.tenant,
            scores_topic=SCORES_TOPIC,
            events_topic=EVENTS_TOPIC,
            **sizes,
        )

    def feed(self, *, wait_for_group: bool = True) -> Feed:
        """Return a feed into the broker that waits for the commits of the processor by default."""
        return Feed(self.broker.bootstrap, GROUP_ID if wait_for_group else None)

    def _aep(self) -> dict[str, Any]:
        organisation = self.simulator.organisation
        return {
            "org_id": organisation.org_id,
            "sandbox_name": organisation.sandbox_name,
            "allow_hosts": [self.simulator.settings.host],
            "allow_http": True,
            "platform_url": self.simulator.url,
            "cja_url": self.simulator.url,
            "auth": {
                "token_url": f"{self.simulator.url}/ims/token/v3",
                "client_id": organisation.credentials.client_id,
                "client_secret": organisation.credentials.client_secret,
            },
        }

    def _route(self, prediction: Prediction) -> dict[str, Any]:
        dataset = self._dataset(prediction)
        return {
            "name": slug(prediction),
            "models": [prediction.name],
            "prediction": prediction.name,
            "inlet_url": self.simulator.inlet_url(inlet_id(prediction)),
            "flow_id": flow_id(prediction),
            "dataset_id": dataset.id,
            "schema_id": dataset.schema_id,
            "schema_content_type": dataset.content_type,
        }

    def _dataset(self, prediction: Prediction) -> Dataset:
        tenant = self._settings.tenant
        schema_id = f"https://ns.adobe.com/{tenant.lstrip('_')}/schemas/{_hex(prediction, 32)}"
        return Dataset(
            id=dataset_id(prediction),
            name=f"Customer AI Scores in EE Format - {prediction.name}",
            schema_id=schema_id,
            schema=closed_event(tenant, [prediction.key]),
        )


def slug(prediction: Prediction) -> str:
    """Return a prediction's short name: `upgrade-account` for "Likelihood to upgrade account"."""
    return prediction.name.lower().removeprefix("likelihood to ").replace(" ", "-")


def dataset_id(prediction: Prediction) -> str:
    """Return the id of a prediction's dataset in every environment."""
    return _hex(prediction, 24)


def inlet_id(prediction: Prediction) -> str:
    """Return the id of a prediction's inlet in every environment."""
    return sha256(f"inlet/{prediction.name}".encode()).hexdigest()


def flow_id(prediction: Prediction) -> str:
    """Return the id of a prediction's flow in every environment."""
    return str(uuid5(NAMESPACE_URL, f"flow/{prediction.name}"))


def _hex(prediction: Prediction, digits: int) -> str:
    return sha256(prediction.name.encode()).hexdigest()[:digits]

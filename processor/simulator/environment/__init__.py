"""Broker and simulator together, with settings that fit: all one needs to try the processor."""

from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar
from uuid import NAMESPACE_URL, uuid5

import msgspec
import yaml

from processor.enrich.event_schema import closed_event
from processor.simulator.aep.account import Dataset, Organisation
from processor.simulator.aep.simulator import SimulatorSettings
from processor.simulator.broker import EmbeddedBroker
from processor.simulator.feed import Feed
from processor.simulator.history.figures import PREDICTIONS, Figures, Prediction

SCORES_TOPIC = "customer-ai-scores"
EVENTS_TOPIC = "experience-events"
DEAD_LETTER_TOPIC = "customer-ai-dead-letters"
CHANGELOG_TOPIC = "customer-ai-scores-state"
REPARTITION_TOPIC = "customer-ai-scores-facts"
GROUP_ID = "customer-ai-scores"


class EnvironmentSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The size of a sandbox, and the organisation it plays."""

    partitions: int = 4
    """Of the scores, experience events and changelog topics."""
    event_partitions: int | None = None
    """Of the experience events where they may be keyed in any way; they are then forwarded."""
    brokers: int = 1
    tenant: str = "_sandbox"
    predictions: tuple[Prediction, ...] = PREDICTIONS
    """One inlet, flow, dataset and route each."""


class Simulator(Protocol):
    """What a sandbox needs of a simulator, in this process or in another."""

    account: Organisation
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
    """An embedded Kafka broker and an AEP simulator that know each other.

    `SimulatedEnvironment(AepSimulator())` has the simulator on a thread, with its ledger at hand;
    `SimulatedEnvironment(AepProcess())` in a process of its own, for figures that mean something.

    Use it as a context manager, or `start` and `close` it. The topics exist; the simulator knows an
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
        at: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> Self:
        """Start the simulator; the broker runs since the sandbox was made."""
        try:
            self.simulator.start()
        except BaseException:
            self.broker.close()
            raise
        return self

    def close(self) -> None:
        """Stop both; nothing in them survives."""
        self.simulator.close()
        self.broker.close()

    def settings(self, state_directory: Path) -> dict[str, Any]:
        """Return the processor's settings for this sandbox, as a settings file has them."""
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
        path.write_text(f"# For the sandbox; valid while it runs.\n{text}")
        return path

    def figures(self, now_ms: int, **sizes: Any) -> Figures:  # noqa: ANN401  fields of Figures
        """Return the figures of a history whose last run is on the last Monday; sizes as given."""
        return Figures(
            last_run_ms=Figures.last_monday(now_ms),
            predictions=self._settings.predictions,
            tenant=self._settings.tenant,
            scores_topic=SCORES_TOPIC,
            events_topic=EVENTS_TOPIC,
            **sizes,
        )

    def feed(self, *, wait_for_group: bool = True) -> Feed:
        """Return a feed into the broker, held back by what the processor has committed."""
        return Feed(self.broker.bootstrap, GROUP_ID if wait_for_group else None)

    def _aep(self) -> dict[str, Any]:
        account = self.simulator.account
        return {
            "org_id": account.org_id,
            "sandbox_name": account.sandbox_name,
            "allow_hosts": [self.simulator.settings.host],
            "allow_http": True,
            "auth": {
                "token_url": f"{self.simulator.url}/ims/token/v3",
                "client_id": account.credentials.client_id,
                "client_secret": account.credentials.client_secret,
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
    """Return the id of a prediction's dataset in every sandbox."""
    return _hex(prediction, 24)


def inlet_id(prediction: Prediction) -> str:
    """Return the id of a prediction's inlet in every sandbox."""
    return sha256(f"inlet/{prediction.name}".encode()).hexdigest()


def flow_id(prediction: Prediction) -> str:
    """Return the id of a prediction's flow in every sandbox."""
    return str(uuid5(NAMESPACE_URL, f"flow/{prediction.name}"))


def _hex(prediction: Prediction, digits: int) -> str:
    return sha256(prediction.name.encode()).hexdigest()[:digits]

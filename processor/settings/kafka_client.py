"""Settings that are passed to librdkafka unchanged, with the secrets among them hidden."""

import re
from collections.abc import Mapping
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, SecretStr

from processor.domain.errors import SettingsError

Property: TypeAlias = str | int | float | bool

RESERVED = frozenset(
    {
        "allow.auto.create.topics",
        "auto.commit.enable",
        "auto.commit.interval.ms",
        "auto.offset.reset",
        "bootstrap.servers",
        "check.crcs",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "enable.idempotence",
        "enable.partition.eof",
        "group.id",
        "group.instance.id",
        "group.protocol",
        "group.remote.assignor",
        "isolation.level",
        "max.poll.interval.ms",
        "metadata.broker.list",
        "partition.assignment.strategy",
        "request.required.acks",
        "acks",
        "session.timeout.ms",
        "transactional.id",
    }
)
"""Properties the delivery guarantee depends on: set by the processor, never by a user."""

_SECRET = re.compile(
    r"password|secret|token|credential|\.pem$|jaas|oauthbearer\.config", re.IGNORECASE
)
_ADDRESS = re.compile(r"\.(url|location|file)$", re.IGNORECASE)


def is_secret(name: str) -> bool:
    """Return whether the librdkafka property of this name contains a secret."""
    return bool(_SECRET.search(name)) and not _ADDRESS.search(name)


def _hide(client: dict[str, Property | SecretStr]) -> dict[str, Property | SecretStr]:
    return {
        name: SecretStr(str(value))
        if is_secret(name) and not isinstance(value, SecretStr)
        else value
        for name, value in client.items()
    }


Client: TypeAlias = Annotated[dict[str, Property | SecretStr], AfterValidator(_hide)]


def reveal(client: Mapping[str, Property | SecretStr]) -> dict[str, Property]:
    """Return the properties with secrets in clear text, only for the Kafka client."""
    return {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value
        for name, value in client.items()
    }


def connection(
    servers: str, name: str, *clients: Mapping[str, Property | SecretStr]
) -> dict[str, Property]:
    """Return the properties of every Kafka client of the processor, secrets in clear text.

    Later `clients` win over earlier ones. Raises SettingsError for properties of `RESERVED`.
    """
    chosen = {key: value for client in clients for key, value in reveal(client).items()}
    refused = sorted(RESERVED & chosen.keys())
    if refused:
        raise SettingsError(
            [
                f"kafka client property `{key}` is set by the processor; remove it."
                for key in refused
            ]
        )
    return {
        "client.id": name,
        "socket.keepalive.enable": True,
        "enable.metrics.push": False,
        "log_level": 4,
        **chosen,
        "bootstrap.servers": servers,
    }

"""A real Apache Kafka: one KRaft node on loopback, started, killed and restarted by its pid."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from string import Template

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from processor.domain.clock import SystemClock
from tests.support import java
from tests.support.prepared import prepared
from tests.support.waiting import until

_PROPERTIES = Template("""\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:$controller
listeners=PLAIN://127.0.0.1:$plain,SECURE://127.0.0.1:$secure,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAIN://127.0.0.1:$plain,SECURE://127.0.0.1:$secure,\
CONTROLLER://127.0.0.1:$controller
listener.security.protocol.map=PLAIN:PLAINTEXT,SECURE:SASL_SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAIN
controller.listener.names=CONTROLLER
log.dirs=$folder/log
sasl.enabled.mechanisms=PLAIN
listener.name.secure.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required user_processor="$password";
listener.name.secure.ssl.keystore.location=$keystore
listener.name.secure.ssl.keystore.password=$password
listener.name.secure.ssl.keystore.type=PKCS12
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=6000
group.consumer.min.session.timeout.ms=6000
group.consumer.heartbeat.interval.ms=1000
group.consumer.min.heartbeat.interval.ms=1000
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
log.cleaner.threads=1
log.cleaner.dedupe.buffer.size=4194304
num.network.threads=2
num.io.threads=4
""")
_PASSWORD = "only-for-tests"
_JVM = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
_QUIET = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
_START_SECONDS = 60
_STOP_SECONDS = 30


class RealKafka:
    """One broker that is its own controller, in a folder of its own.

    `start` formats the folder the first time and keeps ports and data ever after, so `kill` and
    `start` are what a crash looks like to a client. The plain listener asks for nothing; the secure
    one wants TLS and SASL/PLAIN (`secure_client`).
    """

    def __init__(self, folder: Path, *, heap_mb: int = 512) -> None:
        self.folder = folder
        self.start_seconds = 0.0
        self._heap_mb = heap_mb
        self._plain, self._secure, self._controller = java.free_ports(3)
        self._process: subprocess.Popen[bytes] | None = None
        self._classpath = java.resolved("broker", "classpath.txt").read_text()
        self._keystore, self._certificate = _tls()
        self._format()

    @property
    def bootstrap(self) -> str:
        """Address of the plain listener."""
        return f"127.0.0.1:{self._plain}"

    @property
    def secure_bootstrap(self) -> str:
        """Address of the listener that wants TLS and a password."""
        return f"127.0.0.1:{self._secure}"

    @property
    def secure_client(self) -> dict[str, str | int | float | bool]:
        """What a client must set to be let in at the secure listener."""
        return {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "PLAIN",
            "sasl.username": "processor",
            "sasl.password": _PASSWORD,
            "ssl.ca.location": str(self._certificate),
        }

    @property
    def pid(self) -> int:
        """The broker's process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def rss_mb(self) -> float:
        """Resident memory of the broker, in MiB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def start(self) -> None:
        """Run the broker and return when it answers; fail with its log's tail where it does not."""
        clock = SystemClock()
        begun = clock.monotonic()
        with (self.folder / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  a fixed command
                self._java("kafka.Kafka", str(self.folder / "server.properties")),
                stdout=log,
                stderr=log,
            )
        until(self._answers, seconds=_START_SECONDS, what="Kafka answers", tell=self._log_tail)
        self.start_seconds = clock.monotonic() - begun

    def kill(self) -> None:
        """Kill -9: nothing is flushed, nothing is handed over."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_STOP_SECONDS)

    def stop(self) -> None:
        """Stop the broker cleanly; kill it where it takes too long."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def admin(self) -> AdminClient:
        """Return a new admin client of the plain listener."""
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})

    def create_topics(
        self, topics: Mapping[str, int], config: Mapping[str, str] | None = None
    ) -> None:
        """Create topics, by name and partition count, and return when a new client sees them."""
        settings = dict(config or {})
        new = [
            NewTopic(name, num_partitions=count, replication_factor=1, config=settings)
            for name, count in topics.items()
        ]
        admin = self.admin()  # held: its futures die with it
        for future in admin.create_topics(new).values():
            future.result(timeout=_START_SECONDS)
        until(
            lambda: topics.items() <= self._partition_counts().items(),
            seconds=_START_SECONDS,
            what=f"the broker lists {sorted(topics)}",
            tell=self._partition_counts,
        )

    def _partition_counts(self) -> dict[str, int]:
        """Return the topics that a new client sees, with the partitions that have a leader."""
        try:
            listed = self.admin().list_topics(timeout=5).topics
        except KafkaException:
            return {}
        return {
            name: sum(partition.leader >= 0 for partition in topic.partitions.values())
            for name, topic in listed.items()
        }

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"Kafka ended with {self._process.returncode}.{self._log_tail()}")
        try:
            return bool(self.admin().list_topics(timeout=1).brokers)
        except KafkaException:
            return False

    def _format(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        properties = self.folder / "server.properties"
        properties.write_text(
            _PROPERTIES.substitute(
                plain=self._plain,
                secure=self._secure,
                controller=self._controller,
                folder=self.folder,
                password=_PASSWORD,
                keystore=self._keystore,
            )
        )
        command = self._java(
            "kafka.tools.StorageTool", "format", "--standalone", "--config", str(properties)
        )
        cluster_id = "dGVzdHMtb25seS1jbHVzdA"
        subprocess.run(  # noqa: S603  a fixed command
            [*command, "--cluster-id", cluster_id],
            check=True,
            capture_output=True,
            timeout=_START_SECONDS,
        )

    def _java(self, main: str, *arguments: str) -> list[str]:
        heap = (f"-Xms{self._heap_mb // 2}m", f"-Xmx{self._heap_mb}m")
        return ["java", *heap, *_JVM, _QUIET, "-cp", self._classpath, main, *arguments]

    def _log_tail(self) -> str:
        text = (self.folder / "broker.log").read_text(errors="replace")
        return "\n" + "\n".join(text.splitlines()[-20:])


def _tls() -> tuple[Path, Path]:
    """Return a key store and its certificate for 127.0.0.1, made once with the JDK's keytool."""
    keystore, certificate = java.CACHE / "broker.p12", java.CACHE / "broker.pem"
    store = ("-keystore", str(keystore), "-storepass", _PASSWORD, "-alias", "broker")

    def make() -> None:
        keystore.unlink(missing_ok=True)
        _keytool(
            *("-genkeypair", "-keyalg", "EC", "-validity", "3650", "-storetype", "PKCS12"),
            *("-dname", "CN=127.0.0.1", "-ext", "SAN=ip:127.0.0.1", *store),
        )
        _keytool("-exportcert", "-rfc", "-file", str(certificate), *store)

    return keystore, prepared(certificate, make, cache=java.CACHE, source=java.POM)


def _keytool(*arguments: str) -> None:
    tool = shutil.which("keytool")
    assert tool, "keytool comes with every JRE, but is not on PATH"
    subprocess.run([tool, *arguments], check=True, capture_output=True, timeout=60)  # noqa: S603  a fixed command

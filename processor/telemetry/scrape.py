"""The metrics of another process, read from its metrics page."""

import urllib.request
from collections import defaultdict
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from processor.domain.errors import UnavailableError
from processor.telemetry.metric_types import AnyMetric

_SECONDS = 5.0
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Ignores the proxies of the environment."""


class MetricSamples(NamedTuple):
    """Every sample of one scrape, by sample name."""

    samples: dict[str, list[tuple[dict[str, str], float]]]

    def total(self, metric: AnyMetric, **labels: str) -> float:
        """Return the sum of a counter or gauge over all series that carry these labels."""
        return self.total_of(metric.exposed_name, **labels)

    def total_of(self, name: str, **labels: str) -> float:
        """Return the same for a sample by its full name, such as `process_cpu_seconds_total`."""
        series = self.samples.get(name, ())
        return sum(value for own, value in series if labels.items() <= own.items())

    def by(self, label: str, metric: AnyMetric, **labels: str) -> dict[str, float]:
        """Return a metric's sums by the values of one label, without those that are zero."""
        sums: dict[str, float] = defaultdict(float)
        for own, value in self.samples.get(metric.exposed_name, ()):
            if label in own and labels.items() <= own.items():
                sums[own[label]] += value
        return {key: value for key, value in sums.items() if value}


def scrape(url: str) -> MetricSamples:
    """Return the samples of `<url>/metrics`; UnavailableError where it does not respond."""
    try:
        with _direct.open(f"{url}/metrics", timeout=_SECONDS) as response:
            text = response.read().decode()
    except OSError as error:
        raise UnavailableError("metrics page", str(error)) from error
    samples: dict[str, list[tuple[dict[str, str], float]]] = defaultdict(list)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples[sample.name].append((dict(sample.labels), sample.value))
    return MetricSamples(samples)

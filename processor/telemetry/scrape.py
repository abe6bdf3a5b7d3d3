"""Another process's metrics page, read as numbers."""

import urllib.request
from collections import defaultdict
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from processor.domain.errors import UnavailableError
from processor.telemetry.catalogue import PREFIX

_SECONDS = 5.0
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Never through a proxy the environment names."""


class MetricSamples(NamedTuple):
    """Every sample of one scrape, by sample name."""

    samples: dict[str, list[tuple[dict[str, str], float]]]

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of a sample over all series that carry these labels.

        `name` has no `cai_` prefix, and ends as Prometheus shows it: `items_total`.
        """
        return self.total_of(PREFIX + name, **labels)

    def total_of(self, name: str, **labels: str) -> float:
        """Return the same of a sample that is not of the house, such as the process's own."""
        found = self.samples.get(name, ())
        return sum(value for mine, value in found if labels.items() <= mine.items())

    def by(self, label: str, name: str, **labels: str) -> dict[str, float]:
        """Return a sample's sums by the values of one label, without those that are zero."""
        sums: dict[str, float] = defaultdict(float)
        for mine, value in self.samples.get(PREFIX + name, ()):
            if label in mine and labels.items() <= mine.items():
                sums[mine[label]] += value
        return {key: value for key, value in sums.items() if value}


def scrape(url: str) -> MetricSamples:
    """Return what `<url>/metrics` says now; UnavailableError where nobody answers."""
    try:
        with _direct.open(f"{url}/metrics", timeout=_SECONDS) as answer:
            text = answer.read().decode()
    except OSError as error:
        raise UnavailableError("metrics page", str(error)) from error
    samples: dict[str, list[tuple[dict[str, str], float]]] = defaultdict(list)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples[sample.name].append((dict(sample.labels), sample.value))
    return MetricSamples(samples)

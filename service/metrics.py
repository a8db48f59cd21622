"""What the service counts, in Prometheus' format."""

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
SCORES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1)
SIZES = (1, 2, 4, 8, 16, 32, 64)
METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"}


class Metrics:
    """Labels have few values: unknown paths and methods of requests are counted as `other`."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self):
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = self._counter("requests", "Answers to requests", "path", "method", "code")
        self.latency = Histogram(
            "inspect_seconds",
            "From the first byte of an inspection request to its answer, where it is 200",
            ["category"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.queue = Gauge(
            "queue_pictures", "Pictures accepted and not yet judged", registry=self.registry
        )
        self.batches = Histogram(
            "batch_pictures", "Pictures per batch", ["category"], buckets=SIZES, **self._here
        )
        self.verdicts = self._counter("verdicts", "Judged pictures", "category", "verdict")
        self.scores = Histogram(
            "normalised_score",
            "Normalised scores of judged pictures; 0.5 is the threshold",
            ["category"],
            buckets=SCORES,
            **self._here,
        )
        self.reloads = self._counter("reloads", "Reloads of the models", "result")
        self.collected = self._counter(
            "stats_pictures", "Pictures for the file of --stats", "result"
        )
        self.webhooks = self._counter("webhooks", "Reports of defective pictures", "result")

    @property
    def _here(self) -> dict:
        return {"registry": self.registry}

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def answered(self, path: str, method: str, code: int) -> None:
        """Count an answer; `path` is a route's, with its parameters in braces."""
        method = method if method in METHODS else "other"
        self.requests.labels(path, method, str(code)).inc()

    def judged(self, category: str, verdict: str, normalised: float | None) -> None:
        self.verdicts.labels(category, verdict).inc()
        if normalised is not None:
            self.scores.labels(category).observe(normalised)

    def text(self) -> bytes:
        return generate_latest(self.registry)

"""What Prometheus is told: requests of this process, and how the fleet stands."""

from __future__ import annotations

from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from reconciler.service import Totals

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30)


@dataclass
class Meter:
    """Counts requests and shows totals."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        labels = ("method", "path", "status")
        self._requests = Counter(
            "pressluft_http_requests", "Requests answered", labels, registry=self.registry
        )
        self._seconds = Histogram(
            "pressluft_http_request_seconds",
            "Time to answer",
            ("method", "path"),
            registry=self.registry,
            buckets=BUCKETS,
        )
        self._totals = {
            name: Gauge(f"pressluft_{name}", text, registry=self.registry)
            for name, text in (
                ("jobs_running", "Jobs that run"),
                ("jobs_queued", "Jobs that wait"),
                ("jobs_unread", "Jobs of the past that were not looked at since the start"),
                ("nodes", "Nodes that environments are on"),
                ("sites", "Sites of the fleet"),
            )
        }

    def count(self, method: str, path: str, status: int, *, seconds: float) -> None:
        """Count one answer; `path` is the contract's, so that there are few."""
        known = method if path != "unknown" else "any"
        self._requests.labels(known, path, str(status)).inc()
        self._seconds.labels(known, path).observe(seconds)

    def show(self, totals: Totals) -> bytes:
        """Write everything in Prometheus' text format."""
        for name, gauge in self._totals.items():
            gauge.set(getattr(totals, name))
        return generate_latest(self.registry)

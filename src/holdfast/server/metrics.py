"""What a server counts: requests by route, method and status, how long they took, and how many are open. For Prometheus."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)


class Metrics:
    """The counters of one process. Routes are told by their template, so that names and keys make no new series."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        names = ("route", "method", "status")
        self._requests = Counter("holdfast_requests", "Requests answered", names, registry=self._registry)
        self._seconds = Histogram(
            "holdfast_request_seconds",
            "Time to the end of the answer",
            ("route",),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._open = Gauge("holdfast_requests_open", "Requests being answered", registry=self._registry)
        self._known: dict[tuple[str, str, int], Counter] = {}
        self._timed: dict[str, Histogram] = {}

    def begun(self) -> None:
        """A request has come."""
        self._open.inc()

    def ended(self, route: str, method: str, status: int, seconds: float) -> None:
        """It was answered."""
        self._open.dec()
        key = (route, method, status)
        counter = self._known.get(key)
        if counter is None:
            counter = self._known[key] = self._requests.labels(route, method, str(status))
        timer = self._timed.get(route)
        if timer is None:
            timer = self._timed[route] = self._seconds.labels(route)
        counter.inc()
        timer.observe(seconds)

    def text(self) -> bytes:
        """All of them as Prometheus reads them."""
        return generate_latest(self._registry)

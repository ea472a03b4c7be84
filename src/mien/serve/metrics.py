"""Prometheus metrics. No label holds anything of a client: paths, addresses, file names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

if TYPE_CHECKING:
    from collections.abc import Sequence

DURATION_BUCKETS_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)
SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable of prometheus_client: folder through which workers share their metrics."""


class Metrics:
    """The metrics of one worker process."""

    def __init__(self) -> None:
        # Not the global registry: tests start several servers in one process.
        own = self._own = CollectorRegistry()
        self.requests = Counter(
            "mien_requests",
            "HTTP requests by route, method and status",
            ["route", "method", "status"],
            registry=own,
        )
        self.duration = Histogram(
            "mien_request_duration_seconds",
            "Seconds from a request's headers to the end of its response", ["route"],
            buckets=DURATION_BUCKETS_S, registry=own,
        )  # fmt: skip
        self.in_progress = Gauge(
            "mien_requests_in_progress", "Upload requests (POST) in progress", registry=own,
            multiprocess_mode="livesum",
        )  # fmt: skip
        self.batches = Histogram(
            "mien_batch_size_faces", "Faces per classifier batch", buckets=BATCH_BUCKETS,
            registry=own,
        )  # fmt: skip
        self.images = Counter(
            "mien_images", "Images by model and outcome (read, unreadable)", ["model", "outcome"],
            registry=own,
        )  # fmt: skip
        self.faces = Counter("mien_faces", "Faces in images, by model", ["model"], registry=own)
        self.jobs = Counter(
            "mien_video_jobs", "Video jobs by final status (done, failed, cancelled)", ["status"],
            registry=own,
        )  # fmt: skip
        self.live = Gauge(
            "mien_live_connections", "Connected cameras", registry=own, multiprocess_mode="livesum"
        )
        self.frames_dropped = Counter(
            "mien_live_frames_dropped", "Camera frames replaced by a newer one", registry=own
        )

    def count_images(self, model: str, results: Sequence[dict[str, Any] | Exception]) -> None:
        """Count the images of a request, and their faces."""
        for result in results:
            self.images.labels(model, "read" if isinstance(result, dict) else "unreadable").inc()
            if isinstance(result, dict):
                self.faces.labels(model).inc(len(result["faces"]))

    def text(self) -> bytes:
        """Return the metrics of all workers in Prometheus's text format."""
        if os.environ.get(SHARED):
            combined = CollectorRegistry()
            MultiProcessCollector(combined)  # type: ignore[no-untyped-call]
            return generate_latest(combined)
        return generate_latest(self._own)

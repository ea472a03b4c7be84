"""What Prometheus is told: numbers of requests and faces, never whose."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

if TYPE_CHECKING:
    from collections.abc import Sequence

SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
FACES = (1, 2, 4, 8, 16, 32, 64, 128)
SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable with the folder in which several workers add their numbers up."""


class Metrics:
    """The numbers of one worker process."""

    def __init__(self) -> None:
        own = self._own = CollectorRegistry()
        self.requests = Counter(
            "mien_requests", "Requests answered", ["route", "method", "status"], registry=own
        )
        self.seconds = Histogram(
            "mien_request_seconds", "From the first byte to the answer's last", ["route"],
            buckets=SECONDS, registry=own,
        )  # fmt: skip
        self.answering = Gauge(
            "mien_requests_in_progress", "Requests being answered", registry=own,
            multiprocess_mode="livesum",
        )  # fmt: skip
        self.batches = Histogram(
            "mien_batch_faces", "Faces classified together", buckets=FACES, registry=own
        )
        self.images = Counter("mien_images", "Images", ["model", "outcome"], registry=own)
        self.faces = Counter("mien_faces", "Faces read in images", ["model"], registry=own)
        self.jobs = Counter("mien_video_jobs", "Videos that ended", ["status"], registry=own)
        self.live = Gauge(
            "mien_live_connections", "Cameras connected", registry=own, multiprocess_mode="livesum"
        )
        self.frames = Counter("mien_live_frames", "Frames of cameras", ["outcome"], registry=own)

    def count_images(self, model: str, answers: Sequence[dict[str, Any] | Exception]) -> None:
        """Count the images of a request, and their faces."""
        for answer in answers:
            good = isinstance(answer, dict)
            self.images.labels(model, "read" if good else "unreadable").inc()
            if isinstance(answer, dict):
                self.faces.labels(model).inc(len(answer["faces"]))

    def text(self) -> bytes:
        """Return the numbers of all workers in Prometheus's text form."""
        if os.environ.get(SHARED):
            everybody = CollectorRegistry()
            MultiProcessCollector(everybody)  # type: ignore[no-untyped-call]
            return generate_latest(everybody)
        return generate_latest(self._own)

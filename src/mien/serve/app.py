"""The server's ASGI app: read `create_app` first.

A request passes admission control (access policy, rate limit, load), then a route. Images go
through `upload` (size limits) and `predictor` (threads, batches), videos through `jobs`, cameras
through `live`. Every error becomes a problem response by the table in `problems`.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI

from mien import __version__
from mien.serve import problems
from mien.serve.admission import AdmissionMiddleware
from mien.serve.assets import Assets
from mien.serve.catalog import Catalog
from mien.serve.metrics import Metrics
from mien.serve.predictor import Predictor
from mien.serve.routes import about, live, page, predict, video
from mien.serve.state import State
from mien.serve.store import Store
from mien.serve.upload import MemoryBudget
from mien.serve.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import ASGIApp

    from mien.predict.detectors.base import Detector
    from mien.serve.settings import ServerSettings

DESCRIPTION = (
    "Reads facial expressions in images, videos and camera streams. An expression is what a face "
    "shows, not what a person feels. The server stores only queued videos and their results."
)


def create_app(
    settings: ServerSettings,
    catalog: Catalog | None = None,
    detector: Detector | None = None,
) -> ASGIApp:
    """Return the app of one server process.

    Args:
        settings: settings of the server.
        catalog: models to serve; None loads those in `settings.models` and the shipped ones.
        detector: face detector; None uses the default one with one thread.
    """
    models = catalog or Catalog.load(settings.models)
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        predictor = Predictor(models, settings, metrics, detector)
        await predictor.warm_up()
        # Only now is it known how long an image takes on this machine.
        admission.expected_wait_s = predictor.expected_wait_s
        budget = MemoryBudget(round(settings.limits.memory_mb * 1e6))
        store = Store(settings.data)
        worker = Worker(store, models, predictor.detector, settings.limits, metrics)
        cameras = ThreadPoolExecutor(settings.limits.live, thread_name_prefix="mien-camera")
        app.state.mien = State(
            settings, models, metrics, predictor, budget, admission, Assets(), store, worker,
            cameras,
        )  # fmt: skip
        try:
            yield
        finally:
            cameras.shutdown()
            await worker.close()
            await predictor.close()
            store.close()

    app = FastAPI(
        title="mien", version=__version__, description=DESCRIPTION, lifespan=lifespan,
        docs_url=None, redoc_url=None, redirect_slashes=False,
    )  # fmt: skip
    routers = (predict.router, video.router, live.router, about.router, page.router)
    for router in routers:
        app.include_router(router)
    problems.install(app, [route for router in routers for route in router.routes])
    # Outermost: a refused request reaches neither FastAPI nor the body parser.
    admission = AdmissionMiddleware(app, settings, metrics)
    return admission

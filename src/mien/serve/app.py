"""The server's app: read `create_app` first.

A request passes the gate (doors, rate, room), then a route; images go through
`upload` (limits) and `predictor` (threads, batches), videos through `jobs`, cameras through
`live`. Whatever goes wrong becomes a problem by the table in `problems`.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI

from mien import __version__
from mien.serve import problems
from mien.serve.assets import Assets
from mien.serve.catalogue import Catalogue
from mien.serve.gate import Gate
from mien.serve.metrics import Metrics
from mien.serve.predictor import Predictor
from mien.serve.routes import about, live, page, predict, video
from mien.serve.state import State
from mien.serve.store import Store
from mien.serve.upload import Budget
from mien.serve.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import ASGIApp

    from mien.predict.detectors.base import Detector
    from mien.serve.settings import Settings

ABOUT = (
    "Reads facial expressions in images, videos and camera frames. We read expressions; we "
    "never say what someone feels. Nothing is stored but the videos that wait and their results."
)


def create_app(
    settings: Settings,
    catalogue: Catalogue | None = None,
    detector: Detector | None = None,
) -> ASGIApp:
    """Return the app of one server process.

    Args:
        settings: of the server.
        catalogue: the models; loaded as the settings say where None.
        detector: finds the faces; MTCNN where None.
    """
    models = catalogue or Catalogue.load(settings.models)
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        predictor = Predictor(models, settings, metrics, detector)
        await predictor.warm_up()
        gate.wait_s = predictor.wait_s
        budget = Budget(round(settings.limits.memory_mb * 1e6))
        store = Store(settings.data)
        worker = Worker(store, models, predictor.detector, settings.limits, metrics)
        cameras = ThreadPoolExecutor(settings.limits.live, thread_name_prefix="mien-camera")
        app.state.mien = State(
            settings, models, metrics, predictor, budget, gate, Assets(), store, worker,
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
        title="mien", version=__version__, description=ABOUT, lifespan=lifespan,
        docs_url=None, redoc_url=None, redirect_slashes=False,
    )  # fmt: skip
    routers = (predict.router, video.router, live.router, about.router, page.router)
    for router in routers:
        app.include_router(router)
    problems.install(app, [route for router in routers for route in router.routes])
    gate = Gate(app, settings, metrics)
    return gate

"""State of one server process that the routes share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from starlette.requests import HTTPConnection

    from mien.serve.admission import AdmissionMiddleware
    from mien.serve.assets import Assets
    from mien.serve.catalog import Catalog
    from mien.serve.metrics import Metrics
    from mien.serve.predictor import Predictor
    from mien.serve.settings import ServerSettings
    from mien.serve.store import Store
    from mien.serve.upload import MemoryBudget
    from mien.serve.worker import Worker


@dataclass(slots=True)
class State:
    """Everything that one server process holds.

    Attributes:
        cameras: thread pool with one thread per camera connection. asyncio's default pool has few
            threads; long-lived cameras would starve everything else in it.
        arriving: number of videos being uploaded.
        live: number of connected cameras.
    """

    settings: ServerSettings
    catalog: Catalog
    metrics: Metrics
    predictor: Predictor
    budget: MemoryBudget
    admission: AdmissionMiddleware
    assets: Assets
    store: Store
    worker: Worker
    cameras: ThreadPoolExecutor
    arriving: int = 0
    live: int = 0


def state_of(connection: HTTPConnection) -> State:
    """Return the state of the process that serves this connection."""
    state: State = connection.app.state.mien
    return state

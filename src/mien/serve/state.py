"""What the routes share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from starlette.requests import HTTPConnection

    from mien.serve.assets import Assets
    from mien.serve.catalogue import Catalogue
    from mien.serve.gate import Gate
    from mien.serve.metrics import Metrics
    from mien.serve.predictor import Predictor
    from mien.serve.settings import Settings
    from mien.serve.store import Store
    from mien.serve.upload import Budget
    from mien.serve.worker import Worker


@dataclass(slots=True)
class State:
    """Everything of one server process.

    Attributes:
        arriving: videos that are being received.
        live: cameras that are connected.
        cameras: a thread for each of them: in asyncio's own few they would keep out all others.
    """

    settings: Settings
    catalogue: Catalogue
    metrics: Metrics
    predictor: Predictor
    budget: Budget
    gate: Gate
    assets: Assets
    store: Store
    worker: Worker
    cameras: ThreadPoolExecutor
    arriving: int = 0
    live: int = 0


def state_of(connection: HTTPConnection) -> State:
    """Return what the routes of this connection's app share."""
    state: State = connection.app.state.mien
    return state

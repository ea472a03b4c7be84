"""A camera over a WebSocket: JPEG frames in, JSON out."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, WebSocket
from starlette.websockets import WebSocketDisconnect, WebSocketState

from mien.errors import did_you_mean
from mien.serve.live import Camera, Mailbox
from mien.serve.problems import Problem, log_failure
from mien.serve.query import only_known
from mien.serve.routes.predict import Model, Threshold
from mien.serve.state import state_of

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from mien.serve.state import State

router = APIRouter(dependencies=[Depends(only_known)])

PATH = "/v1/live"
FIRST_S = 5.0
"""For the message with the token."""
IDLE_S = 300.0
"""Without a frame the connection is closed."""
MAX_TEXT = 4096
KEYS = ("min_confidence", "token")
"""Of a text message."""
POLICY, BUSY, DONE, BAD = 1008, 1013, 1000, 1007
"""Codes by which a connection is closed (RFC 6455)."""


@router.websocket(PATH)
async def live(socket: WebSocket, model: Model = None, min_confidence: Threshold = None) -> None:
    """Read frames until the client leaves: JPEG in, JSON out, of which the newest frame wins.

    `model` and `min_confidence` may be query parameters. A text message may come first,
    `{"token": ..., "min_confidence": ...}`; later ones may change the threshold. An answer has the
    number of the frame that it belongs to, and how many were dropped.
    """
    state = state_of(socket)
    served = state.catalogue.get(model)
    if state.live >= state.settings.limits.live:
        raise Problem(503, "as many cameras are connected as may be", "try again later")
    state.live += 1
    state.metrics.live.inc()
    mailbox = Mailbox()
    camera = Camera(
        mailbox, state.predictor.detector, served.classifier, min_confidence,
        state.settings.limits.pixels,
    )  # fmt: skip
    reading: asyncio.Future[None] | None = None
    try:
        await socket.accept()
        if state.gate.doors.locked and not socket.scope.get("mien.let_in"):
            await _let_in(socket, camera, state)
        reading = _start(socket, camera, state.cameras)
        await _receive(socket, mailbox, camera, reading)
    except _Close as close:
        await _say_goodbye(socket, close)
    except WebSocketDisconnect:
        pass
    finally:
        mailbox.close()
        if reading is not None:
            await asyncio.gather(reading, return_exceptions=True)
        state.live -= 1
        state.metrics.live.dec()
        state.metrics.frames.labels("dropped").inc(mailbox.dropped)


class _Close(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


def _start(socket: WebSocket, camera: Camera, threads: ThreadPoolExecutor) -> asyncio.Future[None]:
    """Read in a thread of this connection's own; each answer is sent before the next is made."""
    loop = asyncio.get_running_loop()

    def send(text: str) -> None:
        # Waiting here lets frames be dropped, not answers queued, where the client is slow.
        asyncio.run_coroutine_threadsafe(socket.send_text(text), loop).result()

    def run() -> None:
        try:
            camera.read(send)
        except (WebSocketDisconnect, RuntimeError, OSError):
            return  # the client left while an answer was on its way
        except Exception as error:  # noqa: BLE001  (told in the log; the connection is closed)
            log_failure(error)

    return loop.run_in_executor(threads, run)


async def _receive(
    socket: WebSocket, mailbox: Mailbox, camera: Camera, reading: asyncio.Future[None]
) -> None:
    while True:
        arrival = asyncio.ensure_future(socket.receive())
        both: set[asyncio.Future[Any]] = {arrival, reading}
        done, _ = await asyncio.wait(both, timeout=IDLE_S, return_when=asyncio.FIRST_COMPLETED)
        if arrival not in done:
            arrival.cancel()
            await asyncio.gather(arrival, return_exceptions=True)
            raise _Close(*((BAD, "no frame can be read") if done else (DONE, "no frame came")))
        message = arrival.result()
        if message["type"] == "websocket.disconnect":
            return
        if message.get("bytes"):
            mailbox.put(message["bytes"])
        elif message.get("text"):
            _settle(camera, _parsed(message["text"]))


async def _let_in(socket: WebSocket, camera: Camera, state: State) -> None:
    """Wait for the token."""
    try:
        async with asyncio.timeout(FIRST_S):
            message = await socket.receive()
    except TimeoutError:
        raise _Close(POLICY, "a token is needed") from None
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect
    words = _parsed(message.get("text") or "{}")
    if not state.gate.doors.opens(str(words.get("token", ""))):
        raise _Close(POLICY, "a token is needed")
    _settle(camera, words)


def _parsed(text: str) -> dict[str, Any]:
    try:
        words = json.loads(text) if len(text) <= MAX_TEXT else None
    except (ValueError, RecursionError):
        words = None
    if not isinstance(words, dict):
        raise _Close(BAD, "a text message must be a JSON object")
    return words


def _settle(camera: Camera, words: dict[str, Any]) -> None:
    unknown = [key for key in words if key not in KEYS]
    if unknown:  # a reason has at most 123 bytes
        hint = did_you_mean(unknown[0], KEYS)
        raise _Close(BAD, f"no key {unknown[0][:20]!a}; {hint}known: {', '.join(KEYS)}")
    value = words.get("min_confidence")
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise _Close(BAD, "min_confidence must be 0 to 1")
    camera.threshold = float(value)


async def _say_goodbye(socket: WebSocket, close: _Close) -> None:
    if socket.client_state is WebSocketState.CONNECTED:
        try:
            await socket.close(close.code, close.reason)
        except (RuntimeError, WebSocketDisconnect):
            return  # it left by itself

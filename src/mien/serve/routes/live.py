"""A camera stream over a WebSocket: JPEG frames in, JSON out."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, WebSocket
from starlette.websockets import WebSocketDisconnect, WebSocketState

from mien.errors import did_you_mean
from mien.serve.admission import AUTHORIZED
from mien.serve.live import Camera, Mailbox
from mien.serve.parameters import reject_unknown
from mien.serve.problems import Problem, log_failure
from mien.serve.routes.predict import MinConfidence, Model
from mien.serve.state import state_of

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from mien.serve.state import State

router = APIRouter(dependencies=[Depends(reject_unknown)])

PATH = "/v1/live"
TOKEN_TIMEOUT_S = 5.0
"""Seconds until the first message must bring the token."""
IDLE_TIMEOUT_S = 300.0
"""Seconds without a frame after which the connection is closed."""
MAX_TEXT = 4096
"""Characters of a text message."""
KEYS = ("min_confidence", "token")
"""Keys of a text message."""
POLICY_VIOLATION, NORMAL, INVALID_DATA = 1008, 1000, 1007
"""Close codes (RFC 6455, section 7.4.1)."""


@router.websocket(PATH)
async def live(
    socket: WebSocket, model: Model = None, min_confidence: MinConfidence = None
) -> None:
    """Predict expressions in the frames of a camera.

    Send each frame as a binary message with a JPEG; each processed frame is answered by a JSON
    object. If frames arrive faster than they are processed, only the newest one waits: `dropped`
    counts the others, and `frame` is the number of the frame that the answer is about.

    `model` and `min_confidence` are query parameters. A text message
    `{"token": ..., "min_confidence": ...}` may come first, with the token of a browser, which
    cannot send the header; later text messages may change the threshold.
    """
    state = state_of(socket)
    served = state.catalog.get(model)
    limit = state.settings.limits.live
    if state.live >= limit:
        raise Problem(
            503,
            f"the maximum of {limit} cameras is connected",
            "retry after the number of seconds in Retry-After",
        )
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
        if state.admission.access.requires_token and not socket.scope.get(AUTHORIZED):
            await _authenticate(socket, camera, state)
        reading = _start(socket, camera, state.cameras)
        await _receive(socket, mailbox, camera, reading)
    except _CloseConnection as close:
        await _close(socket, close)
    except WebSocketDisconnect:
        pass
    finally:
        mailbox.close()  # ends the thread, which must not outlive its place in the count below
        if reading is not None:
            await asyncio.gather(reading, return_exceptions=True)
        state.live -= 1
        state.metrics.live.dec()
        state.metrics.frames_dropped.inc(mailbox.dropped)


class _CloseConnection(Exception):
    """Closes the connection with a code and a reason of at most 123 bytes (RFC 6455)."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


def _start(socket: WebSocket, camera: Camera, threads: ThreadPoolExecutor) -> asyncio.Future[None]:
    """Process frames in a thread of this connection; each answer is sent before the next frame."""
    loop = asyncio.get_running_loop()

    def send(text: str) -> None:
        # Blocks until the answer is sent: a slow client then loses frames, instead of filling the
        # server's memory with unsent answers.
        asyncio.run_coroutine_threadsafe(socket.send_text(text), loop).result()

    def run() -> None:
        try:
            camera.run(send)
        except (WebSocketDisconnect, RuntimeError, OSError):
            return  # the client left while an answer was being sent
        except Exception as error:  # noqa: BLE001  (logged; `_receive` closes the connection)
            log_failure(error)

    return loop.run_in_executor(threads, run)


async def _receive(
    socket: WebSocket, mailbox: Mailbox, camera: Camera, reading: asyncio.Future[None]
) -> None:
    """Receive messages until the client leaves, is idle too long, or no frame can be read."""
    while True:
        # Also wakes up when `reading` ends: the thread gives up after too many bad frames.
        arrival = asyncio.ensure_future(socket.receive())
        both: set[asyncio.Future[Any]] = {arrival, reading}
        done, _ = await asyncio.wait(
            both, timeout=IDLE_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED
        )
        if arrival not in done:
            arrival.cancel()
            await asyncio.gather(arrival, return_exceptions=True)
            if done:
                raise _CloseConnection(INVALID_DATA, "too many unreadable frames")
            raise _CloseConnection(NORMAL, f"no frame for {IDLE_TIMEOUT_S:g} seconds")
        message = arrival.result()
        if message["type"] == "websocket.disconnect":
            return
        if message.get("bytes"):
            mailbox.put(message["bytes"])
        elif message.get("text"):
            _apply(camera, _parse(message["text"]))


async def _authenticate(socket: WebSocket, camera: Camera, state: State) -> None:
    """Wait for the first message, which must hold the token."""
    try:
        async with asyncio.timeout(TOKEN_TIMEOUT_S):
            message = await socket.receive()
    except TimeoutError:
        reason = f"no token within {TOKEN_TIMEOUT_S:g} seconds"
        raise _CloseConnection(POLICY_VIOLATION, reason) from None
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect
    options = _parse(message.get("text") or "{}")
    if not state.admission.access.accepts(str(options.get("token", ""))):
        raise _CloseConnection(POLICY_VIOLATION, "the token is missing or wrong")
    _apply(camera, options)


def _parse(text: str) -> dict[str, Any]:
    try:
        options = json.loads(text) if len(text) <= MAX_TEXT else None
    except (ValueError, RecursionError):
        options = None
    if not isinstance(options, dict):
        reason = f"a text message must be a JSON object of at most {MAX_TEXT} characters"
        raise _CloseConnection(INVALID_DATA, reason)
    return options


def _apply(camera: Camera, options: dict[str, Any]) -> None:
    unknown = [key for key in options if key not in KEYS]
    if unknown:
        hint = did_you_mean(unknown[0], KEYS)
        key = ascii(unknown[0][:20])
        raise _CloseConnection(INVALID_DATA, f"unknown key {key}; {hint}allowed: {', '.join(KEYS)}")
    value = options.get("min_confidence")
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        found = ascii(value)[:20]
        raise _CloseConnection(INVALID_DATA, f"min_confidence: {found} is out of range 0 to 1")
    camera.threshold = float(value)


async def _close(socket: WebSocket, close: _CloseConnection) -> None:
    if socket.client_state is WebSocketState.CONNECTED:
        try:
            await socket.close(close.code, close.reason)
        except (RuntimeError, WebSocketDisconnect):
            return  # the client closed it first

"""`Client`: a mien server from Python, with the same result types as a `Reader`."""

from __future__ import annotations

import io
import itertools
import random
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from itertools import groupby
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.errors import MissingExtraError, ServerError, SourceError
from mien.imaging.boxes import clip_box
from mien.imaging.load import ImageInput, check_path, image_input, is_one_image
from mien.predict.sources import ImageSource, list_inputs
from mien.types import FaceReading, FrameReading, ImageReading, TrackedFace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future
    from types import TracebackType

    from mien.imaging.load import ImageLike

UNREADABLE = "urn:mien:unreadable-image"
"""Problem type of responses that report an unreadable image rather than a wrong request."""
BUSY = (429, 502, 503, 504)
"""Statuses after which a request is sent again."""
RETRIES = 8
"""Times that a request without a response is sent again."""
MAX_PAUSE_S = 10.0
POLL_S = 0.5
"""Seconds between two requests for the status of a video job."""


class Client:
    """Reads images and videos on a mien server.

    A request to a busy server (429, 503) is sent again after the time that the server asks for,
    until `timeout_s` has passed; one that cannot connect is sent again after growing pauses. As a
    context manager, the client closes its connections at the end.

    Args:
        url: of the server.
        token: bearer token, if the server needs one.
        model: a name from `models` (default: the server's default model).
        min_confidence: decision threshold, 0 to 1; below it a face is 'unsure' (default: the
            model's own threshold).
        faces: 'find' them, or 'whole' if each image is a face crop already.
        timeout_s: for one response, in seconds. A refused request is not sent again once so many
            seconds have passed since it was first sent.
        retries: maximum number of times that one request is sent again (default: refused requests
            until `timeout_s` has passed, requests without a response 8 times).

    Raises:
        MissingExtraError: httpx is not installed.

    Examples:
        >>> from mien import Client
        >>> with Client("http://127.0.0.1:8000") as client:  # doctest: +SKIP
        ...     print(client.read("examples/astronaut.jpg").faces)
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        token: str | None = None,
        model: str | None = None,
        min_confidence: float | None = None,
        faces: str = "find",
        timeout_s: float = 60.0,
        retries: int | None = None,
    ) -> None:
        try:
            import httpx
        except ModuleNotFoundError as error:
            raise MissingExtraError.of("client", "mien.Client") from error
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout_s)
        self._failures = (httpx.TransportError,)
        # Nothing reached the server, so sending again cannot do anything twice.
        self._unsent = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
        self._url, self._retries, self._timeout_s = url, retries, timeout_s
        params = {"model": model, "min_confidence": min_confidence}
        self._params: dict[str, Any] = {k: v for k, v in params.items() if v is not None}
        self._faces = {"faces": "whole" if faces == "whole" else "detect"}

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def models(self) -> list[dict[str, Any]]:
        """Return the models served: name, labels, metrics and so on.

        Raises:
            ServerError: no response, or an error status.
        """
        models: list[dict[str, Any]] = self._ask("GET", "/v1/models").json()["models"]
        return models

    def read(self, image: ImageLike) -> ImageReading:
        """Read one image, in any form that `Reader.read` takes; arrays are RGB.

        Raises:
            SourceError: it cannot be read, as for `Reader.read`. (`read_many` yields a reading with
                `error` instead.)
            ServerError: no response, or the server refuses the request.
        """
        return self._read(image_input(image), {})[0]

    def annotated(self, image: ImageLike) -> tuple[ImageReading, bytes]:
        """Read one image; return its reading, and a PNG with the reading drawn on it.

        Raises:
            SourceError: it cannot be read.
            ServerError: no response, or the server refuses the request.
        """
        from base64 import b64decode

        reading, response = self._read(image_input(image), {"annotate": "true"})
        return reading, b64decode(response["annotated"].partition(",")[2])

    def read_many(
        self, images: ImageLike | Iterable[ImageLike], at_once: int = 8
    ) -> Iterator[ImageReading]:
        """Yield a reading for each image, in order; `at_once` requests are sent concurrently.

        An image that cannot be read gives a reading whose `error` says why.

        Args:
            images: as for `Reader.read_many`: any number of images, and folders of them, or one.
            at_once: maximum number of concurrent requests, 1 or more.

        Raises:
            SourceError: `images` is one value that is not an image, an empty path, or an address.
            ServerError: no response, or the server refuses a request.
        """
        if isinstance(images, str | PathLike):
            images = [check_path(images)]
        elif is_one_image(images):
            images = [ImageSource.of(images)]
        # Threads, because the server batches faces that arrive at the same time.
        with ThreadPoolExecutor(at_once) as pool:
            waiting: deque[Future[ImageReading]] = deque()
            for source in list_inputs(images):
                waiting.append(pool.submit(self._read_or_report, source))
                # Bounded: a folder of thousands must not wait in memory as encoded images.
                if len(waiting) > at_once:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def video(
        self,
        path: str | Path,
        *,
        every: int = 1,
        progress: Callable[[float], None] = lambda fraction: None,
    ) -> VideoResult:
        """Upload a video, wait for its result, and delete both from the server.

        Args:
            path: of the video.
            every: read each n-th frame, 1 or more.
            progress: callback (fraction done, 0 to 1).

        Raises:
            SourceError: nothing of it can be read.
            ServerError: no response, or the server refuses the request.
        """
        job = self.submit(path, every=every)
        try:
            # The server's copy is deleted below, whatever happens: it is somebody's video.
            return job.wait(progress)
        finally:
            job.delete()

    def submit(self, path: str | Path, *, every: int = 1) -> VideoJob:
        """Upload a video; return without waiting for its result.

        Raises:
            SourceError: the file cannot be read.
            ServerError: no response, or the server refuses the request.
        """
        response = self._ask(
            # `twice=False`: an upload whose response was lost may be queued already.
            "POST", "/v1/video", params={**self._params, "every": every},
            content=_content(check_path(path)), headers=_RAW, twice=False,
        )  # fmt: skip
        return VideoJob(self, response.json()["id"], str(path))

    def _read(self, given: ImageInput, more: dict[str, str]) -> tuple[ImageReading, dict[str, Any]]:
        try:
            response = self._ask(
                "POST", "/v1/predict", params={**self._params, **self._faces, **more},
                content=_encoded(given), headers=_RAW,
            ).json()["images"][0]  # fmt: skip
        except SourceError as error:
            if isinstance(given.value, Path) and given.name not in error.message:
                error.message = f"{given.name}: {error.message}"  # the server got no name
            raise
        return _image(given.name, response), response

    def _read_or_report(self, source: ImageSource) -> ImageReading:
        why = source.error
        if why is None:
            try:
                return self._read(source.image or image_input(source.path), {})[0]
            except SourceError as error:
                why = f"{error.message}; {error.hint}"
        return ImageReading(source.name, 0, 0, "", "", error=why)

    def _ask(self, method: str, path: str, *, twice: bool = True, **request: Any) -> Any:
        """Return the response to a request; send it again while the server is busy or unreachable.

        Args:
            method: of HTTP.
            path: after the server's address.
            twice: whether the request may be sent again if it is unknown whether it arrived.
            request: further arguments of httpx.Client.request.
        """
        pause, again = 0.1, self._failures if twice else self._unsent
        end, failed = time.monotonic() + self._timeout_s, 0
        for sent in itertools.count():
            # Random jitter keeps many clients from retrying at the same moment.
            jitter = random.uniform(1.0, 1.5)  # noqa: S311  (no secret)
            last = self._retries is not None and sent >= self._retries
            try:
                response = self._http.request(method, path, **request)
            except self._failures as error:
                failed += 1
                many = self._retries is None and failed > RETRIES
                if last or many or not isinstance(error, again):
                    raise ServerError(
                        f"no response from {self._url}: {str(error) or type(error).__name__}",
                        hint="is it running (mien serve), and is the address right?",
                    ) from error
                wait = pause * jitter
            else:
                if response.status_code not in BUSY or last:
                    return _checked(response)
                wait = max(_retry_after(response), pause) * jitter
                if time.monotonic() + wait > end:
                    return _checked(response)
            time.sleep(wait)
            pause = min(2 * pause, MAX_PAUSE_S)
        raise AssertionError("unreachable")


@dataclass(frozen=True, slots=True)
class VideoResult:
    """The predictions for a video.

    Attributes:
        frames: a reading for each frame that was read, in order.
        summary: statistics of each track, and of all tracks.
    """

    frames: list[FrameReading]
    summary: dict[str, Any]


class VideoJob:
    """A video that the server is reading.

    Args:
        client: that sent it.
        id_: of the job on the server.
        source: name of the video in the results.
    """

    def __init__(self, client: Client, id_: str, source: str) -> None:
        self._client, self.id, self._source = client, id_, source
        self._path = f"/v1/video/{id_}"

    def status(self) -> dict[str, Any]:
        """Return id, status, progress, error and created."""
        status: dict[str, Any] = self._client._ask("GET", self._path).json()
        return status

    def wait(self, progress: Callable[[float], None] = lambda fraction: None) -> VideoResult:
        """Wait until the video is read; return the result.

        Raises:
            SourceError: nothing of it can be read, or it was cancelled.
            ServerError: no response.
        """
        while True:
            now = self.status()
            progress(now["progress"])
            if now["status"] == "done":
                return self.result()
            if now["status"] in ("failed", "cancelled"):
                why = now["error"] or {"message": "the job was cancelled", "hint": "send it again"}
                raise SourceError(f"{self._source}: {why['message']}", hint=why["hint"])
            time.sleep(POLL_S)

    def result(self) -> VideoResult:
        """Return the result of a video that has been read.

        Raises:
            ServerError: it has not been read yet, or no response.
        """
        response = self._client._ask("GET", f"{self._path}/result").json()
        summary = {**response["summary"], "source": self._source}
        frames = groupby(response["rows"], key=lambda row: row["frame"])
        size = (summary["width"], summary["height"])
        return VideoResult([_frame(self._source, list(rows), size) for _, rows in frames], summary)

    def delete(self) -> None:
        """Cancel the job, or delete its results from the server."""
        self._client._ask("DELETE", self._path)


_RAW = {"Content-Type": "application/octet-stream"}


def _encoded(image: ImageInput) -> bytes:
    """Return a file's content or encoded bytes; pixels become PNG, which loses nothing."""
    if isinstance(image.value, Path):
        return _content(image.value)
    if isinstance(image.value, bytes):
        return image.value
    from PIL import Image

    buffer = io.BytesIO()
    # Level 1: the server decodes at once, so a smaller file is not worth the time.
    Image.fromarray(image.load().pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        why = getattr(error, "strerror", None) or error
        raise SourceError(f"cannot read {path}: {why}", hint="check the path") from error


def _checked(response: Any) -> Any:
    """Return a successful response; raise the error that another one reports."""
    if response.is_success:
        return response
    try:
        body = response.json()
        detail, hint, kind = body["detail"], body["hint"], body["type"]
    except (ValueError, KeyError, TypeError):
        detail, hint, kind = response.reason_phrase, "is that a mien server?", ""
    if kind == UNREADABLE:
        raise SourceError(detail, hint=hint)
    raise ServerError(f"the server answers {response.status_code}: {detail}", hint=hint)


def _retry_after(response: Any) -> float:
    """Return the seconds to wait; the Retry-After header holds seconds or a date; 0 without one."""
    value = response.headers.get("Retry-After", "")
    if value.isascii() and value.isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _image(name: str, response: dict[str, Any]) -> ImageReading:
    about = (response["width"], response["height"], response["detector"], response["model"])
    faces = [
        FaceReading(
            tuple(f["box"]), f["score"], f["label"], f["confidence"], f["probabilities"],
            box_inside=tuple(f.get("box_inside") or clip_box(f["box"], *about[:2])),
        )
        for f in response["faces"]
    ]  # fmt: skip
    notes = tuple(response.get("notes", ()))
    return ImageReading(name, *about, faces, turn=response.get("turn", 0), notes=notes)


def _frame(source: str, rows: list[dict[str, Any]], size: tuple[int, int]) -> FrameReading:
    first = rows[0]
    labels = [name.removeprefix("p_") for name in first if name.startswith("p_")]
    faces = tuple(TrackedFace.from_row(row, labels) for row in rows if row["track"] is not None)
    return FrameReading(source, first["frame"], first["pts"], first["time_s"], *size, faces)

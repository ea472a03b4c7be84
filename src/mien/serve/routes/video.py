"""Videos as jobs: accepted, looked after, fetched, deleted."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from mien.serve.jobs import CANCELLED, DONE, FAILED, new_id
from mien.serve.problems import Problem, log_failure
from mien.serve.query import only_known
from mien.serve.routes.predict import Model, Threshold
from mien.serve.schema import JobBody, VideoBody, problems, upload
from mien.serve.sniff import video_kind
from mien.serve.state import state_of
from mien.serve.upload import Parts, body
from mien.video.sinks.rows import CsvLines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mien.serve.jobs import Job
    from mien.serve.state import State

router = APIRouter(tags=["videos"], dependencies=[Depends(only_known)])

HEAD = 512
"""Bytes by which a video's kind is told."""
PIECE = 1_000_000
BUSY_S = 10
"""After which a client may offer a video again."""
UPLOAD_TIMES = 20
"""A video may take so many times longer to arrive than images may."""


@router.post(
    "/v1/video",
    status_code=202,
    summary="Have a video read",
    response_model=JobBody,
    responses=problems(400, 401, 403, 404, 408, 413, 415, 421, 422, 429, 503, 507),
    openapi_extra=upload("file", "video/*"),
)
async def create(
    request: Request,
    model: Model = None,
    min_confidence: Threshold = None,
    every: Annotated[int, Query(ge=1, le=1000, description="read each n-th frame")] = 1,
) -> JSONResponse:
    """Accept a video, as `file` in a form or as the raw body; Location tells where to look.

    Accepted is accepted: the job survives a restart of the server.
    """
    state = state_of(request)
    served = state.catalogue.get(model)
    with _room(state):
        id_ = new_id()
        async with asyncio.timeout(UPLOAD_TIMES * state.settings.limits.seconds):
            kind = await _receive(request, state, id_)
        about = (served.name, served.info.labels)
        job = await asyncio.to_thread(state.store.jobs.add, id_, kind, about, min_confidence, every)
    state.worker.wake()
    return JSONResponse(job.to_dict(), 202, {"Location": f"/v1/video/{id_}"})


@router.get(
    "/v1/video/{id}",
    summary="How far a video is",
    response_model=JobBody,
    responses=problems(401, 403, 404, 421, 422, 429),
)
async def status(request: Request, id: str) -> JSONResponse:
    """Tell how far it is."""
    job = await _find(state_of(request), id)
    return JSONResponse(job.to_dict())


@router.get(
    "/v1/video/{id}/result",
    summary="What was read in a video",
    response_model=VideoBody,
    responses={
        **problems(401, 403, 404, 409, 421, 422, 429),
        200: {"content": {"text/csv": {"schema": {"type": "string"}}}},
    },
)
async def result(
    request: Request,
    id: str,
    format: Annotated[Literal["json", "csv"], Query()] = "json",
) -> Response:
    """Return the rows, one a face and frame, and as JSON the summary too."""
    state = state_of(request)
    job = await _find(state, id)
    if job.status == DONE:
        return _result(job, state.store.result(job.id), format)
    if job.status in (FAILED, CANCELLED):
        why = job.message or "it was cancelled"
        raise Problem(409, f"there is no result: {why}", job.hint or "send the video again")
    raise Problem(409, "the video is not read yet", "look at its status until it is 'done'")


@router.delete(
    "/v1/video/{id}",
    summary="Cancel or delete a video",
    status_code=204,
    responses=problems(401, 403, 404, 421, 422, 429),
)
async def delete(request: Request, id: str) -> Response:
    """Delete the video and its results at once; a job that ran stays to be seen as cancelled."""
    state = state_of(request)
    job = await _find(state, id)
    if not await asyncio.to_thread(state.store.jobs.cancel, job.id):
        await asyncio.to_thread(state.store.jobs.delete, job.id)
    await asyncio.to_thread(state.store.clear, job.id)
    return Response(status_code=204)


async def _find(state: State, id_: str) -> Job:
    job = await asyncio.to_thread(state.store.jobs.get, id_)
    if job is None:
        raise Problem(
            404, "there is no such video", "results are kept for a while only: send it again"
        )
    return job


@contextmanager
def _room(state: State) -> Iterator[None]:
    """Hold a place in the queue while a video arrives."""
    if state.store.jobs.waiting() + state.arriving >= state.settings.limits.jobs:
        raise Problem(
            503, "as many videos wait as may", "try again later", {"Retry-After": str(BUSY_S)}
        )
    state.arriving += 1
    try:
        yield
    finally:
        state.arriving -= 1


async def _receive(request: Request, state: State, id_: str) -> str:
    """Write a request's video to the job's file, whole or not at all; return its kind."""
    path, limits = state.store.upload(id_), state.settings.limits
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as stream:
            kind = await _copy(request, stream, limits.video_bytes, limits.seconds)
            await asyncio.to_thread(os.fsync, stream.fileno())
        part.replace(path)
    except OSError as error:
        log_failure(error)
        raise Problem(507, "the server has no room for the video", "try again later") from None
    finally:
        part.unlink(missing_ok=True)
    return kind


async def _copy(request: Request, stream: IO[bytes], limit: int, seconds: float) -> str:
    waiting, head = bytearray(), bytearray()

    def write(data: bytes) -> None:
        nonlocal waiting
        if len(head) < HEAD:
            head.extend(data[: HEAD - len(head)])
        waiting += data

    parts = Parts(request.headers.get("content-type", ""), 1, lambda: None, write)
    kind: str | None = None
    async for piece in body(request, limit, seconds):
        parts.feed(piece)
        if kind is None and len(head) == HEAD:
            kind = _kind(head)
        if len(waiting) >= PIECE:
            await asyncio.to_thread(stream.write, waiting)
            waiting = bytearray()
    parts.finish()
    if not parts.count:
        raise Problem(422, "the request holds no video", "curl -F file=@clip.mp4")
    await asyncio.to_thread(stream.write, waiting)
    stream.flush()
    return kind or _kind(head)


def _kind(head: bytearray) -> str:
    kind = video_kind(bytes(head))
    if kind is None:
        raise Problem(
            415, "the video is of no kind that is read here", "send MP4, MOV, WebM, MKV or AVI"
        )
    return kind


def _result(job: Job, path: Path, kind: str) -> Response:
    lines = path.with_name(path.name + ".jsonl")
    summary = path.with_name(path.name + ".summary.json")
    try:
        stream = lines.open(encoding="utf-8")
        words = summary.read_text(encoding="utf-8")
    except FileNotFoundError:  # deleted just now
        raise Problem(404, "there is no such video", "send it again") from None
    if kind == "csv":
        return StreamingResponse(_as_csv(stream, job.labels), media_type="text/csv; charset=utf-8")
    return StreamingResponse(_as_json(stream, words), media_type="application/json")


def _as_json(stream: IO[str], summary: str) -> Iterator[str]:
    with stream:
        yield '{"rows":['
        comma = ""
        while lines := stream.readlines(PIECE):
            yield comma + ",".join(line.rstrip("\n") for line in lines)
            comma = ","
        yield '],"summary":' + summary.strip() + "}"


def _as_csv(stream: IO[str], labels: tuple[str, ...]) -> Iterator[str]:
    table = CsvLines(labels)
    with stream:
        yield table.header
        while lines := stream.readlines(PIECE):
            yield "".join(table.line(json.loads(line)) for line in lines)

"""Video jobs: create, poll, fetch the result, delete."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from mien.serve.jobs import CANCELLED, DONE, FAILED, new_id
from mien.serve.parameters import reject_unknown
from mien.serve.problems import Problem, log_failure
from mien.serve.routes.predict import MinConfidence, Model
from mien.serve.schema import JobBody, VideoBody, problems, upload
from mien.serve.sniff import video_kind
from mien.serve.state import state_of
from mien.serve.upload import BodyParts, read_body
from mien.video.sinks.rows import CsvLines

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

    from mien.serve.jobs import Job
    from mien.serve.state import State

LOCATION = {"description": "URL of the job's status", "schema": {"type": "string"}}
CSV_EXAMPLE = "source,frame,pts,time_s,track\nthe video,0,0,0.0,1\n"

JobId = Annotated[str, Path(description="id of the job, from `POST /v1/video`")]

router = APIRouter(tags=["videos"], dependencies=[Depends(reject_unknown)])

HEAD_BYTES = 512
"""First bytes of a video, by which its container format is recognised."""
CHUNK_BYTES = 1_000_000
"""Size of writes and of result chunks: threads and event loop switch once per chunk."""
RETRY_AFTER_S = 10
"""Seconds after which a client may retry when the queue is full."""
UPLOAD_FACTOR = 20
"""A video upload may take this many times `limits.seconds`."""


@router.post(
    "/v1/video",
    status_code=202,
    summary="Create a video job",
    response_model=JobBody,
    response_description="The job was queued",
    responses={
        **problems(400, 401, 403, 404, 408, 413, 415, 421, 422, 429, 503, 507),
        202: {"headers": {"Location": LOCATION}},
    },
    openapi_extra=upload("file", "video/*"),
)
async def create(
    request: Request,
    model: Model = None,
    min_confidence: MinConfidence = None,
    every: Annotated[int, Query(ge=1, le=1000, description="process every n-th frame")] = 1,
) -> JSONResponse:
    """Queue a video, sent as `file` in a form or as the raw body.

    Poll the URL in the header Location until the status is `done`. An accepted job survives a
    restart of the server.
    """
    state = state_of(request)
    served = state.catalog.get(model)
    with _queue_place(state):
        id_ = new_id()
        async with asyncio.timeout(UPLOAD_FACTOR * state.settings.limits.seconds):
            kind = await _receive(request, state, id_)
        name_and_labels = (served.name, served.info.labels)
        job = await asyncio.to_thread(
            state.store.jobs.add, id_, kind, name_and_labels, min_confidence, every
        )
    state.worker.wake()  # else it would start at the next poll
    return JSONResponse(job.to_dict(), 202, {"Location": f"/v1/video/{id_}"})


@router.get(
    "/v1/video/{id}",
    summary="Get the status of a video job",
    response_model=JobBody,
    response_description="Status and progress",
    responses=problems(401, 403, 404, 421, 422, 429),
)
async def status(request: Request, id: JobId) -> JSONResponse:
    """Return status and progress of a job."""
    job = await _find(state_of(request), id)
    return JSONResponse(job.to_dict())


@router.get(
    "/v1/video/{id}/result",
    summary="Get the result of a video job",
    response_model=VideoBody,
    response_description="Rows, and in JSON the summary",
    responses={
        **problems(401, 403, 404, 409, 421, 422, 429),
        200: {"content": {"text/csv": {"schema": {"type": "string"}, "example": CSV_EXAMPLE}}},
    },
)
async def result(
    request: Request,
    id: JobId,
    format: Annotated[Literal["json", "csv"], Query(description="format of the result")] = "json",
) -> Response:
    """Return one row per face and frame; JSON also has a summary per person."""
    state = state_of(request)
    job = await _find(state, id)
    if job.status == DONE:
        return _result(job, state.store.result_path(job.id), format)
    if job.status in (FAILED, CANCELLED):
        why = job.message or "it was cancelled"
        raise Problem(409, f"the job has no result: {why}", job.hint or "send the video again")
    raise Problem(
        409, f"the job is not done: its status is '{job.status}'", "poll its status until 'done'"
    )


@router.delete(
    "/v1/video/{id}",
    summary="Cancel or delete a video job",
    status_code=204,
    response_description="The job and its files were deleted",
    responses=problems(401, 403, 404, 421, 422, 429),
)
async def delete(request: Request, id: JobId) -> Response:
    """Delete the video and its results. An unfinished job stays visible as `cancelled`."""
    state = state_of(request)
    job = await _find(state, id)
    # A finished job is deleted; an unfinished one stays visible as cancelled until it expires.
    if not await asyncio.to_thread(state.store.jobs.cancel, job.id):
        await asyncio.to_thread(state.store.jobs.delete, job.id)
    await asyncio.to_thread(state.store.delete_files, job.id)
    return Response(status_code=204)


async def _find(state: State, id_: str) -> Job:
    job = await asyncio.to_thread(state.store.jobs.get, id_)
    if job is None:
        raise _not_found(state)
    return job


def _not_found(state: State) -> Problem:
    minutes = state.settings.limits.keep_minutes
    return Problem(
        404,
        "path: there is no video job with this id",
        f"results are deleted after {minutes:g} minutes: send the video again",
    )


@contextmanager
def _queue_place(state: State) -> Iterator[None]:
    """Reserve a place in the queue while a video is uploaded."""
    limit = state.settings.limits.jobs
    # Uploads count too: else many clients could pass this check before the first one has finished.
    if state.store.jobs.count_active() + state.arriving >= limit:
        raise Problem(
            503,
            f"the queue of {limit} videos is full",
            "retry after the number of seconds in Retry-After",
            {"Retry-After": str(RETRY_AFTER_S)},
        )
    state.arriving += 1
    try:
        yield
    finally:
        state.arriving -= 1


async def _receive(request: Request, state: State, id_: str) -> str:
    """Write a request's video to the job's file, completely or not at all; return its format."""
    path, limits = state.store.upload_path(id_), state.settings.limits
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as stream:
            kind = await _copy(request, stream, limits.video_bytes, limits.seconds)
            # An accepted video must survive a power cut, and fsync may take seconds.
            await asyncio.to_thread(os.fsync, stream.fileno())
        part.replace(path)  # atomic: `recover` never finds half a video under a job's name
    except OSError as error:
        log_failure(error)
        raise Problem(507, "the server cannot store the video", "retry later") from None
    finally:
        part.unlink(missing_ok=True)
    return kind


async def _copy(request: Request, stream: IO[bytes], limit: int, seconds: float) -> str:
    """Copy the video of a request to a file; return its container format."""
    pending, head = bytearray(), bytearray()

    def write(data: bytes) -> None:
        nonlocal pending
        if len(head) < HEAD_BYTES:
            head.extend(data[: HEAD_BYTES - len(head)])
        pending += data

    parts = BodyParts(request.headers.get("content-type", ""), 1, lambda: None, write)
    kind: str | None = None
    async for chunk in read_body(request, limit, seconds):
        parts.feed(chunk)
        if kind is None and len(head) == HEAD_BYTES:
            kind = _kind(head)  # refuse before the rest is uploaded
        if len(pending) >= CHUNK_BYTES:
            await asyncio.to_thread(stream.write, pending)
            pending = bytearray()
    parts.finish()
    if not parts.count:
        raise Problem(
            422,
            "body: contains no video",
            "send a form part named 'file' (curl -F file=@clip.mp4), or a raw video "
            "(curl --data-binary @clip.mp4)",
        )
    await asyncio.to_thread(stream.write, pending)
    stream.flush()
    return kind or _kind(head)


def _kind(head: bytearray) -> str:
    kind = video_kind(bytes(head))
    if kind is None:
        raise Problem(
            415,
            "body: unsupported video format",
            "supported: MP4, MOV, WebM, MKV, AVI, MPEG, OGG, FLV, WMV; animated GIF, WebP, PNG, "
            "AVIF",
        )
    return kind


def _result(job: Job, path: pathlib.Path, kind: str) -> Response:
    lines = path.with_name(path.name + ".jsonl")
    summary = path.with_name(path.name + ".summary.json")
    try:
        stream = lines.open(encoding="utf-8")
        summary_json = summary.read_text(encoding="utf-8")
    except FileNotFoundError:  # deleted since the job was looked up
        raise Problem(
            404, "path: the result of this video job was deleted", "send the video again"
        ) from None
    if kind == "csv":
        return StreamingResponse(_as_csv(stream, job.labels), media_type="text/csv; charset=utf-8")
    return StreamingResponse(_as_json(stream, summary_json), media_type="application/json")


def _as_json(stream: IO[str], summary: str) -> Iterator[str]:
    # Each line of the file is a JSON object already: streamed without parsing or holding it all.
    with stream:
        yield '{"rows":['
        comma = ""
        while lines := stream.readlines(CHUNK_BYTES):
            yield comma + ",".join(line.rstrip("\n") for line in lines)
            comma = ","
        yield '],"summary":' + summary.strip() + "}"


def _as_csv(stream: IO[str], labels: tuple[str, ...]) -> Iterator[str]:
    table = CsvLines(labels)
    with stream:
        yield table.header
        while lines := stream.readlines(CHUNK_BYTES):
            yield "".join(table.line(json.loads(line)) for line in lines)

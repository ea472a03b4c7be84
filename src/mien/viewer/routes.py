"""What the viewer's page asks for: state, levels of detail, videos, faces, edits."""

from __future__ import annotations

import json
import mimetypes
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import FileResponse, JSONResponse, Response

from mien.errors import MienError
from mien.serve.problems import Problem
from mien.serve.routes.page import asset_response
from mien.serve.upload import read_body
from mien.viewer.corrections import EXPORT, export_corrections
from mien.viewer.lanes import Pyramids, lane_json, lanes_of, moments, row_at
from mien.viewer.levels import MAX_COLUMNS, encode
from mien.viewer.media import Images, find_video
from mien.viewer.strip import make_sheet

if TYPE_CHECKING:
    from pathlib import Path

    from mien.serve.assets import Assets
    from mien.video.locate import Located
    from mien.viewer.editor import Editor
    from mien.viewer.results import Results, SourceRows

MAX_MOMENTS_S = 60.0
"""Seconds of exact rows in one answer."""
MAX_EDIT_BYTES = 65_536
BODY_S = 10.0
"""Seconds that each part of a body may take."""
RANGE = re.compile(rb"bytes=(\d+-\d*|-\d+)")
"""One range of bytes; players ask for no other."""
FIRST_LANES = 12
"""Lanes of the first source whose levels are built at the start: those that the page shows."""
STATUS = {"conflict": 409, "refused": 422}

router = APIRouter(include_in_schema=False)
Source = Annotated[int, Query(ge=0)]


@dataclass(slots=True)
class View:
    """What one viewer holds.

    Attributes:
        results: the rows.
        editor: reads and writes people.json and study.toml.
        videos: of each source.
    """

    results: Results
    editor: Editor
    videos: tuple[Located, ...]
    assets: Assets
    images: Images
    pyramids: Pyramids

    @classmethod
    def make(
        cls, results: Results, editor: Editor, assets: Assets, videos: Path | None = None
    ) -> View:
        """Return the view of a folder of results.

        Args:
            results: the rows.
            editor: of their people and their study.
            assets: files of the page.
            videos: folder in which videos are looked for first.
        """
        pyramids = Pyramids()
        # The first source's levels now: the page is shown at once.
        first = results.sources[0]
        for lane in lanes_of(editor.state()["people"], first.name)[:FIRST_LANES]:
            pyramids.get(first, lane)
        found = tuple(find_video(rows, results.folder, videos) for rows in results.sources)
        return cls(results, editor, found, assets, Images(), pyramids)


def view_of(request: Request) -> View:
    """Return the view that the app of a request shows."""
    view: View = request.app.state.view
    return view


@router.api_route("/", methods=["GET", "HEAD"])
@router.api_route("/assets/{name:path}", methods=["GET", "HEAD"])
async def asset(request: Request, name: str = "") -> Response:
    """Return a file of the page."""
    path = "/" if request.url.path == "/" else f"/assets/{name}"
    return asset_response(view_of(request).assets, path, request)


@router.get("/healthz")
async def health() -> dict[str, str]:
    """Answer that the viewer runs."""
    return {"status": "ok"}


@router.get("/v1/view")
def state(request: Request) -> JSONResponse:
    """Return everything but the rows: sources, people, events, exclusions, corrections."""
    try:
        return JSONResponse(_state(view_of(request), reload=True))
    except MienError as error:  # people.json or study.toml was damaged since the start
        raise Problem(422, error.message, error.hint) from error


def _state(view: View, *, reload: bool = False) -> dict[str, Any]:
    edits = view.editor.state(reload=reload)
    sources = []
    for number, (rows, video) in enumerate(zip(view.results.sources, view.videos, strict=True)):
        lanes = lanes_of(edits["people"], rows.name)
        sources.append(
            {
                "name": rows.name,
                "step_s": rows.step_s,
                "end_s": round(rows.end_s, 3),
                "frames": rows.frames,
                "video": None if video.path is None else f"/v1/sources/{number}/video",
                "note": video.note,
                "lanes": [lane_json(rows, lane, number, video.path is not None) for lane in lanes],
            }
        )
    return {
        "title": f"{view.results.folder.resolve().name}, mien view",
        "labels": view.results.labels,
        "notes": [*view.results.notes, *edits["notes"]],
        "sources": sources,
        "people": [
            {"id": person["id"], "name": person.get("name")} for person in edits["people"]["people"]
        ],
        **{key: edits[key] for key in ("events", "exclusions", "corrections", "versions", "undo")},
    }


@router.get("/v1/sources/{number}/levels")
def levels(
    request: Request,
    number: int,
    lanes: Annotated[str, Query(max_length=20_000)],
    start_s: Annotated[float, Query(ge=0)],
    end_s: Annotated[float, Query(ge=0)],
    columns: Annotated[int, Query(ge=1, le=MAX_COLUMNS)] = 1000,
) -> Response:
    """Return bins of the visible range, for lanes by their ids, separated by commas."""
    view = view_of(request)
    rows = _source(view, number)
    known = {lane.id: lane for lane in lanes_of(view.editor.state()["people"], rows.name)}
    wanted = [name for name in lanes.split(",") if name]
    missing = [name for name in wanted if name not in known]
    if missing:
        raise Problem(404, f"lanes: {rows.name} has none of this id", "reload the page")
    pyramids = [view.pyramids.get(rows, known[name]) for name in wanted]
    content = encode(pyramids, start_s, max(end_s, start_s), columns)
    return Response(content, media_type="application/octet-stream")


@router.get("/v1/sources/{number}/moments")
def exact(
    request: Request,
    number: int,
    start_s: Annotated[float, Query(ge=0)],
    end_s: Annotated[float, Query(ge=0)],
) -> JSONResponse:
    """Return the rows of a short range: boxes and probabilities of each frame."""
    view = view_of(request)
    rows = _source(view, number)
    lanes = lanes_of(view.editor.state()["people"], rows.name)
    until_s = min(end_s, start_s + MAX_MOMENTS_S)
    return JSONResponse(moments(rows, lanes, start_s, until_s))


@router.api_route("/v1/sources/{number}/video", methods=["GET", "HEAD"])
def video(request: Request, number: int) -> Response:
    """Return a source's video, or the range of bytes that is asked for."""
    path = _video(view_of(request), number)
    # Starlette answers a malformed range in plain text; a server may ignore it instead.
    header = request.headers.get("range", "").encode("latin-1", "replace")
    if header and not RANGE.fullmatch(header):
        request.scope["headers"] = [h for h in request.scope["headers"] if h[0] != b"range"]
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return FileResponse(path, media_type=kind, headers={"Cache-Control": "private, no-cache"})


@router.get("/v1/sources/{number}/frame.jpg")
def frame(request: Request, number: int, time_s: Annotated[float, Query(ge=0)]) -> Response:
    """Return one frame, for videos in formats that the browser cannot play."""
    view = view_of(request)
    content = view.images.frame(_video(view, number), time_s)
    return Response(content, media_type="image/jpeg")


@router.get("/v1/sources/{number}/sheets/{sheet}.jpg")
def previews(request: Request, number: int, sheet: int) -> Response:
    """Return previews for scrubbing: an image, and their times and size as headers."""
    view = view_of(request)
    made = make_sheet(_video(view, number), _source(view, number).end_s, sheet)
    if made is None:
        return Response(status_code=204)
    headers = {
        "X-Times": ",".join(map(str, made.times_s)), "X-Size": "{}x{}".format(*made.size),
        "X-Sheets": str(made.sheets), "Cache-Control": "private, max-age=3600",
    }  # fmt: skip
    return Response(made.jpeg, media_type="image/jpeg", headers=headers)


@router.get("/v1/sources/{number}/faces/{track}/{index}.jpg")
def face(request: Request, number: int, track: int, index: int) -> Response:
    """Return the face of a track in a frame."""
    view = view_of(request)
    rows = _source(view, number)
    row = row_at(rows, track, index)
    if row is None:
        raise Problem(404, "path: the track has no row in this frame", "reload the page")
    content = view.images.face(_video(view, number), rows, row)
    return Response(
        content, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"}
    )


async def _change(request: Request) -> dict[str, Any]:
    """Return the JSON object of a request's body, of a limited size."""
    parts = [part async for part in read_body(request, MAX_EDIT_BYTES, BODY_S)]
    try:
        change = json.loads(b"".join(parts))
    except ValueError:
        change = None
    if not isinstance(change, dict):
        raise Problem(422, "body: it is no JSON object", "send action, arguments and versions")
    return change


@router.post("/v1/edits")
def edit(request: Request, change: Annotated[dict[str, Any], Depends(_change)]) -> JSONResponse:
    """Apply a change to people.json or study.toml; return the new state.

    The body has `action`, its arguments, and `versions` of the files that the page knows.
    """
    view = view_of(request)
    try:
        view.editor.apply(change)
    except MienError as error:
        kind = getattr(error, "kind", "refused")
        raise Problem(STATUS[kind], error.message, error.hint) from error
    return JSONResponse(_state(view))


@router.post("/v1/export")
def export(request: Request) -> JSONResponse:
    """Write the corrections as a data set beside the results."""
    view = view_of(request)
    try:
        written = export_corrections(
            view.results, view.editor.state()["people"], view.editor.study.corrections,
            [video.path for video in view.videos], view.results.folder / EXPORT,
        )  # fmt: skip
    except MienError as error:
        raise Problem(422, error.message, error.hint) from error
    command = f"mien data import {written.path} DATA && mien train finetune --data DATA"
    return JSONResponse(
        {"path": str(written.path), "images": written.images, "skipped": written.skipped,
         "command": command, "split": written.split_words}
    )  # fmt: skip


def _source(view: View, number: int) -> SourceRows:
    if not 0 <= number < len(view.results.sources):
        raise Problem(404, "path: there is no such source", "reload the page")
    return view.results.sources[number]


def _video(view: View, number: int) -> Path:
    _source(view, number)
    path = view.videos[number].path
    if path is None:
        raise Problem(404, "path: the video of this source was not found", view.videos[number].note)
    return path

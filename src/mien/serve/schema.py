"""The forms of the answers, as OpenAPI describes them; answers are not checked against them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

FACE: dict[str, Any] = {
    "box": [180.8, 61.5, 266.0, 171.9],
    "box_inside": [180, 61, 266, 172],
    "score": 0.9994,
    "label": "happy",
    "confidence": 0.9999,
    "probabilities": {"happy": 0.9999, "neutral": 0.0001, "sad": 0.0},
}
IMAGE: dict[str, Any] = {
    "source": None, "width": 512, "height": 512, "detector": "mtcnn", "model": "mien-small",
    "faces": [FACE], "error": None, "turn": 0, "notes": [],
}  # fmt: skip
JOB: dict[str, Any] = {
    "id": "Zt1x3Jm1o3kq6vXG7uV1Yw", "status": "running", "progress": 0.42, "error": None,
    "created": "2026-11-24T12:00:00+00:00",
}  # fmt: skip
PROBLEM: dict[str, Any] = {
    "type": "about:blank", "title": "Unprocessable Content", "status": 422,
    "detail": "the image is damaged: image file is truncated",
    "hint": "the file was cut short or changed",
}  # fmt: skip


class ProblemBody(BaseModel):
    """What is wrong, and what to do (RFC 9457)."""

    model_config = ConfigDict(json_schema_extra={"examples": [PROBLEM]})
    type: str
    title: str
    status: int
    detail: str
    hint: str


class ErrorBody(BaseModel):
    """Why one image could not be read."""

    message: str
    hint: str


class FaceBody(BaseModel):
    """One face and the expression read in it."""

    box: list[float] = Field(description="left, top, right, bottom in pixels as displayed")
    box_inside: list[int] = Field(description="the box clipped to the image, whole pixels")
    score: float = Field(description="the detector's, 0 to 1")
    label: str = Field(description="the expression, or 'unsure'")
    confidence: float
    probabilities: dict[str, float]


class ImageBody(BaseModel):
    """What was read in one image."""

    source: None = None
    width: int
    height: int
    detector: str
    model: str
    faces: list[FaceBody]
    error: ErrorBody | None = None
    turn: int = Field(0, description="degrees, clockwise, by which the faces were turned upright")
    notes: list[str] = Field([], description="what is odd about the image's file")
    annotated: str | None = Field(None, description="PNG as a data URL, where asked for")


class ImagesBody(BaseModel):
    """One entry for each image, in the order given."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"images": [IMAGE]}]})
    images: list[ImageBody]


class ModelBody(BaseModel):
    """A model that is served."""

    name: str
    labels: list[str]
    input_size: int
    parameters: int
    unsure_below: float
    metrics: dict[str, Any]
    licence: str
    default: bool


class ModelsBody(BaseModel):
    """All models."""

    models: list[ModelBody]


class JobBody(BaseModel):
    """A video that is read."""

    model_config = ConfigDict(json_schema_extra={"examples": [JOB]})
    id: str
    status: Literal["queued", "running", "done", "failed", "cancelled"]
    progress: float
    error: ErrorBody | None = None
    created: str


class VideoBody(BaseModel):
    """Rows, one a face and frame, and the summary of each person."""

    rows: list[dict[str, Any]]
    summary: dict[str, Any]


class StateBody(BaseModel):
    """Whether the server is well."""

    status: str


def upload(part: str, kind: str) -> dict[str, Any]:
    """Return OpenAPI's words for a body that is multipart, in parts of that name, or raw."""
    binary = {"type": "string", "format": "binary"}
    inside = {"type": "array", "items": binary, "minItems": 1} if part == "files" else binary
    form = {"type": "object", "properties": {part: inside}, "required": [part]}
    content = {"multipart/form-data": {"schema": form}, kind: {"schema": binary}}
    return {"requestBody": {"required": True, "content": content}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI's words for the problems that a route may answer with."""
    words = {
        400: "The form is broken", 401: "No or a wrong token", 404: "There is none of that name",
        403: "From another page", 408: "Too slow", 409: "Not yet", 413: "Too large",
        415: "Of no kind that is read", 421: "Under another host name",
        422: "Cannot be read, or a wrong parameter", 429: "Too many requests of one client",
        507: "No room on the disk", 503: "Busy: Retry-After says when to come back",
    }  # fmt: skip
    content = {"application/problem+json": {"schema": ProblemBody.model_json_schema()}}
    return {s: {"description": words[s], "content": content} for s in statuses}

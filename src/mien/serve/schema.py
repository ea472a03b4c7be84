"""Response schemas for OpenAPI. Responses are not validated against them; tests do that."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

FACE: dict[str, Any] = {
    "box": [180.7, 70.0, 270.0, 175.6],
    "box_inside": [180, 70, 270, 176],
    "score": 0.9881,
    "label": "happy",
    "confidence": 0.9999,
    "probabilities": {"happy": 0.9999, "neutral": 0.0001, "sad": 0.0},
}
IMAGE: dict[str, Any] = {
    "source": None, "width": 512, "height": 512, "detector": "yunet", "model": "mien-small",
    "faces": [FACE], "error": None, "turn": 0, "notes": [],
}  # fmt: skip
MODEL: dict[str, Any] = {
    "name": "mien-small", "labels": ["happy", "neutral", "sad"], "input_size": 48,
    "parameters": 1_192_067, "unsure_below": 0.5, "metrics": {}, "licence": "MIT", "default": True,
}  # fmt: skip
JOB: dict[str, Any] = {
    "id": "Zt1x3Jm1o3kq6vXG7uV1Yw", "status": "running", "progress": 0.42, "error": None,
    "created": "2026-11-24T12:00:00+00:00",
}  # fmt: skip
ROW: dict[str, Any] = {
    "source": "the video", "frame": 0, "pts": 0, "time_s": 0.0, "track": 1, "label": "happy",
}  # fmt: skip
PROBLEM: dict[str, Any] = {
    "type": "about:blank", "title": "Unprocessable Entity", "status": 422,
    "detail": "query parameter min_confidence: '2' is out of range 0 to 1",
    "hint": "allowed: 0 to 1",
}  # fmt: skip
RETRY_AFTER = {"description": "seconds to wait", "schema": {"type": "integer", "minimum": 1}}
METRICS = """\
# HELP mien_requests_in_progress Upload requests (POST) in progress
# TYPE mien_requests_in_progress gauge
mien_requests_in_progress 0.0
"""


def _example(example: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [example]})


class ProblemBody(BaseModel):
    """An error (RFC 9457)."""

    model_config = _example(PROBLEM)
    type: str = Field(description="'about:blank', or a URI that identifies the kind of problem")
    title: str = Field(description="phrase of the HTTP status")
    status: int = Field(description="HTTP status")
    detail: str = Field(description="what is wrong, where, and what was found")
    hint: str = Field(description="what to do, with the allowed values")


class ErrorBody(BaseModel):
    """Why one image or video could not be read, or ends early."""

    message: str
    hint: str


class FaceBody(BaseModel):
    """One face and its predicted expression."""

    box: list[float] = Field(description="left, top, right, bottom, in pixels as displayed")
    box_inside: list[int] = Field(description="the box clipped to the image, in whole pixels")
    score: float = Field(description="detection score, 0 to 1")
    label: str = Field(description="predicted label, or 'unsure' below the decision threshold")
    confidence: float = Field(description="highest probability, 0 to 1")
    probabilities: dict[str, float] = Field(description="probability of each label; sum 1")


class ImageBody(BaseModel):
    """The faces of one image."""

    source: None = Field(None, description="always null: the server does not use file names")
    width: int = Field(description="pixels")
    height: int = Field(description="pixels")
    detector: str
    model: str
    faces: list[FaceBody] = Field(description="faces, from left to right")
    error: ErrorBody | None = Field(None, description="why the image could not be read, or null")
    turn: int = Field(
        0, description="clockwise rotation in degrees by which the faces were turned upright"
    )
    notes: list[str] = Field([], description="warnings about the image file")
    annotated: str | None = Field(
        None, description="image with its predictions, as PNG data URL; with `annotate=true`"
    )


class ImagesBody(BaseModel):
    """One entry per image, in the order of the request."""

    model_config = _example({"images": [IMAGE]})
    images: list[ImageBody]


class ModelBody(BaseModel):
    """A served model."""

    name: str
    labels: list[str]
    input_size: int = Field(description="side of a face crop, in pixels")
    parameters: int = Field(description="number of weights")
    unsure_below: float = Field(description="calibrated decision threshold, 0 to 1")
    metrics: dict[str, Any] = Field(description="evaluation results, as in the model card")
    licence: str
    default: bool = Field(description="whether requests without `model` use it")


class ModelsBody(BaseModel):
    """All served models."""

    model_config = _example({"models": [MODEL]})
    models: list[ModelBody]


class JobBody(BaseModel):
    """State of a video job."""

    model_config = _example(JOB)
    id: str
    status: Literal["queued", "running", "done", "failed", "cancelled"]
    progress: float = Field(description="processed fraction of the video, 0 to 1")
    error: ErrorBody | None = Field(
        None, description="why it failed, or, if 'done', why the video ends early"
    )
    created: str = Field(description="ISO 8601, UTC")


class VideoBody(BaseModel):
    """Result of a video: one row per face and frame, and a summary per person."""

    model_config = _example({"rows": [ROW], "summary": {"frames": 1, "people": []}})
    rows: list[dict[str, Any]]
    summary: dict[str, Any]


class HealthBody(BaseModel):
    """State of the server."""

    model_config = _example({"status": "ok"})
    status: str


def upload(part: str, media_type: str) -> dict[str, Any]:
    """Return the OpenAPI request body of an upload: a multipart form, or one raw file.

    Args:
        part: name of the form's file parts.
        media_type: media type of a raw file.
    """
    binary = {"type": "string", "format": "binary"}
    file = {"type": "array", "items": binary, "minItems": 1} if part == "files" else binary
    form = {"type": "object", "properties": {part: file}, "required": [part]}
    content = {"multipart/form-data": {"schema": form}, media_type: {"schema": binary}}
    return {"requestBody": {"required": True, "content": content}}


DESCRIPTIONS = {
    400: "Malformed request or multipart form",
    401: "Missing or wrong token",
    403: "Called by a web page whose origin is not allowed",
    404: "No such model or video",
    408: "The body did not arrive in time",
    409: "The video is not done, or has failed",
    413: "Body too large, or too many files",
    415: "Not an image or video in a supported format",
    421: "Host name not accepted",
    422: "Damaged or too large image, or invalid parameter",
    429: "Rate limit exceeded; see Retry-After",
    500: "Internal error",
    503: "Server busy; see Retry-After",
    507: "No disk space for the video",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses for the problems of a route; 500 is always among them."""
    schema = ProblemBody.model_json_schema()
    found: dict[int | str, dict[str, Any]] = {}
    for status in (*statuses, 500):
        example = {**PROBLEM, "status": status, "title": HTTPStatus(status).phrase}
        if status != 422:
            example |= {"detail": DESCRIPTIONS[status], "hint": "see /docs"}
        content = {"application/problem+json": {"schema": schema, "example": example}}
        found[status] = {"description": DESCRIPTIONS[status], "content": content}
        if status in (429, 503):
            found[status]["headers"] = {"Retry-After": RETRY_AFTER}
    return found

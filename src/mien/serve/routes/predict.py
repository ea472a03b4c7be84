"""Images in, readings out."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse

from mien.serve.predictor import PredictOptions
from mien.serve.query import only_known
from mien.serve.schema import ImagesBody, problems, upload
from mien.serve.state import state_of
from mien.serve.upload import images

router = APIRouter(tags=["images"], dependencies=[Depends(only_known)])

Model = Annotated[str | None, Query(max_length=100, description="a name from /v1/models")]
Threshold = Annotated[
    float | None, Query(ge=0, le=1, description="below it 'unsure'; else the model's own")
]


@router.post(
    "/v1/predict",
    summary="Read the expressions in images",
    response_model=ImagesBody,
    responses=problems(400, 401, 403, 404, 408, 413, 415, 421, 422, 429, 503),
    openapi_extra=upload("files", "image/*"),
)
async def predict(
    request: Request,
    model: Model = None,
    min_confidence: Threshold = None,
    faces: Annotated[
        Literal["detect", "whole"], Query(description="'whole': each is a face crop already")
    ] = "detect",
    annotate: Annotated[bool, Query(description="with the image drawn upon, as PNG")] = False,
) -> JSONResponse:
    """Read images: one or more `files` in a form, or one image as the raw body.

    An image that cannot be read has an `error` and the others are answered; where it is the
    only one the answer is a problem.
    """
    state = state_of(request)
    limits = state.settings.limits
    wish = PredictOptions(state.catalogue.get(model), min_confidence, faces == "whole", annotate)
    async with asyncio.timeout(limits.seconds):
        with state.budget.lend() as take:
            contents = await images(request, take, limits.body_bytes, limits.files, limits.seconds)
            answers = await state.predictor.read(contents, wish)
    return JSONResponse({"images": answers})

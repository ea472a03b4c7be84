"""Predict expressions in images."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse

from mien.serve.parameters import reject_unknown
from mien.serve.predictor import PredictOptions
from mien.serve.schema import ImagesBody, problems, upload
from mien.serve.state import state_of
from mien.serve.upload import read_images

router = APIRouter(tags=["images"], dependencies=[Depends(reject_unknown)])

Model = Annotated[
    str | None,
    Query(max_length=100, description="model name from /v1/models; omitted: the default model"),
]
MinConfidence = Annotated[
    float | None,
    Query(
        ge=0, le=1,
        description="decision threshold: a face whose highest probability is lower is 'unsure'; "
        "omitted: the model's own threshold",
    ),
]  # fmt: skip


@router.post(
    "/v1/predict",
    summary="Predict expressions in images",
    response_model=ImagesBody,
    response_description="One entry per image, in the order of the request",
    responses=problems(400, 401, 403, 404, 408, 413, 415, 421, 422, 429, 503),
    openapi_extra=upload("files", "image/*"),
)
async def predict(
    request: Request,
    model: Model = None,
    min_confidence: MinConfidence = None,
    faces: Annotated[
        Literal["detect", "whole"],
        Query(description="`whole`: each image is already one face crop, detection is skipped"),
    ] = "detect",
    annotate: Annotated[
        bool, Query(description="also return each image with its predictions, as PNG data URL")
    ] = False,
) -> JSONResponse:
    """Detect the faces in images and predict their expressions.

    Send one or more `files` in a form, or one image as the raw body. An image that cannot be read
    has an `error`, and the others are processed; if it is the only one, the response is a problem.
    """
    state = state_of(request)
    limits = state.settings.limits
    options = PredictOptions(state.catalog.get(model), min_confidence, faces == "whole", annotate)
    async with asyncio.timeout(limits.seconds):
        # The bodies are held until the prediction ends, so the memory stays reserved as long.
        with state.budget.reserve() as take:
            contents = await read_images(
                request, take, limits.body_bytes, limits.files, limits.seconds
            )
            results = await state.predictor.predict(contents, options)
    return JSONResponse({"images": results})

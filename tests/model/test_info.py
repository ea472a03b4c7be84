from __future__ import annotations

import json

import pytest

from mien.errors import ModelFileError
from mien.model.info import METADATA_KEY, SCHEMA_VERSION, ModelInfo


def info() -> ModelInfo:
    return ModelInfo("m", ("happy", "sad"), 48, "square-1", temperature=1.5, metrics={"n": 3})


def changed(**changes: object) -> dict[str, str]:
    values = json.loads(info().to_metadata()[METADATA_KEY])
    return {METADATA_KEY: json.dumps({**values, **changes})}


def test_round_trip() -> None:
    assert ModelInfo.from_metadata(info().to_metadata(), path="m.onnx") == info()


def test_later_additions_of_the_same_schema_are_ignored() -> None:
    assert ModelInfo.from_metadata(changed(novelty=1), path="m.onnx") == info()


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "m.onnx carries no mien metadata"),
        ({METADATA_KEY: "{"}, "is not a JSON object"),
        ({METADATA_KEY: "[]"}, "is not a JSON object"),
        (changed(schema=None), "names no schema version"),
        (changed(schema=SCHEMA_VERSION + 1), "has model schema 2; this mien reads up to 1"),
        (changed(labels=["happy"]), "makes no sense"),
        (changed(labels=["happy", "happy"]), "makes no sense"),
        (changed(input_size=0), "makes no sense"),
        (changed(colour="rgb"), "makes no sense"),
    ],
)
def test_what_is_not_ours_is_refused(metadata: dict[str, str], message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        ModelInfo.from_metadata(metadata, path="m.onnx")

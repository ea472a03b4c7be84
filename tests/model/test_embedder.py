from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from tests.conftest import tiny_info, tiny_model

from mien.errors import ModelFileError
from mien.model.classifier import Classifier
from mien.model.embedder import Embedder
from mien.model.fp16 import to_fp32
from mien.model.resolve import model_content
from mien.predict.detectors.crops import CropFaces
from mien.predict.prior import prior_shift


def test_the_features_are_what_the_last_layer_reads(tmp_path: Path) -> None:
    """tiny_model's last layer is a product with known weights."""
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_model(tiny_info().to_metadata()))
    crops = np.random.default_rng(0).integers(0, 256, (5, 48, 48)).astype(np.uint8)
    features = Embedder.load(path, threads=1).embed(crops)
    assert np.array_equal(features, crops.reshape(5, -1))


def test_a_shipped_models_features_tell_what_its_logits_tell() -> None:
    tiny = Path("mien-tiny")  # it leaves faces where they are, so their mirror images too
    crops = np.random.default_rng(0).integers(0, 256, (80, 48, 48)).astype(np.uint8)
    told: list[tuple[int, int]] = []
    features = Embedder.load(tiny, threads=1).embed(crops, lambda d, t: told.append((d, t)))
    assert features.shape == (80, 80)
    assert told[-1] == (80, 80)
    alone = Embedder.load(tiny, threads=1).embed(crops[7:8])
    assert np.abs(alone - features[7]).max() < 1e-4
    # The answer is the mean over a face and its mirror image of one linear layer, over a constant.
    content, _ = model_content(tiny)
    weights = {
        i.name.rsplit(".", 1)[-1]: onnx.numpy_helper.to_array(i)
        for i in to_fp32(onnx.load_model_from_string(content)).graph.initializer
        if ".head." in i.name
    }
    mirrored = Embedder.load(tiny, threads=1).embed(np.ascontiguousarray(crops[:, :, ::-1]))
    answers = (features + mirrored) @ weights["weight"].T + 2 * weights["bias"]
    classifier = Classifier.load(tiny, threads=1)
    back = prior_shift(classifier.info, "training")
    assert back is not None
    ratio = answers[:, :3] / (classifier.logits(crops) + back.offset_k)
    assert np.allclose(ratio, ratio[0, 0], rtol=1e-2)


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not onnx")
    with pytest.raises(ModelFileError):
        Embedder.load(path)


def test_faces_score_high_and_noise_low(examples: Path) -> None:
    boxes = {"astronaut.jpg": (170, 60, 280, 170), "grace_hopper.jpg": (150, 110, 370, 330)}
    crops = []
    for name, box in boxes.items():
        with Image.open(examples / name) as image:
            crops.append(np.asarray(image.convert("L").resize((48, 48), box=box)))
    crops += list(np.random.default_rng(0).integers(0, 256, (3, 48, 48)).astype(np.uint8))
    finder = CropFaces(threads=1)
    scores = finder.scores(np.stack(crops))
    assert (scores[:2] > 0.9).all()
    assert (scores[2:] < 0.1).all()
    assert finder.has_face(crops[0])
    assert not finder.has_face(crops[2])
    assert finder.scores(np.zeros((0, 48, 48), np.uint8)).shape == (0,)

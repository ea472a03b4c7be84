"""Prior correction from Python and from the command line, for images and videos."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import tiny_info, tiny_model

from mien import ConfigError, ModelFileError, Reader
from mien.cli.main import run
from mien.testing import FakeClassifier, FakeDetector

TRAINING = {"happy": 0.5, "neutral": 0.3, "sad": 0.2}
IMAGE = np.full((80, 120, 3), 100, np.uint8)
DETECTOR = FakeDetector([(10, 10, 60, 60)])


def classifier(**description: object) -> FakeClassifier:
    made = FakeClassifier(["happy"], confidence=0.5)  # 0.25 for each of the others
    made.info = replace(made.info, training_prior=TRAINING, **description)  # type: ignore[arg-type]
    return made


def corrected() -> dict[str, float]:
    weights = {"happy": 0.5 / 0.5, "neutral": 0.25 / 0.3, "sad": 0.25 / 0.2}
    return {label: w / sum(weights.values()) for label, w in weights.items()}


def test_a_reader_corrects_to_a_prior() -> None:
    plain = Reader(classifier(), detector=DETECTOR).read(IMAGE).faces[0]
    assert plain.label == "happy"
    reader = Reader(classifier(), detector=DETECTOR, prior="uniform")
    face = reader.read(IMAGE).faces[0]
    assert face.label == "sad"
    assert face.probabilities == pytest.approx(corrected(), abs=1e-6)
    assert face.confidence == face.probabilities["sad"]
    assert "prior='uniform'" in repr(reader)


@pytest.mark.parametrize("prior", [None, "training"])
def test_without_a_correction_every_bit_stays(prior: str | None) -> None:
    before = Reader(FakeClassifier(["happy"], confidence=0.5), detector=DETECTOR).read(IMAGE)
    after = Reader(classifier(), detector=DETECTOR, prior=prior).read(IMAGE)
    assert after.faces == before.faces


def test_outputs_that_have_a_prior_are_corrected_from_it() -> None:
    own = classifier(prior={"happy": 1 / 3, "neutral": 1 / 3, "sad": 1 / 3})
    plain = Reader(own, detector=DETECTOR).read(IMAGE).faces[0]
    assert plain.probabilities == {"happy": 0.5, "neutral": 0.25, "sad": 0.25}
    same = Reader(own, detector=DETECTOR, prior="uniform").read(IMAGE).faces[0]
    assert same.probabilities == plain.probabilities
    back = Reader(own, detector=DETECTOR, prior="training").read(IMAGE).faces[0]
    weights = {"happy": 0.5 * 0.5, "neutral": 0.25 * 0.3, "sad": 0.25 * 0.2}
    expected = {label: w / sum(weights.values()) for label, w in weights.items()}
    assert back.probabilities == pytest.approx(expected, abs=1e-6)


def test_videos_are_corrected_too() -> None:
    reader = Reader(classifier(), detector=DETECTOR, prior="uniform")
    sharp = np.random.default_rng(0).integers(0, 255, IMAGE.shape).astype(np.uint8)
    frames = list(reader.stream([sharp] * 3, rate=10))
    faces = [face for frame in frames for face in frame.faces]
    assert faces
    for face in faces:
        assert face.label == "sad"
        assert face.probabilities == pytest.approx(corrected(), abs=1e-6)


def test_a_corrected_reader_can_be_pickled() -> None:
    reader = Reader(classifier(), detector=DETECTOR, prior="uniform")
    # FakeClassifier holds an iterator that starts again in the copy.
    face = pickle.loads(pickle.dumps(reader)).read(IMAGE).faces[0]  # noqa: S301
    assert face.label == "sad"


def test_sets_and_a_prior_correction_exclude_each_other() -> None:
    coverage = {"n": 100, "data": "d", "by": "raw", "min_probability": {"0.9": 0.3}}
    own = classifier(coverage=coverage)
    with pytest.raises(ConfigError, match="coverage and prior exclude each other"):
        Reader(own, detector=DETECTOR, coverage=0.9, prior="uniform")
    assert Reader(own, detector=DETECTOR, coverage=0.9, prior="training").policy.set_threshold


def test_mistakes() -> None:
    with pytest.raises(ModelFileError, match="carries no training prior"):
        Reader(FakeClassifier(), detector=DETECTOR, prior="uniform")
    with pytest.raises(ConfigError, match="prior: no probability for sad"):
        Reader(classifier(), detector=DETECTOR, prior={"happy": 0.5, "neutral": 0.5})


def test_on_the_command_line(
    examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_model(tiny_info(training_prior=TRAINING).to_metadata()))

    def predict(*more: str) -> tuple[int, dict[str, float], str]:
        words = ["predict", str(examples / "astronaut.jpg"), "--model", str(path), "--json"]
        with pytest.raises(SystemExit) as ended:
            run([*words, *more])
        out, err = capsys.readouterr()
        code = int(ended.value.code or 0)
        return code, json.loads(out)[0]["faces"][0]["probabilities"] if not code else {}, err

    _, plain, _ = predict()
    assert predict("--prior", "training")[1] == plain
    target = {"happy": 0.2, "neutral": 0.5, "sad": 0.3}
    _, found, _ = predict("--prior", "happy=0.2, neutral=0.5,sad=0.3")
    weights = {label: plain[label] * target[label] / TRAINING[label] for label in plain}
    total = sum(weights.values())
    assert found == pytest.approx({k: w / total for k, w in weights.items()}, abs=2e-3)
    for wrong, message in (
        ("happy=0.2,happy=0.8", "happy is named twice"),
        ("happy=much", "'happy=much' is not label=probability"),
        ("equal", "unknown name 'equal'"),
        ("happy=0.2,neutral=0.2,sad=0.2", "the probabilities sum to 0.6, not to 1"),
    ):
        code, _, err = predict("--prior", wrong)
        assert code == 2
        assert f"error: --prior: {message}" in err

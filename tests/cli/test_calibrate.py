"""`mien calibrate --prior`: the class prior of a model's outputs, given or estimated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.conftest import tiny_info, tiny_model

from mien.cli.main import run
from mien.data.build import write_dataset
from mien.data.drawn import draw_dataset
from mien.model.classifier import Classifier

PRIOR = {"happy": 0.5, "neutral": 0.3, "sad": 0.2}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calibrate")
    (folder / "m.onnx").write_bytes(tiny_model(tiny_info(training_prior=PRIOR).to_metadata()))
    (folder / "bare.onnx").write_bytes(tiny_model(tiny_info().to_metadata()))
    write_dataset(draw_dataset(120, 0), folder / "drawn")
    return folder


def mien(place: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        run(["calibrate", str(place / "m.onnx"), *words])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def test_a_prior_needs_no_data(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "uniform.onnx"
    code, out, _ = mien(place, capsys, str(path), "--prior", "uniform")
    assert code == 0
    assert "without metrics and prediction sets" in out
    info = Classifier.load(path).info
    assert info.prior == pytest.approx(dict.fromkeys(PRIOR, 1 / 3), abs=1e-5)
    assert (info.metrics, info.coverage) == ({}, {})


def test_the_prior_is_estimated_without_labels(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "own.onnx"
    words = ("--prior", "estimate", "--data", str(place / "drawn"), "--split", "train")
    code, out, err = mien(place, capsys, str(path), *words)
    assert code == 0, err
    assert "faces, without their labels" in out
    info = Classifier.load(path).info
    assert info.prior is not None
    assert sum(info.prior.values()) == pytest.approx(1, abs=1e-5)
    assert info.metrics


def test_few_photos_are_a_warning(
    place: Path, tmp_path: Path, examples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "few.onnx"
    code, _, err = mien(place, capsys, str(path), "--prior", "estimate", "--faces", str(examples))
    assert code == 0, err
    assert "warning: 2 faces are few" in err
    info = Classifier.load(path).info
    assert list((info.prior or {}).values()) == pytest.approx(list(PRIOR.values()), abs=0.05)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "needs --data DIR, --prior, or both"),
        (("--prior", "unifrom"), "did you mean 'uniform'"),
        (("--prior", "happy=1,neutral=0,sad=0"), "rule a label out"),
        (("--prior", "happy=0.5,neutral=0.5,sad=0.5"), "sum to 1.5"),
        (("--prior", "happy=0.5,neutral=0.6,sad=-0.1"), "out of range 0 to 1"),
        (("--prior", "estimate"), "needs faces"),
        (("--prior", "uniform", "--faces", "photos"), "--faces needs --prior estimate"),
    ],
)
def test_mistakes(
    place: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    message: str,
) -> None:
    path = tmp_path / "out.onnx"
    code, _, err = mien(place, capsys, str(path), *words)
    assert code == 2
    assert message in err
    assert not path.exists()


def test_images_without_a_face(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from mien.imaging.codec import write_image

    write_image(tmp_path / "grey.png", np.full((60, 60, 3), 128, np.uint8))
    code, _, err = mien(
        place, capsys, str(tmp_path / "o.onnx"), "--prior", "estimate", "--faces",
        str(tmp_path / "grey.png"),
    )  # fmt: skip
    assert code == 1
    assert "no face was found" in err


def test_a_model_without_a_training_prior(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(["calibrate", str(place / "bare.onnx"), str(tmp_path / "o.onnx"), "--prior", "uniform"])
    assert ended.value.code == 1
    assert "carries no training prior" in capsys.readouterr().err

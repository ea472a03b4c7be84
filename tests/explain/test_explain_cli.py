from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mien.cli import explain as cli
from mien.errors import ConfigError
from mien.imaging.codec import write_image
from mien.installation import install_command
from mien.model.classifier import Classifier


def mien(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("mien")), "explain", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


@pytest.fixture
def blank(tmp_path: Path) -> Path:
    write_image(tmp_path / "blank.png", np.full((60, 60, 3), 128, np.uint8))
    return tmp_path / "blank.png"


def test_the_shipped_model_looks_at_the_smile(examples: Path, blank: Path, tmp_path: Path) -> None:
    done = mien(
        "mien-small", examples / "astronaut.jpg", blank, "--draws", 1, "--json",
        "--out", tmp_path / "o",
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert f"no face: {blank}" in done.stderr
    values = json.loads(done.stdout)
    (face,) = values["faces"]
    assert face["explained"] == "happy"
    assert face["probabilities"]["happy"] > 0.9
    for method in ("Grad-CAM", "occlusion"):
        assert face["thirds"][method]["lower"] > face["thirds"][method]["upper"]
    assert len(values["sanity"]["levels"]) == 5
    with np.load(tmp_path / "o" / "maps.npz") as arrays:
        crops, cams = arrays["crops_nhw"], arrays["grad_cam_nhw"]
    # The very crop that mien predict reads: it gives the same probabilities.
    logits = Classifier.load().logits(crops)[0].astype(np.float64)
    shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    np.testing.assert_allclose(shares, list(face["probabilities"].values()), atol=1e-4)
    # The brightest place of Grad-CAM is the mouth, in the middle below.
    row, column = np.unravel_index(cams[0].argmax(), cams[0].shape)
    assert row > 28
    assert 12 < column < 36


def test_images_with_trouble(blank: Path, tmp_path: Path) -> None:
    done = mien("mien-small", blank, "--out", tmp_path / "o")
    assert done.returncode == 3
    assert "no face to explain; nothing was written" in done.stderr
    assert not (tmp_path / "o").exists()
    done = mien("mien-small", tmp_path / "none.jpg", blank, "--out", tmp_path / "o")
    assert done.returncode == 1
    assert "unreadable: cannot read" in done.stderr


def test_mistakes_are_two_lines_and_no_traceback(examples: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"no graph")
    (tmp_path / "file").write_text("")
    image = examples / "astronaut.jpg"
    cases: list[tuple[list[object], int, str]] = [
        ([tmp_path / "none.onnx", image], 1, f"there is no model {tmp_path / 'none.onnx'}"),
        ([damaged, image], 1, "is not an ONNX model that can be loaded"),
        ([tmp_path, image], 1, "is not a run folder"),
        (["mien-small-int8", image], 1, "hint: explain mien-small"),
        (["mien-small", image, "--label", "hapy"], 2, "hint: did you mean 'happy'?"),
        (["mien-small", image, "--layer", 7], 2, "hint: its sides are: 24, 12"),
        (["mien-small", image, "--patch", 48], 2, "48 is out of range, 1 to 47 pixels"),
        (["mien-small", image, "--draws", 0, "--out", tmp_path / "file"], 1, "cannot write"),
    ]
    for arguments, code, words in cases:
        done = mien(*arguments, cwd=tmp_path)
        assert done.returncode == code, (arguments, done.stderr)
        assert words in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
    assert not (tmp_path / "explanation").exists()


def test_too_many_faces_are_refused_before_the_work(
    examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "MAX_FACES", 1)
    with pytest.raises(ConfigError, match="show 2 faces; one page takes at most 1"):
        cli.explain(
            Path("mien-small"), [examples], out=tmp_path / "o", label=None, side=None, patch=None,
            draws=0, detector="mtcnn", faces="find", threads=1, as_json=False,
        )  # fmt: skip


@pytest.mark.parametrize("missing", ["matplotlib", "onnx", "scipy"])
def test_a_missing_package_is_told_at_once(examples: Path, tmp_path: Path, missing: str) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from mien.cli.main import run\n"
        f"sys.argv = ['mien', 'explain', 'mien-small', {str(examples)!r}]\nrun()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 1
    assert f"hint: install them: {install_command('explain')}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_of_the_shipped_name_is_taken_first(examples: Path, tmp_path: Path) -> None:
    shutil.copy(examples / "astronaut.jpg", tmp_path / "mien-small")
    done = mien("mien-small", examples / "astronaut.jpg", cwd=tmp_path)
    assert done.returncode == 1
    assert "mien-small is not an ONNX model" in done.stderr

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import tiny_info, tiny_model

from mien.errors import ConfigError, ModelFileError
from mien.imaging.crop import ALIGNMENT_ID
from mien.model.classifier import BATCH, Classifier, softmax


def test_answers_by_hand_in_any_number_of_batches(tiny_path: Path) -> None:
    model = Classifier.load(tiny_path, threads=1)
    crops = np.zeros((2 * BATCH + 3, 48, 48), np.uint8)
    crops[:, :24] = np.arange(len(crops))[:, None, None]
    logits = model.logits(crops)
    level = np.arange(len(crops), dtype=np.float32) * 0.1
    expected: np.ndarray = np.stack([level / 2, level, level * 0], axis=1)
    assert np.abs(logits - expected).max() < 1e-4
    assert model.logits(crops[:0]).shape == (0, 3)
    assert model.labels == ("happy", "neutral", "sad")


def test_crops_must_fit(tiny_path: Path) -> None:
    model = Classifier.load(tiny_path)
    with pytest.raises(ValueError, match=r"crops must be uint8 \[n, 48, 48\], got uint8 \[1, 40"):
        model.logits(np.zeros((1, 40, 48), np.uint8))
    with pytest.raises(ValueError, match="got float32"):
        model.logits(np.zeros((1, 48, 48), np.float32))


def test_softmax_is_a_distribution_even_of_large_logits() -> None:
    probs = softmax(np.array([[1000.0, 0, -1000], [0, 0, 0]], np.float32))
    expected: np.ndarray = np.array([[1, 0, 0], [1 / 3, 1 / 3, 1 / 3]])
    assert np.abs(probs - expected).max() < 1e-6


HEAD = {"output": "logits_seven", "labels": ["a", "b"], "temperature": 1.0}


def content(**changes: object) -> bytes:
    return tiny_model(tiny_info(**changes).to_metadata())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (b"", r"the model .* is empty \(0 bytes\)"),
        (b"no model at all", "is not an ONNX model that can be loaded"),
        (content()[:500], "is not an ONNX model that can be loaded"),
        (content()[:-200], "is not an ONNX model|has no mien metadata|is not a JSON object"),
        (tiny_model({}), "has no mien metadata"),
        (tiny_model({"mien": '{"schema": 9}'}), "has model schema 9; this mien reads up to 1"),
        (content(alignment="round-7"), f"alignment 'round-7'; this mien crops by '{ALIGNMENT_ID}'"),
        (content(input_size=64), "its description says"),
        (content(heads=[HEAD]), "has no output logits_seven, which its description names"),
    ],
)
def test_files_that_are_no_model_of_ours(tmp_path: Path, model: bytes, message: str) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(model)
    with pytest.raises(ModelFileError, match=message):
        Classifier.load(path)


def test_a_missing_model(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"there is no model .*none\.onnx: no such file"):
        Classifier.load(tmp_path / "none.onnx")


def test_shipped_models_go_by_name_and_a_nearly_right_name_is_told() -> None:
    assert Classifier.load(Path("mien-small")).name == "mien-small"
    with pytest.raises(ModelFileError, match="there is no model mien-smal") as caught:
        Classifier.load(Path("mien-smal"))
    assert "mien-small" in caught.value.hint


@pytest.mark.parametrize(
    "heads", [3, [3], [{"output": "x"}], [{"output": 1, "labels": ["a", "b"]}]]
)
def test_heads_that_make_no_sense(tmp_path: Path, heads: object) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(content(heads=heads))
    with pytest.raises(ModelFileError, match="metadata is invalid: heads"):
        Classifier.load(path)


def test_the_shipped_model_describes_itself() -> None:
    info = Classifier.load().info
    assert info.labels == ("happy", "neutral", "sad")
    assert info.name == "mien-small"
    assert 0 < info.parameters <= 1_200_000
    assert info.licence == "Apache-2.0"
    assert info.data
    assert info.config_sha256


WIDE = """
import numpy as np
from pathlib import Path
from mien.predict.detectors.mtcnn import Mtcnn

def resident_mb():
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) / 1024

detector = Mtcnn(threads=1)
detector.detect(np.zeros((100, 100, 3), np.uint8))
before = resident_mb()
for _ in range(2):  # each takes hundreds of megabytes meanwhile
    detector.detect(np.zeros((400, 20_000, 3), np.uint8))
print(resident_mb() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_memory_of_very_wide_images_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", WIDE], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 350  # 600 without, 170 with


def test_providers_that_are_not_there(tiny_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="no provider is called 'cdua'") as error:
        Classifier.load(tiny_path, provider="cdua")
    assert "did you mean 'cuda'?" in error.value.hint
    there = ["XExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: there)
    with pytest.raises(ConfigError, match="cuda is not in this build of onnxruntime; it has: cpu"):
        Classifier.load(tiny_path, provider="cuda")

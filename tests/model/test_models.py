"""Models by name and by file, their sets of labels, their speed; int8."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.conftest import tiny_info, tiny_model
from tests.predict.test_cli import mien

from mien import Reader
from mien.cli.models import models
from mien.data.dataset import Dataset, save_dataset
from mien.errors import ConfigError, ModelFileError
from mien.model.classifier import Classifier
from mien.model.info import INPUT_NAME, OUTPUT_NAME
from mien.model.resolve import model_content, shipped_models
from mien.model.throughput import faces_per_second, suits_int8
from mien.publish.int8 import quantize
from mien.publish.prior import with_output_prior
from mien.publish.quantize import quantize_model
from mien.publish.rewrite import with_info, write_model
from mien.testing import FakeClassifier, FakeDetector

SETS = {"min_probability": {"0.9": 0.4, "0.95": 0.2}, "by": "raw", "n": 60, "data": "drawn"}


def test_models_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shipped_models()[0] == "mien-small"
    content, name = model_content(None)
    assert model_content(Path("mien-small")) == (content, name)
    with pytest.raises(ModelFileError, match="there is no model mien-smal") as error:
        model_content(Path("mien-smal"))
    assert "did you mean 'mien-small'?" in error.value.hint
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mien-small").write_bytes(b"x")
    assert model_content(Path("mien-small")) == (b"x", "mien-small")


def test_the_list_of_models(tmp_path: Path) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(tiny_model(tiny_info(licence="CC0-1.0", parameters=7).to_metadata()))
    done = mien("models", path, "--json")
    assert done.returncode == 0, done.stderr
    rows = {row["model"]: row for row in json.loads(done.stdout)}
    assert {*rows, *shipped_models()} == {*shipped_models(), str(path)}
    small, mine = rows["mien-small"], rows[str(path)]
    assert small["metrics"]["consensus"]["n"] > 2000
    assert small["labels"] == ["happy", "neutral", "sad"]
    assert (mine["parameters"], mine["licence"], mine["metrics"]) == (7, "CC0-1.0", {})
    assert mine["faces_per_second"] > small["faces_per_second"] > 0
    words = mien("models", path, "--no-speed")
    assert "faces/s" not in words.stdout
    assert "not measured" in words.stdout
    missing = mien("models", tmp_path / "none.onnx")
    assert missing.returncode == 1
    assert "Traceback" not in missing.stderr


@pytest.mark.parametrize("suits", [True, False, None])
def test_int8_models_are_listed_where_they_help(
    suits: bool | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mien.model.throughput.suits_int8", lambda: suits)
    int8 = [name for name in shipped_models() if name.endswith("-int8")]
    assert int8
    for every in (False, True):
        models([], as_json=True, every=every, speed=False)
        out, err = capsys.readouterr()
        rows = {row["model"]: row["precision"] for row in json.loads(out)}
        shown = [name for name, precision in rows.items() if precision == "int8"]
        assert shown == (int8 if every or suits is not False else [])
        assert ("no VNNI" in err) is (suits is False)


def test_speed_is_measured_in_turns() -> None:
    class Counting(FakeClassifier):
        input_size = 48

    first, second = Counting(["happy"]), Counting(["sad"])
    clock = iter(np.cumsum([0.0, *([1.0, 0.0, 4.0, 0.0] * 50)]).tolist())
    found = faces_per_second([first, second], 8, seconds=3, clock=lambda: next(clock))  # type: ignore[list-item]
    assert found == [8.0, 2.0]
    assert len(first.seen) == len(second.seen)
    assert first.seen[0].shape == (8, 48, 48)


@pytest.mark.parametrize(
    ("text", "suits"),
    [
        ("flags\t\t: fpu avx2 avx512_vnni\n", True),
        ("flags : fpu avx2\nbugs: avx_vnni\n", False),
        ("Features\t: fp asimd asimddp\n", True),
        ("model name: x\n", None),
    ],
)
def test_whether_the_processor_suits_int8(tmp_path: Path, text: str, suits: bool | None) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert suits_int8(tmp_path / "cpuinfo") is suits
    assert suits_int8(tmp_path / "none") is None


def test_a_reader_gives_sets() -> None:
    classifier = FakeClassifier(["sad"], confidence=0.5)  # 0.25 for each of the others
    classifier.info = tiny_info(coverage=SETS)
    detector = FakeDetector([(0, 0, 48, 48)])
    picture = np.zeros((48, 48, 3), np.uint8)
    sets = {}
    for coverage in (None, 0.9, 0.95):
        face = Reader(classifier, detector=detector, coverage=coverage).read(picture).faces[0]
        sets[coverage] = face.prediction_set
        assert tuple(face.to_dict().get("prediction_set", ())) == (face.prediction_set or ())
    assert sets == {None: None, 0.9: ("sad",), 0.95: ("sad", "happy", "neutral")}
    with pytest.raises(ConfigError, match="coverage: 0.99 is above the maximum of tiny, 0.95"):
        Reader(classifier, detector=detector, coverage=0.99)
    with pytest.raises(ModelFileError, match="was not calibrated for prediction sets"):
        Reader(FakeClassifier(), detector=detector, coverage=0.9)


def test_sets_on_the_command_line(tmp_path: Path, examples: Path) -> None:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_model(tiny_info(coverage=SETS).to_metadata()))
    arguments = [examples / "astronaut.jpg", "--model", path, "--coverage", "0.95"]
    face = json.loads(mien("predict", *arguments, "--json").stdout)[0]["faces"][0]
    ranked = sorted(face["probabilities"].items(), key=lambda pair: -pair[1])
    expected = [label for label, p in ranked if p >= 0.2]
    assert face["prediction_set"] == expected
    header, row = mien("predict", *arguments, "--csv").stdout.splitlines()
    assert header.endswith("p_sad,prediction_set,turn,notes,error")
    assert row.split(",")[-4] == "|".join(expected)
    words = mien("predict", *arguments).stdout
    assert "set (0.95)" in words
    assert " or ".join(expected) in words
    wrong = mien("predict", *arguments[:-1], "95")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "error: --coverage: 95.0 is out of range" in wrong.stderr


@pytest.fixture(scope="module")
def convolutions() -> bytes:
    """A model of two convolutions with random weights, as quick as it is useless."""
    rng = np.random.default_rng(0)
    weights = {
        "w1": rng.normal(0, 0.5, (16, 1, 3, 3)),
        "w2": rng.normal(0, 0.1, (64, 16, 3, 3)),
        "w3": rng.normal(0, 0.5, (64, 3)),
        "unit": np.array(1 / 255),
    }
    nodes = [
        helper.make_node("Cast", [INPUT_NAME], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "unit"], ["x0"]),
        helper.make_node("Conv", ["x0", "w1"], ["x1"], name="conv1", strides=[2, 2]),
        helper.make_node("Relu", ["x1"], ["x2"], name="relu1"),
        helper.make_node("Conv", ["x2", "w2"], ["x3"], name="conv2", strides=[2, 2]),
        helper.make_node("Relu", ["x3"], ["x4"], name="relu2"),
        helper.make_node("GlobalAveragePool", ["x4"], ["x5"], name="pool"),
        helper.make_node("Flatten", ["x5"], ["x6"]),
        helper.make_node("MatMul", ["x6", "w3"], [OUTPUT_NAME]),
    ]
    graph = helper.make_graph(
        nodes,
        "convolutions",
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, ["n", 1, 48, 48])],
        [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return with_info(model.SerializeToString(), tiny_info())


def test_sets_are_fitted_to_ones_own_faces(drawn: Dataset, tmp_path: Path) -> None:
    content = tiny_model(tiny_info().to_metadata())
    tiny = Classifier.from_bytes(content, name="tiny")
    info, evaluation = write_model(tiny, content, tmp_path / "a.onnx", drawn, "validation", "")
    model = Classifier.load(tmp_path / "a.onnx")
    assert model.info == info
    assert info.coverage["n"] == len(drawn.split("validation"))
    assert info.coverage["by"] == "raw"
    assert drawn.fingerprint in info.coverage["data"]
    crops = np.asarray(drawn.images_nhw[:5])
    assert (model.logits(crops) == tiny.logits(crops)).all()
    assert evaluation.raw is not None
    assert info.metrics["raw"]["accuracy"]["value"] == pytest.approx(
        evaluation.raw.headlines["accuracy"].value, abs=1e-6
    )
    assert "--coverage 0.95" in (tmp_path / "a.md").read_text()
    # Every face of the fitted split: at least the share asked for is held.
    reader = Reader(tmp_path / "a.onnx", faces="whole", coverage=0.9)
    split = drawn.split("validation")
    held = [
        split.label_names[label] in (reader.read(np.asarray(image)).faces[0].prediction_set or ())
        for image, label in zip(split.images_nhw, split.labels_n, strict=True)
    ]
    assert np.mean(held) >= 0.9


def test_int8_answers_as_float32_does(convolutions: bytes, drawn: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "q.onnx"
    done = quantize_model(convolutions, "c", path, drawn, max_loss=1.0, timing_s=0.02)
    model = Classifier.load(path, threads=1)
    assert model.info == done.info
    assert (model.info.name, model.info.precision) == ("tiny-int8", "int8")
    assert done.size < 0.7
    assert done.speed > 0
    assert "QuantizeLinear" in {node.op_type for node in onnx.load(path).graph.node}
    crops = np.asarray(drawn.split("validation").images_nhw)
    before = Classifier.from_bytes(convolutions, name="c").logits(crops)
    after = model.logits(crops)
    assert 0 < np.abs(before - after).max() < 0.1 * np.abs(before).max()
    agree = (before.argmax(axis=1) == after.argmax(axis=1)).mean()
    assert agree == pytest.approx(1 - done.changed, abs=1e-6)
    card = (tmp_path / "q.md").read_text()
    assert "The int8 form of tiny" in card
    assert f"n = {done.n:,}" in card
    with pytest.raises(ModelFileError, match="is an int8 model already"):
        quantize_model(path.read_bytes(), "q", tmp_path / "r.onnx", drawn)
    assert not (tmp_path / "r.onnx").exists()


def int8_weights(content: bytes) -> list[np.ndarray]:
    """The weights of an int8 file's convolutions."""
    graph = onnx.load_model_from_string(content).graph
    made = {node.output[0]: node for node in graph.node}
    stored = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    return [stored[made[node.input[1]].input[0]] for node in graph.node
            if node.op_type == "Conv" and node.input[1] in made]  # fmt: skip


def test_int8_weights_cannot_saturate_16_bits(convolutions: bytes, drawn: Dataset) -> None:
    """Without VNNI a processor adds two products of bytes in 16 bits, with saturation."""
    crops = np.asarray(drawn.images_nhw[:64])
    for content in [
        quantize(convolutions, crops),
        *(model_content(Path(name))[0] for name in shipped_models() if name.endswith("-int8")),
    ]:
        weights = int8_weights(content)
        assert weights
        for own in weights:
            assert own.dtype == np.int8
            # The largest that any pair of weights can add up to, with activations of 255.
            assert 2 * 255 * np.abs(own.astype(int)).max() <= np.iinfo(np.int16).max


def test_int8_that_loses_too_much_is_refused(
    convolutions: bytes, drawn: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(ModelFileError, match=r"int8 loses .* points of accuracy .* n = ") as error:
        quantize_model(convolutions, "c", tmp_path / "q.onnx", drawn, max_loss=-1.0)
    assert "max_loss" in error.value.hint
    assert not list(tmp_path.iterdir())


def test_the_commands_that_write_models(
    convolutions: bytes, drawn: Dataset, tmp_path: Path
) -> None:
    data, path = tmp_path / "data", tmp_path / "c.onnx"
    save_dataset(drawn, data)
    path.write_bytes(convolutions)
    done = mien("quantize", path, tmp_path / "q.onnx", "--data", data, "--max-loss", "100")
    assert done.returncode == 0, done.stderr
    assert "times as fast here" in done.stdout
    done = mien("calibrate", tmp_path / "q.onnx", tmp_path / "d.onnx", "--data", data)
    assert done.returncode == 0, done.stderr
    assert "--coverage 0.95 " in done.stdout
    assert "calibrated on one half of the faces and measured on the other" in done.stdout
    assert Classifier.load(tmp_path / "d.onnx").info.precision == "int8"
    for command in ("quantize", "calibrate"):
        failed = mien(command, "none", tmp_path / "x.onnx", "--data", data)
        assert failed.returncode == 1
        assert "error: there is no model none" in failed.stderr


def test_the_prior_of_an_int8_model_can_be_changed_again(
    convolutions: bytes, drawn: Dataset, tmp_path: Path
) -> None:
    info = replace(
        Classifier.from_bytes(convolutions, name="c").info,
        training_prior={"happy": 0.4, "neutral": 0.4, "sad": 0.2},
    )
    content, _ = with_output_prior(with_info(convolutions, info), info, "uniform")
    path = tmp_path / "q.onnx"
    quantize_model(content, "c", path, drawn, max_loss=1.0, timing_s=0.02)
    before = Classifier.load(path, threads=1)
    assert before.info.prior is not None
    changed, new = with_output_prior(path.read_bytes(), before.info, "training")
    after = Classifier.from_bytes(changed, name="q")
    assert after.info == new
    crops = np.asarray(drawn.split("validation").images_nhw)
    np.testing.assert_allclose(
        after.logits(crops) - before.logits(crops),
        np.broadcast_to(np.log([0.4 * 3, 0.4 * 3, 0.2 * 3]), (len(crops), 3)),
        atol=1e-5, rtol=0,
    )  # fmt: skip

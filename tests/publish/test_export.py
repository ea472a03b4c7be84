from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.train.test_fit import recipe

from mien import Reader
from mien.data.dataset import Dataset
from mien.errors import ConfigError, ModelFileError
from mien.explain.onnx_graph import OnnxExplainable
from mien.imaging.crop import ALIGNMENT_ID
from mien.labels import SEVEN, THREE
from mien.model.classifier import Classifier
from mien.model.embedder import Embedder
from mien.model.fp16 import MIN_VALUES, to_fp16
from mien.publish import export
from mien.publish.quantize import quantize_model
from mien.train.loop.fit import fit
from mien.train.run.folder import create_run, load_scorer


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, drawn: Dataset) -> Path:
    path = tmp_path_factory.mktemp("export") / "run"
    settings = recipe(network={"mirror": True}, targets={"classes": "eight"}, fit={"epochs": 2})
    fit(create_run(path, settings, drawn, path), drawn)
    return path


def test_the_exported_file_answers_as_torch_does(run: Path, drawn: Dataset, tmp_path: Path) -> None:
    done = export.export_run(run, tmp_path / "m.onnx", drawn, name="mine")
    assert done.max_difference <= 1e-3
    assert done.compared == len(drawn.split("validation"))
    model = Classifier.load(tmp_path / "m.onnx")
    crops = drawn.images_nhw[:37]
    expected = load_scorer(run).logits(crops) / done.info.temperature
    np.testing.assert_allclose(model.logits(crops), expected, atol=1e-3)
    # Normalisation is in the graph: light and contrast make no difference.
    darker = (crops * 0.5).astype(np.uint8)
    np.testing.assert_allclose(model.logits(darker), expected, atol=0.6)


def test_several_runs_answer_together(run: Path, drawn: Dataset, tmp_path: Path) -> None:
    other = recipe(
        network={"mirror": True, "width": 6}, targets={"classes": "eight"}, fit={"seed": 3}
    )
    fit(create_run(tmp_path / "other", other, drawn, tmp_path), drawn)
    done = export.export_run(run, tmp_path / "m.onnx", drawn, others=[tmp_path / "other"])
    alone = [load_scorer(path) for path in (run, tmp_path / "other")]
    crops = drawn.images_nhw[:37]
    expected = (alone[0].logits(crops) + alone[1].logits(crops)) / 2 / done.info.temperature
    np.testing.assert_allclose(
        Classifier.load(tmp_path / "m.onnx").logits(crops), expected, atol=1e-3
    )
    assert done.info.network == "mean of poster and poster"
    sizes = [sum(p.numel() for p in scorer.model.parameters()) for scorer in alone]
    assert done.info.parameters == sum(sizes)
    explained = OnnxExplainable.load(tmp_path / "m.onnx")
    assert explained.sides == ()  # of the two, no feature map tells what the mean looks at
    third = recipe(fit={"seed": 4, "epochs": 1})
    fit(create_run(tmp_path / "third", third, drawn, tmp_path), drawn)
    with pytest.raises(ConfigError, match=r"learnt happy, neutral, sad; .* learnt .*fear"):
        export.export_run(run, tmp_path / "x.onnx", drawn, others=[tmp_path / "third"])
    assert not (tmp_path / "x.onnx").exists()


def test_weights_in_16_bits(run: Path, drawn: Dataset, tmp_path: Path) -> None:
    whole, half = tmp_path / "whole.onnx", tmp_path / "half.onnx"
    export.export_run(run, whole, drawn)
    done = export.export_run(run, half, drawn, half=True)
    assert done.info.weight_format == "float16"
    assert half.stat().st_size < 0.7 * whole.stat().st_size
    assert "stored as fp16" in half.with_suffix(".md").read_text()
    assert "fp16" not in whole.with_suffix(".md").read_text()
    split = drawn.split("validation")
    before, after = (Classifier.load(path).logits(split.images_nhw) for path in (whole, half))
    # Rounding shows, and is what was told; the figures in the file are of the rounded weights.
    assert 0 < np.abs(after - before).max() < 0.02 * np.abs(before).max()
    assert done.half_difference == pytest.approx(np.abs(after - before).max(), rel=1e-3)
    assert done.half_changed == (before.argmax(axis=1) != after.argmax(axis=1)).sum()
    hits = after.argmax(axis=1) == split.labels_n
    assert done.info.metrics["raw"]["accuracy"]["value"] == pytest.approx(hits.mean(), abs=1e-4)
    # Whoever looks into the graph finds whole weights: features, explanations, int8.
    crops = np.asarray(split.images_nhw[:16])
    features = [Embedder.load(path).embed(crops) for path in (whole, half)]
    np.testing.assert_allclose(features[1], features[0], atol=0.02 * np.abs(features[0]).max())
    explained = [OnnxExplainable.load(path) for path in (whole, half)]
    assert explained[1].layers == explained[0].layers
    np.testing.assert_allclose(explained[1].kernels(), explained[0].kernels(), rtol=1e-3)
    small = quantize_model(
        half.read_bytes(), "half", tmp_path / "q.onnx", drawn, max_loss=1.0, timing_s=0.01
    )
    assert (small.info.precision, small.info.weight_format) == ("int8", "float32")
    # Nothing is stored twice, as the weights of a mirror image's branch once were.
    graph = onnx.load(tmp_path / "q.onnx").graph
    arrays = [onnx.numpy_helper.to_array(t) for t in graph.initializer]
    stored = {(a.dtype.str, a.shape, a.tobytes()) for a in arrays}
    assert len(stored) == len(arrays)


def test_weights_beyond_16_bits_are_refused(run: Path, drawn: Dataset, tmp_path: Path) -> None:
    export.export_run(run, tmp_path / "m.onnx", drawn)
    model = onnx.load(tmp_path / "m.onnx")
    large = next(t for t in model.graph.initializer if np.prod(t.dims) >= MIN_VALUES)
    large.CopyFrom(onnx.numpy_helper.from_array(np.full(large.dims, 7e4, np.float32), large.name))
    with pytest.raises(ModelFileError, match="over the maximum of fp16") as error:
        to_fp16(model.SerializeToString())
    assert "half=False" in error.value.hint


def test_seven_labels_are_an_output_of_the_same_network(tmp_path: Path, drawn: Dataset) -> None:
    settings = recipe(targets={"classes": "eight"}, extra_labels="seven", fit={"epochs": 1})
    run = create_run(tmp_path / "run", settings, drawn, tmp_path)
    fit(run, drawn)
    export.export_run(run.path, tmp_path / "m.onnx", drawn)
    three = Classifier.load(tmp_path / "m.onnx")
    seven = Classifier.load(tmp_path / "m.onnx", labels=SEVEN)
    assert (three.labels, seven.labels) == (THREE, SEVEN)
    assert seven.select_labels(THREE).info == three.info
    # What was measured and fitted is of the three labels.
    assert three.info.coverage and three.info.metrics
    assert not seven.info.coverage and not seven.info.metrics
    with pytest.raises(ModelFileError, match="were calibrated for its first label set"):
        Reader(tmp_path / "m.onnx", labels="seven", coverage=0.95)
    crops = drawn.images_nhw[:9]
    expected = load_scorer(run.path, labels=SEVEN).logits(crops) / seven.info.temperature
    np.testing.assert_allclose(seven.logits(crops), expected, atol=1e-3)
    reader = Reader(tmp_path / "m.onnx", labels="seven", faces="whole")
    assert set(reader.read(drawn.images_nhw[0]).faces[0].probabilities) == set(SEVEN)
    with pytest.raises(ConfigError, match="cannot predict happy, bored"):
        Classifier.load(tmp_path / "m.onnx", labels=("happy", "bored"))
    with pytest.raises(ConfigError, match="does not learn angry"):
        recipe(extra_labels="seven")


def test_the_file_describes_itself(run: Path, drawn: Dataset, tmp_path: Path) -> None:
    export.export_run(run, tmp_path / "m.onnx", drawn, note="Our own pens.")
    info = Classifier.load(tmp_path / "m.onnx").info
    assert (info.name, info.labels) == ("mien-test", ("happy", "neutral", "sad"))
    assert (info.alignment, info.input_size, info.colour) == (ALIGNMENT_ID, 48, "grey")
    assert info.network == "poster"
    assert drawn.fingerprint in info.data
    assert info.parameters > 0
    assert info.metrics["raw"]["n"] == len(drawn.split("validation"))
    card = (tmp_path / "m.md").read_text()
    train = drawn.split("train")
    counts = np.bincount(train.labels_n, minlength=3) / len(train)
    assert info.training_prior == pytest.approx(
        {name: counts[drawn.label_names.index(name)] for name in THREE}, abs=1e-6
    )
    assert info.licence == "Apache-2.0"
    assert (
        info.metrics["raw"]["recall"]["sad"]["n"] == (drawn.split("validation").labels_n == 2).sum()
    )
    for words in (
        "# mien-test",
        "balanced accuracy **",
        "recall: happy ",
        "n = ",
        "must not be used for",
        "never trained on",
        "cartoons",
        "Our own pens.",
    ):
        assert words in card
    reader = Reader(tmp_path / "m.onnx", faces="whole")
    assert len(reader.read(drawn.images_nhw[0]).faces) == 1


def test_a_file_that_answers_otherwise_is_not_written(
    run: Path, drawn: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_onnx = export._to_onnx

    def otherwise(graph: export.ExportedGraph) -> onnx.ModelProto:
        graph.outputs = [replace(o, temperature=o.temperature * 1.05) for o in graph.outputs]
        return to_onnx(graph)

    monkeypatch.setattr(export, "_to_onnx", otherwise)
    with pytest.raises(ModelFileError, match="logits differ from torch's by up to") as caught:
        export.export_run(run, tmp_path / "m.onnx", drawn)
    assert "at most 0.001 is accepted" in caught.value.message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("true", [0.5, 1.0, 2.5])
def test_the_temperature_is_found(true: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20_000, 3))
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    right = (probs.cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)
    found = export.fit_temperature((logits * true).astype(np.float32), right)
    assert found == pytest.approx(true, rel=0.04)


def test_a_small_split_without_an_error_does_not_make_it_certain() -> None:
    rng = np.random.default_rng(0)
    y_true = rng.integers(3, size=3000)
    logits = (rng.normal(0, 1, (3000, 3)) + 3 * np.eye(3)[y_true]).astype(np.float32)
    few = np.flatnonzero(logits.argmax(axis=1) == y_true)[:30]
    # The likelihood alone wants the lowest temperature that there is.
    alone = export.fit_temperature(logits[few], y_true[few], spread=math.inf)
    assert alone == pytest.approx(0.1, abs=0.001)
    assert 0.3 < export.fit_temperature(logits[few], y_true[few]) < 0.7
    alone = export.fit_temperature(logits, y_true, spread=math.inf)
    assert export.fit_temperature(logits, y_true) == pytest.approx(alone, rel=0.02)

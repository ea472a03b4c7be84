from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.data.dataset import Dataset
from mien.errors import ConfigError, DataError
from mien.evaluate.evaluate import evaluate
from mien.evaluate.plots import image
from mien.evaluate.predictions import predict_table
from mien.evaluate.report import markdown
from mien.labels import FERPLUS_VOTES


class Knows:
    """Predicts the given classes, with a logit of 3 for each."""

    name = "knows"
    input_size = 48

    def __init__(self, answers: np.ndarray, labels: tuple[str, ...]) -> None:
        self.answers, self.labels, self.at = answers, labels, 0

    def logits(self, crops_nhw: np.ndarray) -> np.ndarray:
        rows = self.answers[self.at : self.at + len(crops_nhw)]
        self.at += len(crops_nhw)
        return 3 * np.eye(len(self.labels), dtype=np.float32)[rows]


@pytest.fixture
def voted(drawn: Dataset) -> Dataset:
    """Drawn faces with votes: seven of ten for the label, but for the first validation face."""
    votes = np.zeros((len(drawn), 10), np.float32)
    for row, label in enumerate(drawn.labels_n):
        votes[row, FERPLUS_VOTES.index(drawn.label_names[label])] = 7
        votes[row, FERPLUS_VOTES.index("unknown")] = 3
    first = np.flatnonzero(drawn.splits_n == "validation")[0]
    votes[first] = 1
    return replace(drawn, votes_nk=votes, vote_names=FERPLUS_VOTES)


def test_a_model_that_knows_everything(voted: Dataset) -> None:
    right = voted.split("validation").labels_n
    done = evaluate(Knows(right, voted.label_names), voted, "validation")
    assert done.raw is not None
    assert done.consensus is not None
    assert done.raw.n == len(right)
    assert done.consensus.n == len(right) - 1
    assert done.raw.headlines["accuracy"].value == 1
    assert (done.consensus.confusion == np.diag(np.diag(done.consensus.confusion))).all()


def test_json_has_the_documented_form(voted: Dataset) -> None:
    right = voted.split("validation").labels_n
    answers = np.where(np.arange(len(right)) % 4 == 0, (right + 1) % 3, right)
    values = evaluate(Knows(answers, voted.label_names), voted, "validation").to_dict()
    values = json.loads(json.dumps(values))
    assert values["accuracy"]["value"] == pytest.approx(0.75, abs=0.02)
    assert values["accuracy"]["low"] < 0.75 < values["accuracy"]["high"]
    for part in (values, values["consensus"]):
        headlines = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "brier",
                     "calibration_error")  # fmt: skip
        assert {"n", "confusion", "per_class", *headlines} <= set(part)
        for name in headlines:
            assert list(part[name]) == ["value", "low", "high"]
            assert part[name]["low"] <= part[name]["value"] <= part[name]["high"]
        assert set(part["per_class"]) == {"happy", "neutral", "sad"}
        assert sum(map(sum, part["confusion"])) == part["n"]
    assert set(values) == {"model", "data", "labels", "consensus", *values["consensus"]}
    assert values["data"] == {
        "name": "drawn", "fingerprint": voted.fingerprint, "split": "validation",
    }  # fmt: skip


def test_without_votes_there_is_no_consensus(drawn: Dataset) -> None:
    right = drawn.split("validation").labels_n
    assert evaluate(Knows(right, drawn.label_names), drawn, "validation").consensus is None


def test_more_labels_are_restricted_by_name(drawn: Dataset) -> None:
    labels = ("angry", "sad", "neutral", "happy")
    right = drawn.split("validation").labels_n
    answers = np.array([3, 2, 1])[right]
    table = predict_table(Knows(answers, labels), drawn.split("validation"), ("happy", "sad"))
    assert table.logits_nk.shape == (len(right), 2)
    assert (table.raw_n[right == 1] == -1).all()
    np.testing.assert_allclose(table.probs_nk.sum(axis=1), 1, atol=1e-6)
    done = evaluate(Knows(answers, labels), drawn, "validation", ("happy", "neutral", "sad"))
    assert done.raw is not None
    assert done.raw.headlines["accuracy"].value == 1


def test_mistakes(drawn: Dataset) -> None:
    right = drawn.split("validation").labels_n
    knows = Knows(right, drawn.label_names)
    with pytest.raises(ConfigError, match="knows does not have the label 'hapy'"):
        evaluate(knows, drawn, "validation", ("hapy", "sad"))
    with pytest.raises(ConfigError, match="there is no split 'val'") as told:
        evaluate(knows, drawn, "val")
    assert "did you mean 'validation'?" in told.value.hint
    with pytest.raises(DataError, match="drawn has no test split"):
        evaluate(knows, drawn, "test")
    foreign = replace(drawn, label_names=("a", "b", "c"))
    with pytest.raises(DataError, match="no image of drawn's validation split is labelled"):
        evaluate(knows, foreign, "validation")
    few = drawn.subset(np.flatnonzero(drawn.splits_n == "validation")[:5])
    with pytest.raises(DataError, match="fewer than 10 images"):
        evaluate(knows, few, "validation")


def test_image_and_words(voted: Dataset, tmp_path: Path) -> None:
    right = voted.split("validation").labels_n
    done = evaluate(Knows(np.roll(right, 1), voted.label_names), voted, "validation")
    path = tmp_path / "a.png"
    path.write_bytes(image(done))
    with Image.open(path) as drawing:
        assert drawing.width > 1000
        assert np.asarray(drawing.convert("L")).std() > 20
    text = markdown(done)
    assert f"rater consensus (n = {len(right) - 1:,})" in text
    assert text.count("| accuracy |") == 1


def test_a_model_that_says_one_word_is_not_called_perfect(drawn: Dataset) -> None:
    rows = np.flatnonzero((drawn.splits_n == "validation") & (drawn.labels_n == 1))
    only = drawn.subset(rows)
    done = evaluate(Knows(only.labels_n, drawn.label_names), only, "validation").to_dict()
    done = json.loads(json.dumps(done, allow_nan=False))
    assert done["accuracy"]["value"] == 1
    assert done["accuracy"]["low"] < 0.95
    assert done["balanced_accuracy"]["value"] is done["macro_f1"]["value"] is None
    assert done["classes_without_images"] == ["happy", "sad"]
    undefined = {"value": None, "low": None, "high": None}
    assert done["per_class"]["sad"] == {
        "n": 0, "n_predicted": 0, "recall": undefined, "precision": undefined, "f1": undefined,
    }  # fmt: skip
    assert done["per_class"]["neutral"]["recall"]["value"] == 1
    no_image, few, one_word = done["warnings"]
    assert no_image.startswith("no image of happy, sad in the evaluated split")
    assert few.startswith(f"fewer than 30 images of neutral (n = {len(rows)})")
    assert one_word == "the model predicts neutral for every image"
    text = markdown(evaluate(Knows(only.labels_n, drawn.label_names), only, "validation"))
    assert "| macro F1 | not defined |" in text
    assert "| sad | 0 | not defined | 0 | not defined | not defined |" in text


def test_each_threshold_is_named_once(drawn: Dataset) -> None:
    right = drawn.split("validation").labels_n
    done = evaluate(Knows(right, drawn.label_names), drawn, "validation")
    assert done.raw is not None
    thresholds = [rule.min_confidence for rule in done.raw.confidence.abstention]
    assert len(thresholds) == len(set(thresholds)) == 1
    assert done.raw.confidence.abstention[0].target_error == 0.01

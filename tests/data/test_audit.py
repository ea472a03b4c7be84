from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from mien.data.audit.audit import DRAWN_NOTE, Audit, Embed, Tools, audit
from mien.data.audit.duplicate_checks import measure_leaks
from mien.data.audit.faces import ALWAYS_LISTED, check_faces
from mien.data.audit.page import SHOWN, page
from mien.data.audit.problem import CHECKS
from mien.data.audit.quality import check_quality, modified_z
from mien.data.audit.table import COLUMNS, to_csv, to_json
from mien.data.audit.wrong_labels import check_labels, predict_out_of_fold
from mien.data.dataset import Dataset
from mien.data.drawn import draw_faces, split_drawn
from mien.data.records import Skipped
from mien.model.embedder import Embedder


@pytest.fixture(scope="module")
def faces() -> Dataset:
    return draw_faces(180, seed=3)


@pytest.fixture(scope="module")
def features() -> Embed:
    return Embedder.load(threads=1).embed


class OneFaceless:
    """Scores two images low and finds no face in the darker one."""

    def __init__(self, doubtful: tuple[int, int]) -> None:
        self.doubtful = doubtful

    def scores(self, crops_nhw: np.ndarray) -> np.ndarray:
        scores = np.ones(len(crops_nhw), np.float32)
        scores[list(self.doubtful)] = 0.01
        return scores

    def has_face(self, crop_hw: np.ndarray) -> bool:
        return bool(crop_hw.mean() > 100)


def found(result: Audit, check: str) -> set[int]:
    return {p.row for p in result.problems if p.check == check}


def with_images(faces: Dataset, replaced: list[np.ndarray]) -> Dataset:
    """The collection with its first images replaced."""
    images = faces.images_nhw.copy()
    images[: len(replaced)] = replaced
    return replace(faces, images_nhw=images)


def test_blank_black_white_and_cropped_away_images_are_distinguished(faces: Dataset) -> None:
    rng = np.random.default_rng(0)
    half = faces.images_nhw[4].copy()
    half[:, 16:] = 200
    bordered = np.zeros((48, 48), np.uint8)
    bordered[9:39, 9:39] = faces.images_nhw[5][9:39, 9:39]
    replaced = [
        np.zeros((48, 48), np.uint8),
        np.full((48, 48), 255, np.uint8),
        np.clip(rng.normal(120, 1.5, (48, 48)), 0, 255).astype(np.uint8),
        rng.integers(0, 12, (48, 48)).astype(np.uint8),
        half,
        bordered,
    ]
    problems = check_quality(with_images(faces, replaced).images_nhw)
    blank = {p.row: p for p in problems if p.check == "blank"}
    assert set(blank) == {0, 1, 2, 3}
    assert [blank[i].detail.split(":")[0] for i in range(4)] == ["black", "white", "grey", "black"]
    assert all(p.action == "drop" for p in blank.values())
    flat = {p.row: p for p in problems if p.check == "mostly-flat"}
    assert {4, 5} <= set(flat)
    assert all(p.action == "keep" for p in flat.values())


def test_blurred_dark_and_bright_images_are_outliers_of_their_collection() -> None:
    rng = np.random.default_rng(0)
    texture = np.clip(rng.normal(128, 40, (120, 48, 48)) + rng.normal(0, 5, (120, 1, 1)), 0, 255)
    images = texture.astype(np.uint8)
    images[0] = np.asarray(Image.fromarray(images[0]).filter(ImageFilter.GaussianBlur(2)))
    images[1] = images[1] // 4
    images[2] = 170 + images[2] // 4
    checks = {p.row: p.check for p in check_quality(images)}
    assert checks == {0: "blurred", 1: "too-dark", 2: "too-bright"}


def test_outliers_need_something_to_compare_with() -> None:
    assert not modified_z(np.array([0.0] * 10 + [99.0])).any()
    assert not modified_z(np.array([1.0] * 40)).any()
    values = np.r_[np.arange(40.0), 1000]
    assert (np.abs(modified_z(values)) > 3.5).tolist() == [False] * 40 + [True]


def test_duplicates_conflicts_and_leaks_are_listed(faces: Dataset) -> None:
    images, labels = faces.images_nhw.copy(), faces.labels_n.copy()
    images[[10, 11]] = images[0]
    labels[[0, 10, 11]] = [0, 0, 1]
    images[12] = np.clip(images[1][:, ::-1] * 0.9, 0, 255).astype(np.uint8)
    labels[[1, 12]] = 2
    splits = np.full(len(faces), "train", "<U10")
    splits[[10, 12, 50]] = "test"
    result = audit(
        replace(faces, images_nhw=images, labels_n=labels, source_splits_n=splits), Tools()
    )
    assert found(result, "exact-duplicate") == {10, 11}
    near = {frozenset((p.row, p.other)) for p in result.problems if p.check == "near-duplicate"}
    assert frozenset((1, 12)) in near
    assert {0, 10, 11} <= found(result, "conflict")
    dropped = [p.row for p in result.problems if p.action == "drop"]
    assert dropped == [11], "of exact duplicates with different labels, the outvoted one"
    assert {0, 1, 11} <= found(result, "duplicate-across-splits")
    (leak,) = result.leaks
    assert (leak.split, leak.n, leak.exact) == ("test", 3, 1)
    assert leak.duplicated >= 2
    assert 0 < leak.fraction.low < leak.fraction.value < leak.fraction.high


def test_leaks_by_hand() -> None:
    splits = np.array(["train", "train", "validation", "validation", "test", "test", "test"])
    groups, pixels = np.array([0, 0, 0, 3, 4, 0, 6]), np.array([0, 1, 1, 3, 4, 5, 6])
    test, validation = measure_leaks(splits, groups, pixels)
    assert (test.n, test.exact, test.duplicated, test.training) == (3, 0, 1, 2)
    assert (validation.n, validation.exact, validation.duplicated, validation.training) == (
        2,
        1,
        1,
        2,
    )
    assert measure_leaks(np.array(["train", "train"]), groups[:2], pixels[:2]) == []


def test_planted_wrong_labels_are_found_and_few_others(faces: Dataset, features: Embed) -> None:
    rng = np.random.default_rng(1)
    rows = np.arange(len(faces))
    labels = faces.labels_n.copy()
    planted = rng.choice(len(faces), 12, replace=False)
    labels[planted] = (labels[planted] + 1) % 3
    predicted = predict_out_of_fold(
        features(faces.images_nhw, lambda *_: None),
        labels,
        faces.label_names,
        rows,
        faces.subjects_n,
    )
    problems = check_labels(predicted, labels, faces.label_names)
    hits = [p for p in problems if p.row in planted]
    assert len(hits) >= 5, "as many by chance would hold fewer than two"
    # The features were learnt from photographs: of 168 sound cartoons a seventh may look wrong.
    assert len(problems) - len(hits) <= 24
    right = [p.new_label == faces.label_names[faces.labels_n[p.row]] for p in hits]
    assert np.mean(right) >= 0.6


def test_predictions_never_come_from_a_duplicate_of_the_image() -> None:
    """Features that only identify duplicates: a model trained on them would always be right."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 4)
    points = np.repeat(rng.normal(size=(60, 16)), 4, axis=0).astype(np.float32)
    labels = np.repeat(rng.integers(0, 2, 60), 4)
    nobody = np.full(240, "", np.str_)
    honest = predict_out_of_fold(points, labels, ("a", "b"), groups, nobody)
    leaking = predict_out_of_fold(points, labels, ("a", "b"), np.arange(240), nobody)
    right = [float((o.probs_mk.argmax(axis=1) == labels).mean()) for o in (honest, leaking)]
    assert right[0] < 0.65 < right[1]


def test_rare_classes_are_left_out_and_one_class_is_not_checked() -> None:
    points = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    nobody = np.full(40, "", np.str_)
    labels = np.array([0] * 18 + [1] * 18 + [2] * 3 + [-1])
    predicted = predict_out_of_fold(points, labels, ("a", "b", "c"), np.arange(40), nobody)
    assert predicted.unchecked == ("c",)
    assert len(predicted.rows) == 36
    assert not predicted.probs_mk[:, 2].any()
    alone = predict_out_of_fold(points, np.zeros(40, np.int64), ("a", "b"), np.arange(40), nobody)
    assert "fewer than two classes" in alone.reason
    assert check_labels(alone, np.zeros(40, np.int64), ("a", "b")) == []


def test_only_images_with_a_low_score_go_to_the_detector(faces: Dataset) -> None:
    images = faces.images_nhw.copy()
    images[0], images[1] = images[0] // 4, 255
    skip = np.zeros(len(images), bool)
    problems, reason = check_faces(images, OneFaceless((0, 1)), skip, lambda *_: None)
    assert ([p.row for p in problems], reason) == ([0], "")
    assert problems[0].action == "keep"


def test_a_detector_that_finds_no_face_anywhere_is_ignored() -> None:
    images = np.zeros((5 * ALWAYS_LISTED, 48, 48), np.uint8)

    class Blind(OneFaceless):
        def scores(self, crops_nhw: np.ndarray) -> np.ndarray:
            return np.zeros(len(crops_nhw), np.float32)

    problems, reason = check_faces(
        images, Blind((0, 1)), np.zeros(len(images), bool), lambda *_: None
    )
    assert problems == []
    assert "does not know images of this kind" in reason


def test_labels_that_the_consensus_contradicts_are_found(faces: Dataset, features: Embed) -> None:
    votes = np.zeros((len(faces), 4), np.float32)
    votes[np.arange(len(faces)), faces.labels_n] = 9
    votes[0] = [0, 0, 0, 10]  # a name that is no expression decides nothing
    other = int((faces.labels_n[1] + 1) % 3)
    votes[1] = 0
    votes[1, other] = 8
    names = (*faces.label_names, "unknown")
    result = audit(replace(faces, votes_nk=votes, vote_names=names), Tools(embed=features))
    assert found(result, "votes-disagree") == {1}
    (problem,) = (p for p in result.problems if p.check == "votes-disagree")
    assert (problem.new_label, problem.action) == (faces.label_names[other], "keep")
    assert result.agreement is not None


def test_sound_drawn_faces_give_few_findings(faces: Dataset, features: Embed) -> None:
    result = audit(faces, Tools(embed=features))
    n = len(faces)
    counts = result.counts()
    assert counts["blank"] == counts["exact-duplicate"] == counts["unreadable"] == 0
    assert counts["mostly-flat"] <= 0.05 * n
    assert counts["blurred"] + counts["too-dark"] + counts["too-bright"] <= 0.05 * n
    assert counts["likely-wrong-label"] <= 0.14 * n  # cartoons: the features are of photographs
    assert not [p for p in result.problems if p.action != "keep"]
    assert set(result.not_checked) == {"faceless", "votes-disagree", "duplicate-across-splits"}


def test_near_duplicates_of_drawn_faces_are_called_false(faces: Dataset) -> None:
    dataset = split_drawn(faces)
    result = audit(dataset, Tools())
    (leak,) = result.leaks_after_import or []
    # The same search as for photos, and people are on one side only: false alarms.
    assert leak.duplicated > 0 and leak.exact == 0
    assert to_json(result)["notes"] == [DRAWN_NOTE]
    assert DRAWN_NOTE in page(result)
    photos = replace(faces, sources_n=np.array([f"{i}.png" for i in range(len(faces))]))
    assert to_json(audit(photos, Tools()))["notes"] == []
    assert DRAWN_NOTE not in page(audit(photos, Tools()))


def test_the_page_the_table_and_the_json_agree(faces: Dataset) -> None:
    names = faces.sources_n.copy()
    names[0] = "<script>alert(1)</script>"
    images = faces.images_nhw.copy()
    images[:40] = 0
    result = audit(
        replace(faces, images_nhw=images, sources_n=names, skipped=(Skipped("a.txt", "no image"),)),
        Tools(),
    )
    html, about = page(result), to_json(result)
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "http" not in html
    assert "a.txt: no image" in html
    assert f"And {40 - SHOWN} more in audit.csv" in html
    assert about["counts"]["blank"] == 40
    assert about["counts"]["unreadable"] == 1
    assert about["suggested"]["blank"] == {"drop": 40}
    json.dumps(about, allow_nan=False)
    lines = to_csv(result).splitlines()
    assert lines[0] == ",".join(COLUMNS)
    assert len(lines) - 1 == len(result.problems) == len(about["problems"])
    assert {p["check"] for p in about["problems"]} <= set(CHECKS)


@pytest.mark.real_data
def test_fer2013_sample_is_audited_on_real_faces(fer2013: Path) -> None:
    from mien.data.sources.arrays import read_arrays
    from mien.predict.detectors.crops import CropFaces

    whole = read_arrays(fer2013, 48)
    chosen = np.random.default_rng(0).choice(len(whole), 1500, replace=False)
    sample = whole.subset(chosen)
    assert sample.votes_nk is not None
    embedder = Embedder.load(threads=1)
    result = audit(sample, Tools(embedder.embed, "mien-small", CropFaces(threads=1)))
    counts = result.counts()
    assert counts["faceless"] < 0.03 * len(sample)
    assert 0.1 < counts["likely-wrong-label"] / len(sample) < 0.35
    assert result.agreement is not None
    assert result.agreement[0].low > 0.6

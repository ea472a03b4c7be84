from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mien.data.dataset import Dataset
from mien.errors import DataError
from mien.evaluate.bootstrap import paired_accuracy
from mien.evaluate.corruption import CORRUPTIONS, Corruption, corrupt
from mien.evaluate.robustness import measure_robustness
from mien.evaluate.robustness_plots import robustness_image, sheet

KNOWN = {corruption.name: corruption for corruption in CORRUPTIONS}


@pytest.fixture(scope="module")
def faces(drawn: Dataset) -> np.ndarray:
    return np.asarray(drawn.images_nhw[:12])


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda c: c.name)
def test_every_corruption_changes_more_with_its_strength(
    corruption: Corruption, faces: np.ndarray
) -> None:
    assert len(corruption.strengths) == 3
    changes = []
    for strength in corruption.strengths:
        before = faces.copy()
        worse = corrupt(faces, corruption, strength, seed=3)
        assert (faces == before).all()
        assert worse.shape == faces.shape
        assert worse.dtype == np.uint8
        assert (worse == corrupt(faces, corruption, strength, seed=3)).all()
        alone = corrupt(faces[:1], corruption, strength, seed=3)
        assert (alone == worse[:1]).all()
        changes.append(np.abs(worse.astype(float) - faces).mean())
    assert 0 < changes[0] < changes[1] < changes[2]


def test_what_some_corruptions_do(faces: np.ndarray) -> None:
    flat = np.full((1, 48, 48), 200, np.uint8)
    noisy = corrupt(flat, KNOWN["noise"], 20)
    assert noisy.std() == pytest.approx(20, rel=0.1)
    dark = corrupt(flat, KNOWN["low-light"], 0.1)
    assert dark.mean() == pytest.approx(20, rel=0.1)
    edge = np.zeros((1, 48, 48), np.uint8)
    edge[:, :, 24:] = 255
    for name in ("rotation", "off-centre", "blur", "low-resolution"):
        assert (corrupt(flat, KNOWN[name], KNOWN[name].strengths[-1]) == 200).all(), name
    moved = corrupt(edge, KNOWN["off-centre"], 0.2)[0]
    assert moved[24, 0] == 0
    assert abs(int((moved[24] > 127).sum()) - 24) <= 10
    small = corrupt(faces, KNOWN["low-resolution"], 16)
    assert small.std() < faces.std()
    for name, rows in (("mouth-covered", slice(30, 47)), ("eyes-covered", slice(9, 25))):
        covered = corrupt(faces, KNOWN[name], 1.0)
        outside = np.ones(48, bool)
        outside[rows] = False
        assert (covered[:, outside] == faces[:, outside]).all()
        assert len(np.unique(covered[0, rows][1:-1, 12:36])) == 1


def test_larger_crops_are_changed_alike(faces: np.ndarray) -> None:
    """A blur of twice the crop is twice as wide: what remains of the contrast is the same."""
    large = np.stack([np.asarray(Image.fromarray(face).resize((96, 96))) for face in faces])
    for name, strength in (("blur", 2.5), ("off-centre", 0.2), ("eyes-covered", 1.0)):
        worse = corrupt(large, KNOWN[name], strength)
        halved = np.stack([np.asarray(Image.fromarray(face).resize((48, 48))) for face in worse])
        expected = corrupt(faces, KNOWN[name], strength)
        assert np.abs(halved.astype(float) - expected).mean() < 6, name


def test_the_paired_difference_counts_groups_and_not_copies() -> None:
    rng = np.random.default_rng(0)
    first = (rng.random(300) < 0.9).astype(float)
    second = np.where(rng.random(300) < 0.1, 0.0, first)
    alone = paired_accuracy(first, second, np.arange(300))
    assert alone.value == pytest.approx(first.mean() - second.mean())
    assert 0 < alone.low < alone.value < alone.high
    copied = paired_accuracy(first.repeat(4), second.repeat(4), np.arange(300).repeat(4))
    assert copied.value == pytest.approx(alone.value)
    assert copied.high - copied.low == pytest.approx(alone.high - alone.low, rel=0.15)
    assert paired_accuracy(first, first, np.arange(300)).high == 0


class Brightness:
    """Calls a face happy where its middle is light, and else sad."""

    name = "brightness"
    labels = ("happy", "sad")
    input_size = 48

    def logits(self, crops_nhw: np.ndarray) -> np.ndarray:
        light = crops_nhw[:, 16:32, 16:32].mean(axis=(1, 2)) - 127
        return np.stack([light, -light], axis=1).astype(np.float32)


@pytest.fixture
def plain(drawn: Dataset) -> Dataset:
    """Flat faces, half of them light and happy and half dark and sad."""
    split = drawn.split("validation")
    happy = np.arange(len(split)) % 2 == 0
    images = np.where(happy, 200, 60)[:, None, None] * np.ones((1, 48, 48))
    return replace(
        split,
        images_nhw=images.astype(np.uint8),
        label_names=("happy", "sad"),
        labels_n=np.where(happy, 0, 1),
        groups_n=np.arange(len(split)),
    )


def test_what_is_lost_is_measured(plain: Dataset) -> None:
    told: list[tuple[int, int]] = []
    harmless, harmful = KNOWN["blur"], KNOWN["low-light"]
    done = measure_robustness(
        Brightness(), plain, "validation", corruptions=(harmless, harmful),
        progress=lambda d, t: told.append((d, t)),
    )  # fmt: skip
    assert (done.ground_truth, done.n, done.clean) == ("raw", len(plain), 1.0)
    assert told == [(i, 6) for i in range(1, 7)]
    drops = {(loss.corruption, loss.strength): loss.drop for loss in done.losses}
    assert all(drops["blur", s].value == drops["blur", s].high == 0 for s in harmless.strengths)
    # In a tenth of the light every face is dark: half of the answers are lost.
    dark = drops["low-light", 0.1]
    assert dark.value == pytest.approx(0.5, abs=0.05)
    assert dark.low < 0.5 < dark.high
    values = done.to_dict()
    assert values["mean_drop"]["value"] == pytest.approx(
        np.mean([loss["drop"]["value"] for loss in values["losses"]]), abs=1e-6
    )
    with Image.open(io.BytesIO(robustness_image(done))) as drawing:
        assert drawing.width > 1000
    few = plain.subset(np.arange(5))
    with pytest.raises(DataError, match="only 5 images of drawn's validation split"):
        measure_robustness(Brightness(), few, "validation")


def test_the_sheet_shows_them_all(faces: np.ndarray) -> None:
    with Image.open(io.BytesIO(sheet(faces[0]))) as drawing:
        pixels = np.asarray(drawing.convert("L"))
    assert pixels.shape[1] > pixels.shape[0] * 2
    assert pixels.std() > 20

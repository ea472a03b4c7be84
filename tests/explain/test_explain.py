from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.conftest import tiny_info, tiny_model

from mien.errors import ConfigError
from mien.explain import sanity
from mien.explain.explain import OCCLUSION, explain, thirds
from mien.explain.explainable import choose_side, redraw, unmoved
from mien.explain.figures import overlay
from mien.explain.folder import file_names, write_folder
from mien.explain.occlusion import default_patch, log_odds, occlude
from mien.explain.onnx_graph import OnnxExplainable
from mien.explain.page import Sheets, change, page
from mien.imaging.crop import ALIGNMENT_ID
from mien.model.classifier import softmax
from mien.model.info import ModelInfo
from mien.types import FaceReading

MOUTH = np.s_[32:40, 16:32]


class Looks:
    """Answers by the brightness of one region, times a weight; everything else is ignored."""

    sides: tuple[int, ...] = (48,)
    layers: tuple[str, ...] = ("only",)

    def __init__(self, weights_hw: np.ndarray) -> None:
        self.info = ModelInfo("looks", ("happy", "neutral", "sad"), 48, ALIGNMENT_ID)
        self.weights_hw = weights_hw.astype(np.float32)

    @classmethod
    def at(cls, region: tuple[slice, slice]) -> Looks:
        weights = np.zeros((48, 48), np.float32)
        weights[region] = 1 / weights[region].size
        return cls(weights)

    def logits(self, crops_nhw: np.ndarray) -> np.ndarray:
        score = (crops_nhw / 255 * self.weights_hw).sum(axis=(1, 2)) * 5
        return np.stack([score, 0 * score, -score], axis=1).astype(np.float32)

    def kernels(self) -> np.ndarray:
        return np.eye(3, dtype=np.float32)[None]

    def feature_maps(self, crop_hw: np.ndarray) -> dict[int, np.ndarray]:
        return {48: crop_hw[None].astype(np.float32)}

    def grad_cam(self, crops_nhw: np.ndarray, y_pred_n: np.ndarray, side: int) -> np.ndarray:
        signs = 1 - y_pred_n[:, None, None]
        return (signs * self.weights_hw * crops_nhw).astype(np.float32)

    def places(self, crops_nhw: np.ndarray) -> np.ndarray:
        return unmoved(len(crops_nhw))

    def randomised(self, last: int, seed: int) -> Looks:
        return type(self)(redraw(self.weights_hw, seed, 0))


class ShowsEdges(Looks):
    """Its 'explanation' is an edge detector, which knows nothing of the weights."""

    def grad_cam(self, crops_nhw: np.ndarray, y_pred_n: np.ndarray, side: int) -> np.ndarray:
        crops = crops_nhw.astype(np.float32)
        return np.abs(np.diff(crops, axis=1, append=crops[:, -1:]))


@pytest.fixture
def bright(rng: np.random.Generator) -> np.ndarray:
    """A dark crop with noise, and a bright mouth."""
    crop = rng.integers(0, 40, (48, 48)).astype(np.uint8)
    crop[MOUTH] = 220
    return crop


@pytest.fixture
def noise(rng: np.random.Generator) -> np.ndarray:
    """A crop in which no place stands out: only weights can single one out."""
    return rng.integers(0, 256, (48, 48)).astype(np.uint8)


@pytest.fixture
def weights_hw(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(0, 0.01, (48, 48))


def test_occlusion_finds_the_region_that_matters(bright: np.ndarray) -> None:
    found = occlude(Looks.at(MOUTH), bright, 0)
    row, column = np.unravel_index(found.drop_hw.argmax(), (48, 48))
    assert 32 <= row < 40
    assert 16 <= column < 32
    near = np.zeros((48, 48), bool)
    near[22:48, 6:42] = True  # a patch of 10 pixels may only just reach the mouth
    assert found.drop_hw[~near].max() <= 1e-6
    assert found.before > found.after
    x0, y0, x1, y1 = found.patch_xyxy
    assert (x1 - x0, y1 - y0) == (10, 10)
    covered = bright.copy()
    covered[y0:y1, x0:x1] = round(float(bright.mean()))
    again = softmax(Looks.at(MOUTH).logits(covered[None]))[0, 0]
    assert found.after == pytest.approx(float(again), abs=1e-6)


def test_occlusion_of_the_opposite_answer_has_the_opposite_sign(bright: np.ndarray) -> None:
    assert occlude(Looks.at(MOUTH), bright, 2).drop_hw.min() < -0.1
    assert occlude(Looks.at(MOUTH), bright, 2).drop_hw.max() < 1e-6


@pytest.mark.parametrize("patch", [1, 2, 7, 47])
def test_every_pixel_is_covered(bright: np.ndarray, patch: int) -> None:
    drop = occlude(Looks(np.full((48, 48), 1 / 48**2)), bright, 0, patch).drop_hw
    assert np.isfinite(drop).all()
    assert drop[MOUTH].min() > 0


@pytest.mark.parametrize("patch", [0, -3, 48, 100])
def test_impossible_patches_are_refused(bright: np.ndarray, patch: int) -> None:
    with pytest.raises(ConfigError, match=f"patch: {patch} is out of range 1 to 47 pixels"):
        occlude(Looks.at(MOUTH), bright, 0, patch)


def test_log_odds_do_not_round_a_sure_answer(rng: np.random.Generator) -> None:
    logits = rng.normal(0, 3, (50, 4)).astype(np.float32)
    p = softmax(logits)[:, 1].astype(np.float64)
    np.testing.assert_allclose(log_odds(logits, 1), np.log(p / (1 - p)), atol=1e-4)
    sure = log_odds(np.array([[60, 0], [61, 0]], np.float32), 0)
    np.testing.assert_allclose(sure, [60, 61])
    assert default_patch(48) == 10


def test_maps_that_follow_the_weights_pass(noise: np.ndarray, weights_hw: np.ndarray) -> None:
    done = explain(Looks(weights_hw), noise[None], draws=5)
    assert done.sanity is not None
    assert done.sanity.passes("Grad-CAM")
    assert done.sanity.passes(OCCLUSION)
    assert done.sanity.levels[-1].similarity[OCCLUSION].n == 5


class ShowsNothing(Looks):
    """Its Grad-CAM has no place that speaks for the label, as of an untrained network."""

    def grad_cam(self, crops_nhw: np.ndarray, y_pred_n: np.ndarray, side: int) -> np.ndarray:
        return -np.abs(super().grad_cam(crops_nhw, y_pred_n, side))


def test_an_empty_map_neither_passes_nor_fails(noise: np.ndarray, weights_hw: np.ndarray) -> None:
    done = explain(ShowsNothing(weights_hw), noise[None], draws=2)
    assert done.sanity is not None
    assert done.sanity.empty == {"Grad-CAM"}
    assert not done.sanity.passes("Grad-CAM")
    values = done.to_dict()
    assert values["sanity"]["passes"] == {"Grad-CAM": None, "occlusion": True}
    assert values["faces"][0]["empty_maps"] == ["Grad-CAM"]
    text = page(done, ["a.png"], Sheets())
    assert "Grad-CAM is empty" in text
    assert "Grad-CAM passes" not in text


def test_an_unsure_answer_is_called_so(noise: np.ndarray, weights_hw: np.ndarray) -> None:
    model = Looks(weights_hw)
    model.info = replace(model.info, unsure_below=1.0)
    done = explain(model, noise[None], draws=0)
    explained = model.info.labels[done.faces[0].label_index]
    assert done.to_dict()["faces"][0]["label"] == "unsure"
    assert f"{explained} (the prediction is unsure)" in page(done, ["a.png"], Sheets())
    sure = replace(model.info, unsure_below=0.0)
    assert done.faces[0].title(sure) == explained


def test_maps_that_ignore_the_weights_fail(noise: np.ndarray, weights_hw: np.ndarray) -> None:
    done = explain(ShowsEdges(weights_hw), noise[None], draws=2)
    assert done.sanity is not None
    assert not done.sanity.passes("Grad-CAM")
    assert done.sanity.passes(OCCLUSION)
    alike = done.sanity.levels[-1].similarity["Grad-CAM"]
    assert (alike.spearman, alike.spearman_absolute, alike.ssim) == pytest.approx((1, 1, 1))
    text = page(done, ["a.png"], Sheets())
    assert "Grad-CAM fails the sanity check" in text
    assert "occlusion passes the sanity check" in text


def test_similarity_of_maps(rng: np.random.Generator) -> None:
    a = rng.normal(size=(48, 48)).astype(np.float32)
    b = rng.normal(size=(48, 48)).astype(np.float32)
    flat = np.zeros_like(a)
    turned = sanity.compare(a, -a)
    assert (turned.spearman, turned.spearman_absolute) == pytest.approx((-1, 1))
    other = sanity.compare(a, b)
    assert abs(other.spearman) < 0.1
    assert abs(other.ssim) < 0.2
    assert sanity.compare(a, flat).spearman == 0
    assert sanity.compare(flat, flat).spearman == 1  # a map that did not change at all
    scaled = sanity.compare(a, 3 * a)
    assert scaled.ssim == pytest.approx(1, abs=1e-5)


def test_the_cascade_ends_with_all_layers() -> None:
    assert sanity.cascade(1) == [1]
    assert sanity.cascade(3) == [1, 2, 3]
    assert sanity.cascade(13) == [1, 4, 7, 10, 13]


def test_numbers_for_people_have_no_negative_zero() -> None:
    assert [sanity.signed(v) for v in (-0.001, 0.004, -0.5)] == ["+0.00", "+0.00", "-0.50"]


def test_redrawn_weights_keep_their_scale(rng: np.random.Generator) -> None:
    weights = rng.normal(0.3, 2.0, (64, 32, 3, 3)).astype(np.float32)
    drawn = redraw(weights, seed=1, layer=4)
    assert drawn.dtype == np.float32
    assert drawn.shape == weights.shape
    assert float(drawn.mean()) == pytest.approx(0.3, abs=0.05)
    assert float(drawn.std()) == pytest.approx(2.0, rel=0.02)
    assert abs(np.corrcoef(drawn.ravel(), weights.ravel())[0, 1]) < 0.02
    assert (drawn == redraw(weights, seed=1, layer=4)).all()
    assert (drawn != redraw(weights, seed=2, layer=4)).any()
    assert (drawn != redraw(weights, seed=1, layer=5)).any()


def test_settings_that_cannot_be(bright: np.ndarray) -> None:
    model = Looks.at(MOUTH)
    with pytest.raises(ConfigError, match="does not know the label 'hapy'") as told:
        explain(model, bright[None], label="hapy")
    assert told.value.hint.startswith("did you mean 'happy'?")
    with pytest.raises(ConfigError, match="no feature maps of 7x7 cells"):
        choose_side(model, 7)
    with pytest.raises(ConfigError, match="draws: -1 is out of range, 0 or more"):
        explain(model, bright[None], draws=-1)


def test_the_label_asked_for_is_explained(bright: np.ndarray) -> None:
    done = explain(Looks.at(MOUTH), np.stack([bright, bright]), label="sad", draws=0)
    assert [face.label_index for face in done.faces] == [2, 2]
    assert done.sanity is None
    assert done.to_dict()["faces"][0]["explained"] == "sad"


def test_thirds() -> None:
    map_hw = np.zeros((48, 48), np.float32)
    map_hw[40] = 3
    map_hw[0] = 1
    map_hw[20] = -9
    assert thirds(map_hw) == {"upper": 0.25, "middle": 0.0, "lower": 0.75}
    assert thirds(0 * map_hw) == {"upper": 0.0, "middle": 0.0, "lower": 0.0}


def test_an_overlay_colours_only_where_the_map_speaks(bright: np.ndarray) -> None:
    map_hw = np.zeros((48, 48), np.float32)
    map_hw[MOUTH] = 2.0
    map_hw[:8] = -2.0
    pixels = overlay(bright, map_hw, signed=False, size=96).astype(int)
    coloured = np.ptp(pixels, axis=2) > 20
    assert coloured[68:76, 40:56].all()
    assert not coloured[:56].any()
    both = overlay(bright, map_hw, signed=True, size=96).astype(int)
    assert (both[2:10, :, 2] > both[2:10, :, 0]).all()  # blue: covering helps
    assert (both[68:76, 40:56, 0] > both[68:76, 40:56, 2]).all()  # red: covering costs


def reading(answer: str = "happy") -> FaceReading:
    return FaceReading((1.0, 2.0, 30.0, 40.0), 1.0, answer, 0.9, {answer: 0.9})


def test_the_folder(noise: np.ndarray, weights_hw: np.ndarray, tmp_path: Path) -> None:
    done = explain(Looks(weights_hw), np.stack([noise, noise[:, ::-1]]), draws=1)
    found = [("a <b>/me.png", reading()), ("a <b>/me.png", reading())]
    values = write_folder(tmp_path / "out", done, found)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "explanation-me-2.png", "explanation-me.png", "explanation.json", "features-me-2.png",
        "features-me.png", "index.html", "kernels.png", "maps.npz",
    ]  # fmt: skip
    assert json.loads((tmp_path / "out" / "explanation.json").read_text()) == values
    assert values["faces"][1]["files"] == ["explanation-me-2.png", "features-me-2.png"]
    assert values["sanity"]["passes"] == {"Grad-CAM": True, "occlusion": True}
    with np.load(io.BytesIO((tmp_path / "out" / "maps.npz").read_bytes())) as arrays:
        assert arrays["occlusion_nhw"].shape == (2, 48, 48)
        np.testing.assert_array_equal(arrays["crops_nhw"][0], noise)
    with Image.open(tmp_path / "out" / "explanation-me.png") as drawing:
        assert drawing.width > 1000
        assert np.asarray(drawing.convert("L")).std() > 20
    html = (tmp_path / "out" / "index.html").read_text()
    assert "a &lt;b&gt;/me.png, face 2" in html
    assert "<b>/me" not in html
    assert not re.search(r"(src|href)=.?(?!\"data:)[\w./:\"]", html.replace('src="data:', "@"))
    assert not re.search(r"https?://", html)
    assert html.count("<img ") == html.count(' alt="')


def test_names_of_files_never_collide() -> None:
    assert file_names(["a/x.png", "b/x.jpg", "x-2.png", "x.png"]) == ["x", "x-2", "x-2-2", "x-3"]


def test_a_change_is_told_with_as_many_digits_as_show_it(bright: np.ndarray) -> None:
    found = occlude(Looks.at(MOUTH), bright, 0)
    assert re.fullmatch(r"from \d\d\.\d% to \d\d\.\d%", change(found))
    from dataclasses import replace

    assert change(replace(found, before=0.99992, after=0.99961)) == "from 99.99% to 99.96%"
    assert change(replace(found, before=2e-9, after=1e-9)) == "from 2.0e-09 to 1.0e-09"


def test_a_graph_without_convolutions_has_occlusion_only(bright: np.ndarray) -> None:
    model = OnnxExplainable(tiny_model(tiny_info().to_metadata()), "tiny")
    assert model.sides == ()
    assert model.layers == ("weights",)
    assert model.kernels().shape == (0, 0, 0)
    done = explain(model, bright[None], label="sad", draws=2)  # the lower half's brightness
    assert done.faces[0].grad_cam_hw is None
    assert list(done.faces[0].maps) == [OCCLUSION]
    assert np.unravel_index(done.faces[0].occlusion.drop_hw.argmax(), (48, 48))[0] >= 24
    assert done.sanity is not None
    assert done.sanity.methods == (OCCLUSION,)
    assert "First-layer kernels" not in page(done, ["x"], Sheets())

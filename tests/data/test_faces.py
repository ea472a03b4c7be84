"""Photos become training faces: by a detector that finds bright squares, and by the real one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from PIL import Image

from mien.data.dataset import Dataset, load_dataset
from mien.data.drawn import HAIRS, Person, draw_face
from mien.data.prepare import PrepareOptions, prepare
from mien.errors import ConfigError, DataError
from mien.imaging.crop import Framing, crop_faces, crop_whole
from mien.types import Faces

FRAMING = Framing(scale=1.2, shift_x=0.05)


class SquareFinder:
    """Finds squares of pure red, and calls them faces: from left to right, as detectors do."""

    name = "squares"
    framing = FRAMING

    def detect(self, image_hwc: np.ndarray) -> Faces:
        red = (image_hwc[..., 0] > 250) & (image_hwc[..., 1] < 5)
        columns = np.flatnonzero(red.any(axis=0))
        if not len(columns):
            return Faces.none()
        boxes = []
        for run in np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1):
            rows = np.flatnonzero(red[:, run[0]])
            boxes.append([run[0], rows[0], run[-1] + 1, rows[-1] + 1])
        n = len(boxes)
        marks = np.arange(n * 10, dtype=np.float32).reshape(n, 5, 2)
        return Faces(np.array(boxes, np.float32), np.full(n, 0.9, np.float32), marks)


def textured(rng: np.random.Generator, width: int = 320, height: int = 240) -> np.ndarray:
    small = rng.integers(0, 240, (9, 12, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def photo(path: Path, *faces: tuple[int, int, int], background: np.ndarray) -> None:
    """Write a background with red squares (x, y, side), and something of its own in each."""
    image = np.minimum(background, 240)
    rng = np.random.default_rng(crc32(path.name.encode()))
    for x, y, side in faces:
        image[y : y + side, x : x + side] = (255, 0, 0)
        inner = rng.integers(0, 255, (side - 4, side - 4))
        image[y + 2 : y + side - 2, x + 2 : x + side - 2, 2] = inner
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """24 photos with one face each, on one background; and three that are not so clear."""
    rng, root = np.random.default_rng(1), tmp_path / "photos"
    background = textured(rng)
    for i in range(24):
        x, y = (int(v) for v in rng.integers(0, 160, 2))
        face = (x, y, 64 + i % 4)
        photo(root / ("happy", "sad")[i % 2] / f"{i:02d}.png", face, background=background)
    photo(root / "happy" / "empty.png", background=textured(rng))
    photo(root / "sad" / "two.png", (10, 20, 60), (150, 20, 50), background=textured(rng))
    photo(root / "sad" / "group.png", (10, 20, 90), (150, 20, 40), background=textured(rng))
    return root


def imported(source: Path, out: Path, faces: str = "auto", size: int = 48) -> Dataset:
    options = PrepareOptions(faces=faces, size=size, validation=0.25)
    prepare(source, out, options, make_detector=SquareFinder)
    return load_dataset(out)


def test_photos_are_cropped_as_prediction_crops_them(photos: Path, tmp_path: Path) -> None:
    data = imported(photos, tmp_path / "out")
    faces = data.facts["faces"]
    assert (faces["mode"], faces["detector"]) == ("find", "squares")
    assert faces["why"].startswith("photos: a face was found in 26 of 27 sampled images")
    assert len(data) == 25
    row = data.sources_n.tolist().index("sad/group.png")  # the largest is clearly the subject
    image = np.asarray(Image.open(photos / "sad" / "group.png"))
    box = np.array([[10, 20, 100, 110]], np.float32)
    assert np.array_equal(data.images_nhw[row], crop_faces(image, box, FRAMING, 48)[0])
    assert data.facts["duplicate_images"] == 0
    whole = imported(photos, tmp_path / "whole", "whole")
    assert whole.facts["duplicate_images"] >= 2, "the shared background made duplicates of photos"


def test_images_without_a_clear_face_are_listed_and_shown(photos: Path, tmp_path: Path) -> None:
    data = imported(photos, tmp_path / "out")
    about = {w["kind"]: w["examples"] for w in data.facts["warnings"]}
    assert about["no-face"] == ["happy/empty.png"]
    assert about["several-faces"] == ["sad/two.png"]
    skipped = (tmp_path / "out" / "skipped.csv").read_text()
    assert "happy/empty.png,no face was found in it,no-face" in skipped
    page = (tmp_path / "out" / "import.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 27
    assert page.index("happy/empty.png") < page.index("sad/two.png") < page.index("happy/00.png")


def test_the_manifest_keeps_where_the_face_lies(photos: Path, tmp_path: Path) -> None:
    from pyarrow import parquet

    imported(photos, tmp_path / "out", size=64)
    rows = parquet.read_table(tmp_path / "out" / "manifest.parquet").to_pylist()
    row = next(r for r in rows if r["source"] == "sad/group.png")
    assert (row["source_width"], row["source_height"]) == (320, 240)
    assert row["face_box"] == [10, 20, 100, 110]
    assert row["face_score"] == pytest.approx(0.9)
    assert row["face_landmarks"] == list(range(10))
    assert load_dataset(tmp_path / "out").images_nhw.shape[1:] == (64, 64)


def test_small_crops_are_read_whole_without_a_detector(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (24, 48, 48)).astype(np.uint8)
    for i, image in enumerate(images):
        path = tmp_path / "faces" / ("happy", "sad")[i % 2] / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)

    def none() -> SquareFinder:
        raise AssertionError("no detector is needed")

    out = prepare(tmp_path / "faces", tmp_path / "out", PrepareOptions(), make_detector=none)
    assert np.array_equal(out.images_nhw, np.concatenate([images[::2], images[1::2]]))
    assert out.facts["faces"]["mode"] == "whole"
    assert not (tmp_path / "out" / "import.html").exists()
    assert out.facts["warnings"] == []


def test_large_crops_are_read_whole(tmp_path: Path) -> None:
    rng, root = np.random.default_rng(2), tmp_path / "crops"
    for i in range(24):
        path = root / ("happy", "sad")[i % 2] / f"{i}.png"
        photo(path, (5, 5, 85 - i % 3), background=textured(rng, 96, 96))
    out = imported(root, tmp_path / "out")
    assert out.facts["faces"]["mode"] == "whole"
    assert out.facts["faces"]["why"].startswith("face crops: a face was found in 24 of 24")
    first = np.asarray(Image.open(root / "happy" / "0.png"))
    assert np.array_equal(out.images_nhw[0], crop_whole(first, 48))


def test_a_tight_crop_among_photos_is_taken_whole(photos: Path, tmp_path: Path) -> None:
    class Shy(SquareFinder):
        """Sees no face that touches the edge of the image."""

        def detect(self, image_hwc: np.ndarray) -> Faces:
            faces = super().detect(image_hwc)
            inside = len(faces) and faces.boxes_xyxy.min() > 0
            return faces if inside else Faces.none()

    tight = np.zeros((80, 80, 3), np.uint8)
    tight[:, :] = (255, 0, 0)
    # Repeated edge pixels would be red too: the face ends where the next pixel is another.
    tight[[0, -1]], tight[:, [0, -1]] = 9, 9
    Image.fromarray(tight).save(photos / "happy" / "tight.png")

    class Blind(Shy):
        def detect(self, image_hwc: np.ndarray) -> Faces:
            small = image_hwc.shape[:2] == (80, 80)
            return Faces.none() if small else super().detect(image_hwc)

    prepare(photos, tmp_path / "out", PrepareOptions(), make_detector=Blind)
    out = load_dataset(tmp_path / "out")
    row = out.sources_n.tolist().index("happy/tight.png")
    assert np.array_equal(out.images_nhw[row], crop_whole(tight, 48))


def test_images_in_which_nothing_is_found_are_not_taken_in_silence(tmp_path: Path) -> None:
    rng, root = np.random.default_rng(3), tmp_path / "scenes"
    for i in range(24):
        photo(root / ("happy", "sad")[i % 2] / f"{i}.png", background=textured(rng))
    out = imported(root, tmp_path / "out")
    assert [w["kind"] for w in out.facts["warnings"]] == ["faces"]
    assert "a face was found in 0 of 24 sampled" in out.facts["warnings"][0]["message"]
    with pytest.raises(DataError, match="24 images were skipped: no face was found") as caught:
        imported(root, tmp_path / "find", "find")
    assert "faces='whole'" in caught.value.hint
    without = prepare(root, tmp_path / "none", PrepareOptions())
    assert "no face detector was given" in without.facts["warnings"][0]["message"]


def test_invalid_modes(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="faces: unknown value 'fnd'") as caught:
        imported(photos, tmp_path / "out", "fnd")
    assert "did you mean 'find'?" in caught.value.hint
    with pytest.raises(ConfigError, match="needs a face detector"):
        prepare(photos, tmp_path / "out", PrepareOptions(faces="find"))
    np.savez(tmp_path / "a.npz", images=np.zeros((4, 48, 48), np.uint8), labels=np.zeros(4, int))
    with pytest.raises(ConfigError, match="'find' needs image files"):
        imported(tmp_path / "a.npz", tmp_path / "out", "find")


# What a user with own photos does, with the real detector and the shipped model.


def scene(label: str, rng: np.random.Generator) -> np.ndarray:
    """Draw a photo: a person of the kind that the detector knows best, somewhere before a wall."""
    person = replace(
        Person.make(rng),
        glasses=True,
        length=rng.uniform(1.3, 1.4),
        eye_size=rng.uniform(0.055, 0.066),
        mouth_width=rng.uniform(0.17, 0.22),
        hair=HAIRS[int(rng.integers(3))],
        eye_gap=rng.uniform(0.21, 0.25),
    )
    image = textured(rng).copy()
    face = draw_face(label, rng, 104, person)
    x, y = int(rng.integers(0, 320 - 104)), int(rng.integers(0, 240 - 104))
    image[y : y + 104, x : x + 104] = face
    return image


def fine_tuned(data: Path, run_path: Path) -> tuple[float, Path]:
    """Fine-tune mien-small; return its accuracy on validation, and the exported model."""
    from mien.evaluate.evaluate import evaluate
    from mien.publish.export import export_run
    from mien.train.loop.fit import fit
    from mien.train.recipe.find import find_recipe
    from mien.train.recipe.recipe import load_recipe
    from mien.train.run.folder import create_run, load_scorer

    settings = ["labels=happy,sad", "fit.epochs=5", "fit.threads=1"]
    dataset = load_dataset(data)
    recipe = load_recipe(find_recipe(Path("finetune")), settings)
    fit(create_run(run_path, recipe, dataset, data), dataset)
    raw = evaluate(load_scorer(run_path), dataset, "validation").raw
    assert raw is not None
    model = run_path.with_suffix(".onnx")
    export_run(run_path, model, dataset)
    return raw.headlines["accuracy"].value, model


def test_photos_to_a_model_that_reads_new_photos(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from mien import Reader
    from mien.predict.detectors.registry import make_detector

    rng = np.random.default_rng(7)
    for i in range(40):
        path = tmp_path / "photos" / ("happy", "sad")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene(("happy", "sad")[i % 2], rng)).save(path)
    new = [(label, scene(label, rng)) for label in ("happy", "sad") * 8]
    results = {}
    for faces in ("auto", "whole"):
        options = PrepareOptions(faces=faces, validation=0.4)
        made = prepare(tmp_path / "photos", tmp_path / faces, options, make_detector=make_detector)
        assert made.facts["faces"]["mode"] == {"auto": "find", "whole": "whole"}[faces]
        accuracy, model = fine_tuned(tmp_path / faces, tmp_path / f"run-{faces}")
        reader = Reader(model, min_confidence=0)
        answers = [(label, face) for label, image in new for face in reader.read(image).faces]
        right = all(face.label == label for label, face in answers)
        sure = float(np.mean([face.probabilities[label] for label, face in answers]))
        results[faces] = (accuracy, right, sure)
        assert len(answers) >= 6
    accuracy, right, sure = results["auto"]
    assert accuracy >= 0.9
    assert right
    assert sure > 0.9
    accuracy, _, sure = results["whole"]  # backgrounds teach nothing, and the model knows it
    assert accuracy < 0.9
    assert sure < 0.8

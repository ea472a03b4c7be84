"""Files that mien writes fit the JSON Schemas in docs/schemas, and the schemas fit the types."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.conftest import ROOT, run_mien
from tests.video.clips import write_clip

from mien.data.columns import MANIFEST_COLUMNS
from mien.data.dataset import Dataset, save_dataset
from mien.data.drawn import draw_face
from mien.data.prepare import PrepareOptions, prepare
from mien.doctor.run_diagnostics import run_diagnostics
from mien.model.info import METADATA_KEY
from mien.model.resolve import resolve
from mien.publish.export import export_run
from mien.publish.hub import make_manifest
from mien.train.loop.fit import fit
from mien.train.recipe.find import find_recipe
from mien.train.recipe.recipe import load_recipe
from mien.train.run.folder import RunFolder, create_run
from mien.video.people.file import People
from mien.video.people.parts import Embedding, Person, TrackPart

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
SCHEMAS = ROOT / "docs" / "schemas"
NAMES = sorted(path.name.removesuffix(".schema.json") for path in SCHEMAS.glob("*.json"))


def load(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((SCHEMAS / f"{name}.schema.json").read_text("utf-8"))
    return schema


def closed(schema: Any) -> Any:
    """Return the schema without room for further keys, so that an undocumented key is found."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {key: closed(part) for key, part in schema.items()}
    if "required" in parts:  # an object whose keys are listed
        parts.setdefault("additionalProperties", False)
    return parts


def check(name: str, value: Any) -> None:
    jsonschema.Draft202012Validator(closed(load(name))).validate(value)


def refuses(name: str, value: Any) -> bool:
    return not jsonschema.Draft202012Validator(load(name)).is_valid(value)


@pytest.fixture(scope="module")
def drawn_folder(drawn: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "drawn"
    save_dataset(drawn, folder)
    return folder


@pytest.fixture(scope="module")
def run(drawn: Dataset, drawn_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    settings = ["network.width=4", "network.hidden=16", "fit.epochs=2", "fit.threads=1",
                "optimizer.lr=0.00001"]  # fmt: skip
    recipe = load_recipe(find_recipe(Path("poster")), settings)
    run = create_run(tmp_path_factory.mktemp("runs") / "one", recipe, drawn, drawn_folder)
    fit(run, drawn)
    run_diagnostics(run, drawn)
    return run


@pytest.mark.parametrize("name", NAMES)
def test_each_schema_is_a_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(load(name))


def test_the_schemas_and_their_page_are_those_of_the_types() -> None:
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        from file_schemas import files
    finally:
        sys.path.pop(0)
    expected = files()
    for path, text in expected.items():
        assert path.read_text("utf-8") == text, "run: python tools/file_schemas.py --write"
    assert {p.name for p in expected if p.suffix == ".json"} == {p.name for p in SCHEMAS.iterdir()}


def test_readings(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, examples: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    code, out, _ = run_mien(
        capsys, monkeypatch, "predict", examples, broken, "--json", "--coverage", "0.95"
    )
    assert code == 1
    readings = json.loads(out)
    assert [len(one["faces"]) for one in readings] == [1, 1, 0]
    for one in readings:
        check("reading", one)
    for key, wrong in (("turn", 45), ("faces", None), ("width", "512")):
        assert refuses("reading", {**readings[0], key: wrong})
    assert refuses("reading", {k: v for k, v in readings[0].items() if k != "error"})


def test_rows_of_videos(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, examples: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    face = np.asarray(Image.open(examples / "astronaut.jpg").convert("RGB"))
    clip = write_clip(tmp_path / "clip.mp4", [face] * 20 + [np.zeros_like(face)] * 20)
    code, out, _ = run_mien(capsys, monkeypatch, "video", clip, "--json", "--every", "1")
    assert code == 0
    rows = [json.loads(line) for line in out.splitlines()]
    assert {row["track"] for row in rows} == {1, None}
    for row in rows:
        check("video-row", row)
    assert refuses("video-row", {**rows[0], "track": "1"})
    assert refuses("video-row", {**rows[0], "p_happy": "much"})


def test_a_run_folder(run: RunFolder) -> None:
    def parsed(name: str) -> Any:
        return json.loads((run.path / name).read_text("utf-8"))

    for name, file in {
        "run-config": "config.json", "run-status": "status.json", "run-findings": "doctor.json",
        "run-checkpoint": "checkpoints/last.json",
    }.items():  # fmt: skip
        check(name, parsed(file))
    check("run-checkpoint", parsed("checkpoints/best.json"))
    for name, file in {"run-metrics": "metrics.jsonl", "run-signals": "signals.jsonl"}.items():
        lines = (run.path / file).read_text("utf-8").splitlines()
        assert len(lines) == 2
        for line in lines:
            check(name, json.loads(line))
    # So small a learning rate is a finding: the list that was checked is not empty.
    assert parsed("doctor.json")["findings"]
    config = parsed("config.json")
    wrong = copy.deepcopy(config)
    wrong["recipe"]["augment"]["flip"] = 1.5
    assert refuses("run-config", wrong)
    assert refuses("run-config", {**config, "schema": 1})
    assert refuses("run-status", {**parsed("status.json"), "status": "asleep"})


def test_datasets(drawn_folder: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for label in ("happy", "sad"):
        for number in range(12):
            path = tmp_path / "faces" / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw_face(label, rng, size=48)).save(path)
    prepare(tmp_path / "faces", tmp_path / "imported", PrepareOptions(faces="whole"))
    seen: set[str] = set()
    for folder in (drawn_folder, tmp_path / "imported"):
        about = json.loads((folder / "dataset.json").read_text("utf-8"))
        check("dataset", about)
        for row in _manifest(folder):
            # A source's further columns, such as skin_tone, are text.
            own = {key: value for key, value in row.items() if key in MANIFEST_COLUMNS}
            check("manifest-row", own)
            assert all(isinstance(v, str) for k, v in row.items() if k not in own)
            seen |= set(own)
        assert refuses("dataset", {**about, "fingerprint": "none"})
    assert "face_box" in seen
    assert set(load("manifest-row")["properties"]) == MANIFEST_COLUMNS


def _manifest(folder: Path) -> list[dict[str, Any]]:
    from pyarrow import parquet

    rows: list[dict[str, Any]] = parquet.read_table(folder / "manifest.parquet").to_pylist()
    return rows


@pytest.mark.parametrize(
    "name", ["mien-small", "mien-base", "mien-tiny", "mien-tiny-int8", "mien-small-int8"]
)
def test_shipped_models(name: str) -> None:
    check("model-info", _metadata(resolve(name).read()))


def test_an_exported_model(run: RunFolder, drawn: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "own.onnx"
    export_run(run.path, path, drawn)
    values = _metadata(path.read_bytes())
    check("model-info", values)
    assert refuses("model-info", {**values, "labels": "happy"})
    assert refuses("model-info", {**values, "colour": "rgb"})


def _metadata(content: bytes) -> Any:
    import onnx

    properties = {p.key: p.value for p in onnx.load_from_string(content).metadata_props}
    return json.loads(properties[METADATA_KEY])


def test_a_manifest_on_a_hub() -> None:
    value = json.loads(make_manifest("own", {"model.onnx": b"x", "README.md": b"y"}))
    check("hub-manifest", value)
    value["files"]["README.md"]["sha256"] = "0"
    assert refuses("hub-manifest", value)


def test_people(tmp_path: Path) -> None:
    people = People(
        Embedding("dlib-face", 0.9),
        (Person("P1", "Anna", (TrackPart("a.mp4", 1, None, 2.5),)),),
        (TrackPart("a.mp4", 1, 2.5),),
        (TrackPart("b.mp4", 2),),
        last_id=4,
    )
    people.save(tmp_path)
    content = json.loads((tmp_path / "people.json").read_text("utf-8"))
    check("people", content)
    for key, wrong in (("people", None), ("unknown", [{"source": "a.mp4"}]), ("schema", 2)):
        with pytest.raises(jsonschema.ValidationError):
            check("people", {**content, key: wrong})

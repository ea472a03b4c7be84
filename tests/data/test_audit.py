from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.cli import main as cli
from mien.data.audit.apply import apply_table
from mien.data.audit.audit import Audit, Tools, audit
from mien.data.audit.page import page
from mien.data.audit.problem import CHECKS, Problem
from mien.data.audit.quality import check_quality, modified_z
from mien.data.audit.table import to_csv, to_json
from mien.data.audit.wrong_labels import check_labels, left_out_opinions
from mien.data.drawn import draw_collection
from mien.data.manifest import load_dataset
from mien.data.sources.collection import Collection
from mien.errors import DataError

HEADER = "source,sha256,label,check,severity,detail,action,new_label\n"


def mien(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object
) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["mien", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.run()
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, err


def textures(n: int, seed: int = 0) -> np.ndarray:
    """Pictures that resemble one another in nothing: smooth noise with fine detail."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(40, 215, (n, 8, 8)).astype(np.uint8)
    images = [np.asarray(Image.fromarray(c).resize((48, 48), Image.Resampling.BICUBIC), float)
              for c in coarse]  # fmt: skip
    return np.clip(np.stack(images) + rng.normal(0, 12, (n, 48, 48)), 0, 255).astype(np.uint8)


def collection(images: np.ndarray, **changes: object) -> Collection:
    n = len(images)
    values: dict[str, object] = {
        "name": "mine",
        "images_nhw": images,
        "label_names": ("happy", "neutral", "sad"),
        "labels_n": np.arange(n) % 3,
        "sources_n": np.array([f"{i:03d}.png" for i in range(n)]),
        "splits_n": np.array([""] * n),
        "subjects_n": np.array([""] * n),
    }
    return Collection(**{**values, **changes})  # type: ignore[arg-type]


def by_check(found: Audit, check: str) -> list[Problem]:
    return [problem for problem in found.problems if problem.check == check]


def rows(found: Audit, check: str) -> set[int]:
    return {problem.row for problem in by_check(found, check)}


def jpeg(image: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=50)
    return np.asarray(Image.open(buffer))


def cropped(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((48, 48), box=(1, 1.5, 46.6, 47.1)))


def test_planted_copies_are_found_and_nothing_else_is() -> None:
    images = textures(80)
    images[70] = images[0]
    images[71] = images[1][:, ::-1]
    images[72] = cropped(images[2])
    images[73] = jpeg(images[3])
    images[74] = np.clip(images[4] * 0.9 + 20, 0, 255).astype(np.uint8)
    found = audit(collection(images), Tools())
    assert rows(found, "exact-copy") <= {0, 70}
    assert rows(found, "exact-copy")
    near = {frozenset((p.row, p.other)) for p in by_check(found, "near-copy")}
    assert near == {frozenset(pair) for pair in ((1, 71), (2, 72), (3, 73), (4, 74))}
    # 70 % 3 = 1 and 0 % 3 = 0: the two bear different labels.
    assert {0, 70} <= rows(found, "conflict")


def test_a_leak_is_measured_with_its_interval() -> None:
    images = textures(60)
    images[50:55] = images[:5]
    splits = np.array(["train"] * 40 + ["test"] * 20)
    found = audit(collection(images, splits_n=splits), Tools())
    (leak,) = found.leaks
    assert (leak.split, leak.n, leak.copied, leak.exact) == ("test", 20, 5, 5)
    assert leak.share.low < 0.25 < leak.share.high
    assert rows(found, "copy-across-splits") == set(range(5))
    clean = audit(collection(textures(60), splits_n=splits), Tools())
    assert clean.leaks[0].copied == 0


def test_pictures_that_show_nothing_are_found() -> None:
    images = textures(60)
    images[0], images[1], images[2] = 0, 255, 128
    images[3, :, :30] = 255
    found = check_quality(images)
    kinds = {(p.row, p.check) for p in found}
    assert {(0, "blank"), (1, "blank"), (2, "blank"), (3, "mostly-flat")} <= kinds
    assert {p.action for p in found if p.check == "blank"} == {"drop"}
    assert {p.action for p in found if p.check == "mostly-flat"} == {"keep"}


def test_blur_and_exposure_are_judged_within_the_collection() -> None:
    images = textures(80)
    small = Image.fromarray(images[0]).resize((6, 6), Image.Resampling.BOX)
    images[0] = np.asarray(small.resize((48, 48), Image.Resampling.BICUBIC))
    images[1] = images[1] // 6
    images[2] = 200 + images[2] // 5
    kinds = {(p.row, p.check) for p in check_quality(images)}
    assert {(0, "blurred"), (1, "too-dark"), (2, "too-bright")} <= kinds
    assert len({row for row, _ in kinds}) < 8


def test_a_few_pictures_have_no_outliers() -> None:
    assert not modified_z(np.array([1.0, 1.0, 50.0])).any()
    values = np.r_[np.zeros(29), 1.0, -1.0, 100.0]
    assert not modified_z(np.ones(100)).any()
    assert abs(modified_z(np.r_[np.arange(40.0), 500.0])[-1]) > 3.5
    assert len(values) == len(modified_z(values))


def test_planted_wrong_labels_are_found_without_calling_many_others() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(3, size=600)
    features = np.eye(3)[truth] * 4 + rng.normal(size=(600, 3))
    labels = truth.copy()
    wrong = rng.choice(600, 60, replace=False)
    labels[wrong] = (labels[wrong] + 1) % 3
    names = ("happy", "neutral", "sad")
    opinions = left_out_opinions(
        features.astype(np.float32), labels, names, np.arange(600), np.array([""] * 600)
    )
    found = {p.row for p in check_labels(opinions, labels, names)}
    hits = len(found & set(wrong.tolist()))
    assert hits >= 50
    assert len(found) - hits <= 12


def test_copies_stay_in_one_fold_so_that_a_model_is_not_asked_what_it_learnt() -> None:
    # Every picture has a copy with the same label; features are noise, so that only a copy in
    # training could tell the label.
    rng = np.random.default_rng(1)
    half = rng.normal(size=(150, 16))
    labels = np.tile(rng.integers(3, size=150), 2)
    opinions = left_out_opinions(
        np.concatenate([half, half]).astype(np.float32), labels, ("a", "b", "c"),
        np.tile(np.arange(150), 2), np.array([""] * 300),
    )  # fmt: skip
    right = opinions.probs_mk.argmax(axis=1) == labels[opinions.rows]
    assert right.mean() < 0.5


class Finder:
    """Knows the pictures whose mean is above 100 as faces."""

    def scores(self, crops: np.ndarray) -> np.ndarray:
        return (crops.mean(axis=(1, 2)) > 100).astype(np.float32)

    def has_face(self, crop: np.ndarray) -> bool:
        return bool(crop.mean() > 60)


def test_only_what_the_detector_doubts_and_does_not_find_is_faceless() -> None:
    images = textures(60)
    images[:] = np.clip(images.astype(int) + 20, 110, 255)
    images[7] = np.clip(textures(1, 9)[0].astype(int) // 3, 5, 90)
    images[8] = np.clip(textures(1, 8)[0].astype(int) // 2 + 20, 5, 99)
    found = audit(collection(images), Tools(faces=Finder()))
    assert rows(found, "faceless") == {7}
    dark = audit(collection(textures(60) // 3 + 5), Tools(faces=Finder()))
    assert "does not know pictures of this kind" in dark.not_checked["faceless"]


def test_votes_against_the_label_are_listed() -> None:
    votes = np.array([[9, 1, 0], [1, 9, 0], [5, 5, 0]] * 20, np.float32)
    found = audit(
        collection(
            textures(60), labels_n=np.zeros(60, np.int64), votes_nk=votes,
            vote_names=("happy", "neutral", "sad"),
        ),
        Tools(),
    )  # fmt: skip
    assert rows(found, "votes-disagree") == set(range(1, 60, 3))


@pytest.fixture
def audited() -> Audit:
    images = textures(60)
    images[5] = 0
    images[50] = images[0]
    return audit(collection(images, name="a <b>"), Tools())


def test_page_table_and_json_tell_the_same(audited: Audit) -> None:
    html, table, values = page(audited), to_csv(audited), to_json(audited)
    assert "a &lt;b&gt;" in html
    assert "<script" not in html
    assert "http" not in html
    assert "prefers-color-scheme: dark" in html
    assert html.count("data:image/") >= 2
    listed = list(csv.DictReader(io.StringIO(table)))
    assert len(listed) == len(audited.problems) == len(values["problems"])
    assert [r["action"] for r in listed if r["check"] == "blank"] == ["drop"]
    assert set(values["counts"]) <= set(CHECKS)
    assert values["counts"]["blank"] == 1
    json.dumps(values, allow_nan=False)


def test_the_table_is_obeyed(audited: Audit, tmp_path: Path) -> None:
    table = tmp_path / "audit.csv"
    source, row = audited.collection, 9
    table.write_text(
        to_csv(audited)
        + f"{source.sources_n[row]},{audited.sha256_n[row]},happy,x,note,,relabel,Sad\n"
    )
    changed, counts = apply_table(source, table)
    assert counts == {"audit_dropped": 1, "audit_relabelled": 1}
    assert "005.png" not in changed.sources_n
    assert changed.labels_n[list(changed.sources_n).index("009.png")] == 2
    assert len(source) == 60  # stays as it was


@pytest.mark.parametrize(
    ("row", "message", "hint"),
    [
        ("001.png,S,,,,,delete,\n", "line 2: unknown action 'delete'", "actions: keep, drop"),
        ("001.png,S,,,,,relabel,hapy\n", "relabel to 'hapy'", "did you mean 'happy'?"),
        ("001.png,S,,,,,relabel,\n", "relabel to 'nothing'", "its labels"),
        ("999.png,S,,,,,drop,\n", "999.png (not in the source)", "audit again"),
        ("001.png,0,,,,,drop,\n", "001.png (other pixels now)", "audit again"),
    ],
)
def test_a_table_that_cannot_be_meant_is_answered(
    audited: Audit, tmp_path: Path, row: str, message: str, hint: str
) -> None:
    table = tmp_path / "audit.csv"
    table.write_text(HEADER + row.replace("S", str(audited.sha256_n[1]), 1))
    with pytest.raises(DataError) as caught:
        apply_table(audited.collection, table)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_file_that_is_no_audit_table_is_answered(audited: Audit, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("source,sha,action\n")
    with pytest.raises(DataError, match="no column 'sha256'"):
        apply_table(audited.collection, table)
    table.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DataError, match="not a CSV file in UTF-8|no column"):
        apply_table(audited.collection, table)
    with pytest.raises(DataError, match="cannot read"):
        apply_table(audited.collection, tmp_path / "none.csv")


def test_audit_edit_import(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    drawn = draw_collection(150, 4)
    for name in drawn.label_names:
        (tmp_path / "faces" / name).mkdir(parents=True)
    for i, image in enumerate(drawn.images_nhw):
        folder = tmp_path / "faces" / drawn.label_names[drawn.labels_n[i]]
        Image.fromarray(image).save(folder / f"{i:03d}.png")
    Image.new("L", (48, 48)).save(tmp_path / "faces/happy/black.png")
    (tmp_path / "faces/sad/broken.png").write_bytes(b"\x89PNG and then nothing")
    code, out, err = mien(capsys, monkeypatch, "data", "audit", "faces", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["counts"]["blank"] == 1
    assert found["counts"]["unreadable"] == 1
    assert sorted(p.name for p in Path("faces-audit").iterdir()) == [
        "audit.csv", "audit.html", "audit.json",
    ]  # fmt: skip
    apply = ["data", "import", "faces", "out", "--apply", "faces-audit/audit.csv"]
    code, _, err = mien(capsys, monkeypatch, *apply)
    assert code == 0, err
    dataset = load_dataset(Path("out"))
    assert not any("black" in source for source in dataset.sources_n)
    assert dataset.facts["audit_dropped"] >= 1
    # The dataset that was made of it can be audited as well.
    code, out, _ = mien(capsys, monkeypatch, "data", "audit", "out")
    assert code == 0
    assert (tmp_path / "out/audit/audit.html").exists()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "nowhere"),
        (lambda p: p.mkdir(), "nowhere"),
        (lambda p: [(p / "happy").mkdir(parents=True), (p / "happy/a.txt").write_text("no")],
         "nowhere"),
        (lambda p: [(p / "happy").mkdir(parents=True), (p / "happy/a.png").write_text("no")],
         "can be read"),
        (lambda p: p.write_text("hello"), "nowhere"),
    ],
)  # fmt: skip
def test_what_is_no_collection_is_answered(
    tmp_path: Path, make: object, message: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "nowhere")  # type: ignore[operator]
    code, _, err = mien(capsys, monkeypatch, "data", "audit", "nowhere")
    assert code == 1
    assert message in err
    assert "hint:" in err
    assert "Traceback" not in err
    assert not Path("nowhere-audit").exists()

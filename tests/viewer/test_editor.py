"""Edits of people and marks, and when a file is not replaced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mien.errors import DataError
from mien.sessions.derive import SessionOptions, derive
from mien.video.people.file import People
from mien.viewer.editor import Conflict, Editor
from mien.viewer.lanes import lanes_of
from mien.viewer.results import load_results
from tests.conftest import ROOT


def editor_of(results: Path) -> Editor:
    return Editor(load_results(results), results / "people.json", results / "study.toml")


@pytest.fixture
def editor(results: Path) -> Editor:
    return editor_of(results)


def name_of(editor: Editor) -> str:
    state = editor.state()
    return str(state["people"]["people"][0]["tracks"][0]["source"])


def edit(editor: Editor, action: str, **values: Any) -> None:
    editor.apply({"action": action, "versions": editor.state()["versions"], **values})


def lanes(editor: Editor) -> dict[str, list[tuple[int, float | None, float | None]]]:
    found = lanes_of(editor.state()["people"], name_of(editor))
    return {one.id: [(p.track, p.start_s, p.end_s) for p in one.pieces] for one in found}


def test_each_track_is_a_person_without_a_file(editor: Editor, results: Path) -> None:
    assert lanes(editor) == {
        "P1": [(1, None, None)], "P2": [(2, None, None)], "P3": [(3, None, None)],
    }  # fmt: skip
    assert not (results / "people.json").exists()


def test_people_are_renamed_merged_and_read_again(editor: Editor, results: Path) -> None:
    edit(editor, "rename", person="P2", name="Anna")
    edit(editor, "merge", into="P2", other="P3")
    again = editor_of(results)
    assert lanes(again) == {"P1": [(1, None, None)], "P2": [(2, None, None), (3, None, None)]}
    assert [one["name"] for one in again.state()["people"]["people"]] == [None, "Anna"]


def test_two_people_of_one_frame_are_not_merged(editor: Editor, results: Path) -> None:
    with pytest.raises(DataError, match=r"frame 0 of .*interview\.mp4") as caught:
        edit(editor, "merge", into="P1", other="P2")
    assert "P1" in caught.value.message
    assert not (results / "people.json").exists()


def test_a_name_is_given_once(editor: Editor) -> None:
    edit(editor, "rename", person="P1", name="Anna")
    with pytest.raises(DataError, match="Anna"):
        edit(editor, "rename", person="P2", name="Anna")


def test_a_person_is_split_at_a_moment(editor: Editor) -> None:
    edit(editor, "merge", into="P2", other="P3")
    edit(editor, "split", person="P2", source=name_of(editor), at_s=5.0)
    assert lanes(editor) == {
        "P1": [(1, None, None)], "P2": [(2, None, 5.0)], "P4": [(2, 5.0, None), (3, None, None)],
    }  # fmt: skip


def test_ids_are_not_used_again(editor: Editor, results: Path) -> None:
    edit(editor, "merge", into="P2", other="P3")
    again = editor_of(results)
    edit(again, "split", person="P2", source=name_of(again), at_s=15.0)
    assert list(lanes(again)) == ["P1", "P2", "P4"]


@pytest.mark.parametrize("at_s", [0.0, 27.99])
def test_a_split_needs_rows_on_both_sides(editor: Editor, at_s: float) -> None:
    with pytest.raises(DataError, match="P1|not within"):
        edit(editor, "split", person="P1", source=name_of(editor), at_s=at_s)


def test_tracks_are_moved(editor: Editor) -> None:
    source = name_of(editor)
    edit(editor, "assign", source=source, track=3, start_s=None, to="not_a_face")
    assert [one.kind for one in lanes_of(editor.state()["people"], source)][-1] == "not_a_face"
    assert list(lanes(editor)) == ["P1", "P2", "t3"]
    edit(editor, "assign", source=source, track=3, start_s=None, to="P2")
    assert lanes(editor)["P2"] == [(2, None, None), (3, None, None)]
    with pytest.raises(DataError, match="frame 0"):
        edit(editor, "assign", source=source, track=2, start_s=None, to="P1")
    edit(editor, "assign", source=source, track=3, start_s=None, to="unknown")
    edit(editor, "assign", source=source, track=3, start_s=None, to="new")
    assert list(lanes(editor)) == ["P1", "P2", "P4"]


def test_part_of_a_track_is_moved(editor: Editor) -> None:
    source = name_of(editor)
    edit(editor, "split", person="P1", source=source, at_s=5.0)
    edit(editor, "assign", source=source, track=1, start_s=5.0, to="unknown")
    assert lanes(editor)["t1@5"] == [(1, 5.0, None)]
    edit(editor, "assign", source=source, track=1, start_s=5.0, to="P1")
    assert sum(len(own) for own in lanes(editor).values()) in (3, 4)


def test_marks_are_saved_beside_the_results(editor: Editor, results: Path) -> None:
    source = name_of(editor)
    edit(editor, "event", source=source, name="joke", time_s=2, person=None)
    edit(editor, "exclusion", source=source, start_s=3, end_s=4, reason="hand", person="P1")
    edit(editor, "correction", source=source, lane="P1", start_s=5, end_s=7, label="sad", by="mk")
    state = editor_of(results).state()
    assert [(one["name"], one["time_s"], one["video"]) for one in state["events"]] == [
        ("joke", 2, source)
    ]
    assert [(one["reason"], one["person"]) for one in state["exclusions"]] == [("hand", "P1")]
    (correction,) = state["corrections"]
    assert (correction["track"], correction["label"], correction["by"]) == (1, "sad", "mk")
    edit(editor, "remove", kind="event", index=0)
    assert editor_of(results).state()["events"] == []


def tables(study: Path, out: Path) -> pd.DataFrame:
    derive(study, out, SessionOptions(tables=("frames",)))
    return pd.read_csv(out / "frames-wide.csv")


def test_a_mark_of_a_person_is_read_by_mien_session(
    editor: Editor, results: Path, tmp_path: Path
) -> None:
    edit(editor, "event", source=name_of(editor), name="joke", time_s=3)
    assert not (results / "people.json").exists()
    edit(
        editor, "exclusion", source=name_of(editor), start_s=5, end_s=6, reason="hand", person="P2"
    )
    # The page's versions are the files'.
    edit(editor, "rename", person="P1", name="Anna")
    frames = tables(results / "study.toml", tmp_path / "out")
    excluded = frames[frames["excluded"].notna()]
    assert set(excluded["participant"]) == {"P2"} and len(excluded) == 25
    for _ in range(3):
        edit(editor, "undo")
    assert [person.name for person in People.load(results).people] == [None] * 3


def test_the_documented_study_is_read(editor: Editor, results: Path, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "view.md").read_text("utf-8").split("```toml\n")[1].split("```")[0]
    assert 'person = "P2"' in text
    (results / "study.toml").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="concerns 'P2', who is no participant") as caught:
        tables(results / "study.toml", tmp_path / "out")
    assert "people.json" in caught.value.hint and "mien view" in caught.value.hint
    editor.state(reload=True)
    edit(editor, "rename", person="P1", name="Anna")
    frames = tables(results / "study.toml", tmp_path / "out")
    assert set(frames["participant"]) == {"Anna", "P2", "P3"}
    assert set(frames["corrected_label"].dropna()) == {"neutral"}


def test_comments_of_a_study_survive(results: Path) -> None:
    path = results / "study.toml"
    path.write_text('# ours\n[study]\nname = "pilot"  # the first\n', encoding="utf-8")
    editor = editor_of(results)
    edit(editor, "event", source=name_of(editor), name="joke", time_s=2)
    text = path.read_text(encoding="utf-8")
    assert "# ours" in text
    assert "# the first" in text
    assert "joke" in text


def test_a_correction_is_of_the_tracks_that_are_seen(editor: Editor) -> None:
    edit(editor, "merge", into="P2", other="P3")
    edit(editor, "correction", source=name_of(editor), lane="P2", start_s=13, end_s=18,
         label="sad", by="mk")  # fmt: skip
    found = editor.state()["corrections"]
    assert [(one["track"], one["start_s"], one["end_s"]) for one in found] == [
        (2, 13, 14), (3, 17, 18),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("action", "values", "words"),
    [
        ("event", {"name": "x", "time_s": 99}, "outside"),
        ("event", {"name": " ", "time_s": 1}, "name"),
        ("exclusion", {"start_s": 5, "end_s": 5, "reason": "x"}, "does not come after"),
        ("exclusion", {"start_s": 5, "end_s": "x", "reason": "x"}, "edit"),
        ("correction", {"lane": "P2", "start_s": 14.5, "end_s": 16, "label": "sad", "by": "a"},
         "no row"),
        ("correction", {"lane": "P1", "start_s": 1, "end_s": 2, "label": "joyful", "by": "a"},
         "no label of the model"),
        ("remove", {"kind": "event", "index": 0}, "there is no event 0"),
        ("shuffle", {}, "unknown"),
    ],
)  # fmt: skip
def test_invalid_edits_write_nothing(
    editor: Editor, results: Path, action: str, values: dict[str, Any], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        edit(editor, action, **{"source": name_of(editor), **values})
    assert not (results / "study.toml").exists()


def test_a_file_that_somebody_else_changed_is_not_replaced(editor: Editor, results: Path) -> None:
    edit(editor, "rename", person="P1", name="Anna")
    path = results / "people.json"
    theirs = path.read_text(encoding="utf-8").replace("Anna", "Berta")
    path.write_text(theirs, encoding="utf-8")
    with pytest.raises(Conflict, match=r"people\.json was changed"):
        edit(editor, "rename", person="P1", name="Carla")
    with pytest.raises(Conflict):
        edit(editor, "undo")
    assert path.read_text(encoding="utf-8") == theirs
    assert editor.state(reload=True)["people"]["people"][0]["name"] == "Berta"
    edit(editor, "rename", person="P1", name="Carla")
    assert "Carla" in path.read_text(encoding="utf-8")


def test_an_older_page_is_refused(editor: Editor) -> None:
    old = editor.state()["versions"]
    edit(editor, "rename", person="P1", name="Anna")
    with pytest.raises(Conflict):
        editor.apply({"action": "rename", "person": "P1", "name": "Berta", "versions": old})


def test_changes_are_undone(editor: Editor, results: Path) -> None:
    edit(editor, "rename", person="P1", name="Anna")
    edit(editor, "event", source=name_of(editor), name="joke", time_s=2)
    edit(editor, "merge", into="P2", other="P3")
    for _ in range(3):
        edit(editor, "undo")
    assert list(lanes(editor)) == ["P1", "P2", "P3"]
    assert not (results / "people.json").exists()
    assert not (results / "study.toml").exists()
    with pytest.raises(DataError, match="nothing to undo"):
        edit(editor, "undo")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("people.json", '{"schema": 1,\n "people": [}', r"people\.json.*line 2"),
        ("study.toml", "[study]\nname = \n", r"study\.toml.*line 2"),
    ],
)
def test_damaged_files_are_named_and_kept(results: Path, name: str, text: str, words: str) -> None:
    (results / name).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=words):
        editor_of(results)
    assert (results / name).read_text(encoding="utf-8") == text


def test_tracks_that_people_json_lacks_are_unknown(editor: Editor, results: Path) -> None:
    edit(editor, "rename", person="P1", name="Anna")
    path = results / "people.json"
    people = json.loads(path.read_text(encoding="utf-8"))
    people["people"] = people["people"][:2]
    path.write_text(json.dumps(people), encoding="utf-8")
    again = editor_of(results)
    assert list(lanes(again)) == ["P1", "P2", "t3"]

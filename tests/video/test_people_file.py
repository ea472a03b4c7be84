"""`people.json`: names, merges and splits, and everything that must be refused."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mien.errors import DataError
from mien.video.people.file import NOT_A_FACE, UNKNOWN, People
from mien.video.people.parts import Embedding, Person, TrackPart
from mien.video.people.seen import Seen, TrackKey, seen_in

RATE = 10
SPANS = {
    ("a.mp4", 1): (0, 30),
    ("a.mp4", 2): (20, 50),
    ("a.mp4", 3): (60, 90),
    ("b.mp4", 1): (0, 40),
    ("b.mp4", 2): (0, 5),
}
"""First frame and the frame after the last of each track."""


def rows() -> pa.Table:
    found: list[dict[str, Any]] = [
        {"source": source, "frame": frame, "time_s": frame / RATE, "track": track}
        for (source, track), (start, end) in SPANS.items()
        for frame in range(start, end)
    ]
    found.append({"source": "b.mp4", "frame": 50, "time_s": 5.0, "track": None})
    found.sort(key=lambda row: (row["source"], row["frame"]))
    return pa.Table.from_pylist(found)


@pytest.fixture
def seen() -> dict[TrackKey, Seen]:
    return seen_in(rows())


@pytest.fixture
def people() -> People:
    return People(
        Embedding("dlib-face", 0.9),
        (
            Person("P1", "Anna", (TrackPart("a.mp4", 1), TrackPart("a.mp4", 3))),
            Person("P2", None, (TrackPart("a.mp4", 2),)),
            Person("P3", None, (TrackPart("b.mp4", 1),)),
        ),
        (TrackPart("b.mp4", 2),),
        last_id=3,
    )


def test_rows_say_when_each_track_was_seen(seen: dict[TrackKey, Seen]) -> None:
    assert {key: (s.frames_n[0], s.frames_n[-1] + 1) for key, s in seen.items()} == SPANS
    assert seen[TrackKey("a.mp4", 2)].between(2.5, 2.8).tolist() == [25, 26, 27]


def test_an_empty_table_has_no_tracks() -> None:
    assert seen_in(rows().slice(0, 0)) == {}


def test_a_file_is_read_as_it_was_written(people: People, tmp_path: Path) -> None:
    people.save(tmp_path)
    assert People.load(tmp_path) == people
    assert People.load(tmp_path / "people.json") == people


def test_person_of_a_track(people: People) -> None:
    anna = people.person_of("a.mp4", 3)
    assert anna is not None and anna.label == "Anna"
    assert people.person_of("b.mp4", 2) is None
    assert people.person_of("c.mp4", 1) is None


def test_a_name_is_given_and_removed(people: People) -> None:
    named = people.rename("P2", " Ben ")
    assert named.find("Ben").id == "P2"
    assert named.rename("Ben", None).find("P2").name is None


@pytest.mark.parametrize("name", ["J\u00f6rg", "j\u00f6rg", "Jo\u0308rg", "J\u00d6RG"])
def test_a_name_is_one_in_any_case_and_normalization_form(people: People, name: str) -> None:
    named = people.rename("P2", "Jo\u0308rg")
    assert named.find("P2").name == "J\u00f6rg"
    assert named.find(name).id == "P2"
    with pytest.raises(DataError, match="P2 has the name 'J\u00f6rg' already"):
        named.rename("P3", name)
    assert named.rename("P2", name).find("P2").label == unicodedata.normalize("NFC", name)


def test_an_id_is_no_name_in_another_case(people: People) -> None:
    named = people.rename("P2", "p1").rename("P3", "p9")
    assert named.find("P1").id == "P1"
    assert named.find("p1").id == "P2"
    with pytest.raises(DataError, match="'P9'"):
        named.find("P9")


def test_names_of_a_file_are_normalized(people: People, tmp_path: Path) -> None:
    content = people.to_dict()
    content["people"][1]["name"] = "Jo\u0308rg"
    (tmp_path / "people.json").write_text(json.dumps(content), encoding="utf-8")
    assert People.load(tmp_path).find("P2").name == "J\u00f6rg"


@pytest.mark.parametrize("name", ["Anna", "P7", "x" * 201, "a\nb", "unknown"])
def test_a_name_that_is_taken_or_no_name_is_refused(people: People, name: str) -> None:
    with pytest.raises(DataError, match=r"name"):
        people.rename("P2", name)


def test_an_unknown_person_gets_a_suggestion(people: People) -> None:
    with pytest.raises(DataError) as caught:
        people.rename("Ana", "Eva")
    assert "did you mean 'Anna'" in caught.value.hint


def test_merged_people_keep_the_first_id(people: People, seen: dict[TrackKey, Seen]) -> None:
    merged = people.merge("P3", "Anna", seen)
    assert [p.id for p in merged.people] == ["P2", "P3"]
    assert merged.find("P3").name == "Anna"
    assert len(merged.find("P3").tracks) == 3
    # An id is never used for another person.
    assert merged.last_id == 3


def test_two_people_of_one_frame_are_not_merged(people: People, seen: dict[TrackKey, Seen]) -> None:
    with pytest.raises(DataError) as caught:
        people.merge("Anna", "P2", seen)
    assert "frame 20 of a.mp4 (2.000 s) shows both, as tracks 1 and 2" in caught.value.message


def test_a_person_is_not_merged_with_itself(people: People, seen: dict[TrackKey, Seen]) -> None:
    with pytest.raises(DataError, match="one person already"):
        people.merge("Anna", "P1", seen)


def test_a_track_is_split_at_a_moment(people: People, seen: dict[TrackKey, Seen]) -> None:
    split = people.split("a.mp4", 1, 1.5, seen)
    before, after = split.person_of("a.mp4", 1, 1.4), split.person_of("a.mp4", 1, 1.5)
    assert before is not None and after is not None
    assert (before.id, after.id) == ("P1", "P4")
    # Merged again, the halves are one whole track.
    assert split.merge("P1", "P4", seen).find("P1").tracks == people.find("P1").tracks


def test_after_a_split_the_first_half_can_be_merged(
    people: People, seen: dict[TrackKey, Seen]
) -> None:
    """Track 1 shows P2 until 2 s, before track 2 begins: then they share no frame."""
    split = people.split("a.mp4", 1, 2.0, seen).split("a.mp4", 3, None, seen)
    assert split.merge("P2", "Anna", seen).find("Anna").id == "P2"
    with pytest.raises(DataError, match="frame 20"):
        split.merge("P2", "P4", seen)


@pytest.mark.parametrize("time_s", [0.0, 2.95, -1.0, 99.0, float("nan")])
def test_a_split_outside_the_track_is_refused(
    people: People, seen: dict[TrackKey, Seen], time_s: float
) -> None:
    with pytest.raises(DataError, match=r"seen from 0\.000 to 2\.900 s"):
        people.split("a.mp4", 1, time_s, seen)


def test_a_track_is_not_split_twice_at_one_moment(
    people: People, seen: dict[TrackKey, Seen]
) -> None:
    with pytest.raises(DataError, match="already"):
        people.split("a.mp4", 1, 1.5, seen).split("a.mp4", 1, 1.5, seen)


def test_a_whole_track_is_split_off(people: People, seen: dict[TrackKey, Seen]) -> None:
    split = people.split("a.mp4", 3, None, seen)
    assert split.find("P4").tracks == (TrackPart("a.mp4", 3),)
    with pytest.raises(DataError, match="no other track"):
        split.split("a.mp4", 3, None, seen)


@pytest.mark.parametrize(("source", "track"), [("a.mp4", 9), ("c.mp4", 1)])
def test_a_track_that_the_rows_lack_is_refused(
    people: People, seen: dict[TrackKey, Seen], source: str, track: int
) -> None:
    with pytest.raises(DataError, match=f"no track {track} of {source}"):
        people.split(source, track, 1.0, seen)
    with pytest.raises(DataError, match=f"no track {track} of {source}"):
        people.mark(source, track, UNKNOWN, seen)


def test_tracks_are_marked(people: People, seen: dict[TrackKey, Seen]) -> None:
    marked = people.mark("a.mp4", 2, NOT_A_FACE, seen)
    assert marked.not_a_face == (TrackPart("a.mp4", 2),)
    assert [p.id for p in marked.people] == ["P1", "P3"]
    # The id of a person without a track is not used again.
    assert [p.id for p in marked.split("a.mp4", 3, None, seen).people] == ["P1", "P3", "P4"]
    assert marked.mark("a.mp4", 2, UNKNOWN, seen).unknown[0] == TrackPart("a.mp4", 2)
    assert len(people.mark("b.mp4", 2, "Anna", seen).find("Anna").tracks) == 3


def test_a_track_is_not_given_to_whom_its_frame_shows_already(
    people: People, seen: dict[TrackKey, Seen]
) -> None:
    with pytest.raises(DataError, match=r"frame 20 of a\.mp4"):
        people.mark("a.mp4", 2, "Anna", seen)
    with pytest.raises(DataError, match=r"frame 0 of b\.mp4"):
        people.mark("b.mp4", 2, "P3", seen)


def test_a_forgotten_persons_tracks_are_unknown(people: People) -> None:
    left = people.forget("Anna")
    assert [p.id for p in left.people] == ["P2", "P3"]
    assert left.unknown == (TrackPart("a.mp4", 1), TrackPart("a.mp4", 3), TrackPart("b.mp4", 2))
    assert "Anna" not in json.dumps(left.to_dict())


def test_every_row_gets_its_person(people: People, seen: dict[TrackKey, Seen]) -> None:
    split = people.split("a.mp4", 1, 1.5, seen).mark("a.mp4", 2, NOT_A_FACE, seen)
    table = rows()
    places, place_n = split.places_of_rows(table)
    found = [None if n < 0 else places[n] for n in place_n]
    for row, place in zip(table.to_pylist(), found, strict=True):
        if row["track"] is None:
            assert place is None
        else:
            assert place == split.place_of(row["source"], row["track"], row["time_s"])
    assert {p for p in found if p} == {"P1", "P3", "P4", UNKNOWN, NOT_A_FACE}


def test_rows_and_file_are_compared(people: People, seen: dict[TrackKey, Seen]) -> None:
    path = Path("people.json")
    fewer = replace(people, unknown=())
    assert fewer.check_rows(seen, path).unknown == people.unknown
    del seen[TrackKey("b.mp4", 1)]
    with pytest.raises(DataError, match=r"has track 1 of b\.mp4, which the rows"):
        people.check_rows(seen, path)


def change(path: list[str | int], value: Any) -> Callable[[dict[str, Any]], None]:
    def apply(content: Any) -> None:
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return apply


TRACK = {"source": "a.mp4", "track": 1}
DAMAGE: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "newer schema": (change(["schema"], 2), "schema 2; this mien reads up to 1"),
    "no schema": (lambda content: content.pop("schema"), "no schema version"),
    "no people": (lambda content: content.pop("people"), "no key 'people'"),
    "people are text": (change(["people"], "Anna"), "people must be a list"),
    "a person is text": (change(["people", 0], "Anna"), r"people\[0\] must be an object"),
    "no embedding": (change(["embedding"], None), "embedding must be an object"),
    "threshold nan": (change(["embedding", "threshold"], float("nan")), "embedding must be"),
    "wrong id": (change(["people", 0, "id"], "Q1"), r"people\[0\]\.id must be P and a number"),
    "id twice": (change(["people", 1, "id"], "P1"), "two people have the id 'P1'"),
    "name twice": (change(["people", 1, "name"], "Anna"), "two people have the name 'Anna'"),
    "name twice but for case": (
        change(["people", 1, "name"], "ANNA"),
        "two people have the name 'ANNA', which differs from 'Anna' in case only",
    ),
    "name is a number": (change(["people", 1, "name"], 7), r"people\[1\]\.name"),
    "name is an id": (change(["people", 1, "name"], "P1"), r"people\[1\]\.name"),
    "no tracks": (change(["people", 0, "tracks"], []), r"tracks must be a list of tracks"),
    "track 0": (change(["people", 0, "tracks", 0, "track"], 0), "1 or more"),
    "track true": (change(["people", 0, "tracks", 0, "track"], True), "1 or more"),
    "source missing": (change(["unknown", 0], {"track": 1}), r"unknown\[0\]\.source"),
    "times": (change(["unknown", 0], {**TRACK, "start_s": 2, "end_s": 1}), "after start_s, 2"),
    "time is text": (change(["unknown", 0], {**TRACK, "start_s": "2"}), "must be seconds"),
    "track twice": (change(["unknown", 0], TRACK), r"track 1 of a\.mp4 is there twice"),
    "part twice": (
        change(["unknown", 0], {**TRACK, "start_s": 1}), r"track 1 of a\.mp4 is there twice",
    ),
    "last id": (change(["last_id"], "x"), "last_id must be a whole number"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_is_refused(people: People, tmp_path: Path, name: str) -> None:
    damage, message = DAMAGE[name]
    content = people.to_dict()
    damage(content)
    path = tmp_path / "people.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DataError, match=message) as caught:
        People.load(path)
    assert str(path) in caught.value.message and caught.value.hint


@pytest.mark.parametrize("text", ["", "{", "[1]", "null"])
def test_what_is_no_object_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "people.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"people\.json"):
        People.load(tmp_path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"people\.json: no such file") as caught:
        People.load(tmp_path)
    assert "mien people find" in caught.value.hint


def test_an_id_of_a_lost_person_is_read_from_the_file(people: People, tmp_path: Path) -> None:
    people.forget("P3").save(tmp_path)
    loaded = People.load(tmp_path)
    assert loaded.last_id == 3
    # A file without the key is of another program: the highest id counts.
    content = loaded.to_dict()
    del content["last_id"]
    (tmp_path / "people.json").write_text(json.dumps(content), encoding="utf-8")
    assert People.load(tmp_path).last_id == 2


def test_joint_frames_of_many_rows_are_found_by_frame_and_not_by_time() -> None:
    """Two files may have the same times; only frames of one source count."""
    times = np.arange(5) / RATE
    seen = {TrackKey(name, 1): Seen(np.arange(5), times) for name in ("a.mp4", "b.mp4")}
    people = People(
        Embedding("dlib-face", 0.9),
        (
            Person("P1", None, (TrackPart("a.mp4", 1),)),
            Person("P2", None, (TrackPart("b.mp4", 1),)),
        ),
        last_id=2,
    )
    assert len(people.merge("P1", "P2", seen).people) == 1
